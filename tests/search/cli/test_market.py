"""Search markets by their tickers through the command line, with a local Yahoo server."""

import json
import re

import pytest
from commands import call

from search.run import main

pytestmark = pytest.mark.slow

LAST = "2026-11-20"


@pytest.fixture
def markets(yahoo):
    """Return the server with three series."""
    for seed, symbol in enumerate(("^KS11", "^GSPC", "KRW=X")):
        yahoo.list(symbol, 400, LAST, seed=seed)
    return yahoo


@pytest.fixture
def search(space_file, tmp_path):
    """Run the small space on the markets, with two trials: `search("--ticker", "^KS11")`."""
    # The file has no source: a ticker is enough.
    path = space_file(
        data={"source": None, "test_size": 40},
        search={"num_samples": 2, "finalists": 1},
        scheduler={"max_epochs": 2, "grace_period": 2},
    )
    path.write_text(path.read_text(encoding="utf-8").replace("  source: null\n", ""))

    def run(*options, space=(str(path),), output=True):
        where = ["--output", str(tmp_path / "out")] if output else []
        return call(main, *space, *where, "--cache", tmp_path / "cache", "--in-process", *options)

    return run


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def test_a_ticker_is_downloaded_once_and_a_resumed_study_uses_the_same_prices(markets, search, tmp_path):
    first = search("--ticker", "^KS11")
    assert first.returncode == 0, first.stderr
    folder = tmp_path / "out" / "small"
    data = manifest(folder)["data"]
    assert (data["source"], data["end"], data["sessions"]) == ("yahoo ^KS11", LAST, 400)
    assert data["fetched"]
    requests = len(markets.chart_requests)

    markets.list("^KS11", 400, LAST, factor=0.5)  # a dividend changes the whole adjusted history
    again = search("--resume", str(folder), "--num-samples", "3", space=(), output=False)
    assert again.returncode == 0, again.stderr
    assert len(markets.chart_requests) == requests  # no further requests
    resumed = manifest(folder)
    assert resumed["data"] == data
    assert len(resumed["resumes"]) == 1
    assert (folder / "trials.jsonl").read_text(encoding="utf-8").count('"event": "end"') == 3
    assert len(resumed["test_openings"]) == 1  # opened once, although a trial was added


def test_several_tickers_become_several_studies_and_one_comparison(markets, search, tmp_path):
    result = search("--set", "data.tickers=['^KS11', '^GSPC']", "--set", "data.also=['KRW=X']", "--quiet")
    assert result.returncode == 0, result.stderr
    for name, ticker in (("small-KS11", "^KS11"), ("small-GSPC", "^GSPC")):
        folder = tmp_path / "out" / name
        assert manifest(folder)["data"]["source"] == f"yahoo {ticker}"
        assert (folder / "report.html").exists()
        document = json.loads((folder / "forecasters" / "1" / "forecaster.json").read_text(encoding="utf-8"))
        assert document["window"]["others"] == ["KRW=X"]
    page = (tmp_path / "out" / "small.html").read_text(encoding="utf-8")
    assert "small-KS11" in page
    assert "small-GSPC" in page
    assert re.search(r"Study 1 of 2: small-KS11, \^KS11", result.stdout)


@pytest.mark.parametrize(
    ("fault", "options", "message"),
    [
        (None, ("--ticker", "^KSII"), r"\^KSII.*ticker"),
        ("429", ("--ticker", "^KS11"), r"too many|429"),
        ("html", ("--ticker", "^KS11"), r"Yahoo"),
        (None, ("--ticker", "^KS11", "--offline"), r"--offline uses the cache only"),
        (None, ("--ticker", "../x"), r"data.ticker: '../x' is not a Yahoo ticker"),
        (None, ("--ticker", "^KS11", "--set", "data.start=2027-01-01"), r"\^KS11|data.start"),
        (None, ("--ticker", "^KS11", "--offline", "--refresh"), r"--offline: conflicts with --refresh"),
        (None, ("--set", "data.tickers=['^KS11', '^ks11']"), r"is repeated"),
        (None, ("--set", "data.tickers=['^KS11', 5]"), r"5.*is not a ticker"),
        (None, ("--set", "data.source=yahoo"), r"data.source: yahoo needs a ticker"),
        (None, ("--set", "data.source=nasdaq", "--set", "data.ticker=^KS11"), r"data.ticker: .*source: nasdaq"),
        (None, ("--ticker", "^KS11", "--set", "data.also=['^NONE']"), r"\^NONE"),
    ],
)
def test_a_failure_is_an_error_of_one_line_and_leaves_no_folder(markets, search, tmp_path, fault, options, message):
    markets.fail(fault)
    result = search(*options, "--download-limit", "4s")
    assert result.returncode == 2, result.stdout + result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert re.search(message, result.stderr), result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_market_without_volume_is_searched_without_it(markets, search, tmp_path):
    markets.charts["KRW=X"] = [(*row[:6], 0) for row in markets.charts["KRW=X"]]
    named = search("--ticker", "KRW=X", "--set", "data.features=ohlcv")
    assert named.returncode == 2
    assert "volume" in named.stderr
    result = search("--ticker", "KRW=X")
    assert result.returncode == 0, result.stderr
    assert "no usable volume, so the features are ohlc" in result.stderr
    space = (tmp_path / "out" / "small" / "space.yaml").read_text(encoding="utf-8")
    assert "features: [open, high, low, close]" in space or "features: ohlc" in space
