"""Test `python -m stockrnn.forecast`: output, errors, exit codes, imports and time."""

import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stockrnn.dataset.alignment import prepare
from stockrnn.dataset.config import DataConfig, WindowConfig
from stockrnn.dataset.windows import Windows
from stockrnn.evaluation.conformal import conformal_intervals
from stockrnn.evaluation.walk_forward import Fold
from stockrnn.forecast import main
from stockrnn.forecaster.forecaster import DOCUMENT, WEIGHTS, Forecaster
from stockrnn.forecaster.validation import ValidationDays
from stockrnn.networks.config import NetworkConfig
from stockrnn.prices.cleaning import clean
from stockrnn.prices.loading import Access, load
from stockrnn.training.config import TrainingConfig
from stockrnn.training.trainer import train

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LIMIT_CPU = ("sh", "-c", 'ulimit -t 60 && exec "$@"', "sh")  # seconds, after which the process is killed; 3 are usual
VERDICT = [
    "On validation no trial beats 'tomorrow equals today': the best of 40 trials has a Theil's U of 1.0003.",
    "On the test block it does not either.",
]
ODD = "Volume is 0 on 2 sessions: 2015-05-12, 2018-01-09"  # in the shipped series
CHECK_IMPORTS = """
import sys
from stockrnn.forecast import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
heavy = sorted({"ray", "optuna", "search", "pandas", "arch", "pyarrow", "yaml"} & set(sys.modules))
if "exchange_calendars" in sys.modules:  # the extra, for series whose exchange is known
    heavy = sorted(set(heavy) - {"pandas", "pyarrow"})
assert not heavy, heavy
print("torch" in sys.modules, file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def nasdaq():
    return clean(load("nasdaq"))


def finalist(prices, rank, horizon=1, **window):
    fold = Fold(train=range(4000, 4300), validation=range(4300, 4400))
    windows = Windows(prices, [fold], WindowConfig(**({"sequence_length": 5} | window)), horizon)
    network = NetworkConfig(architecture="gru", hidden_size=4, output_init="uniform")
    *_, last = train(windows, network, TrainingConfig(batch_size=64), seeds=3, max_epochs=2)
    closes = prices.column("close")
    actual, previous = closes[4300:4400], closes[4300 - horizon : 4400 - horizon]
    return Forecaster.from_training(
        windows, last.members, intervals=conformal_intervals(last.forecasts[0].mean(0), actual),
        rival_intervals=conformal_intervals(previous, actual), rank=rank, trial_id=f"t{rank:05}", epochs=2,
        span=(str(prices.dates[4000]), str(prices.dates[4299])), provenance=prices.provenance, asked=DataConfig(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def saved(nasdaq, tmp_path_factory):
    """Return the folder of a study, with only the files that a forecast needs."""
    study = tmp_path_factory.mktemp("results") / "nasdaq"
    for rank, made in ((1, finalist(nasdaq, 1)), (2, finalist(nasdaq, 2, 5, scaling="minmax", target="close"))):
        made.save(study / "forecasters" / str(rank))
    (study / "manifest.json").write_text(json.dumps({"name": "nasdaq", "verdict": VERDICT}))
    return study


@pytest.fixture
def study(saved, tmp_path):
    """Return a copy of a forecaster that a test may damage."""
    return Path(shutil.copytree(saved, tmp_path / "results" / "nasdaq"))


def run(*arguments, check_imports=False, cwd=ROOT):
    entry = ["-c", CHECK_IMPORTS] if check_imports else ["-m", "stockrnn.forecast"]
    return subprocess.run(
        [*LIMIT_CPU, sys.executable, *entry, *map(str, arguments)], cwd=cwd, capture_output=True, text=True,
        check=False, env=os.environ | {"COLUMNS": "80"},
    )  # fmt: skip


def printed(capsys, *arguments):
    """Run the command; return its JSON object and its lines on stderr."""
    assert main([*map(str, arguments), "--json"]) == 0
    out, err = capsys.readouterr()
    return json.loads(out, parse_constant=pytest.fail), err.splitlines()


def refused(capsys, *arguments):
    """Run the command with invalid input; return its line on stderr."""
    assert main([*map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert err[:-1].isprintable()
    return err[:-1]


def as_csv(prices, path, columns=("Open", "High", "Low", "Close", "Volume")):
    lines = [",".join(("Date", *columns))]
    for day, values in zip(prices.dates, prices.values.tolist(), strict=True):
        lines.append(",".join([str(day), *(repr(value) for value in values[: len(columns)])]))
    path.write_text("\n".join(lines) + "\n")
    return path


def longer(prices, sessions, factor=1.0):
    """Return the series with more sessions, each `factor` times the session before."""
    growth = factor ** np.arange(1, sessions + 1)[:, None]
    more = prices.values[-1:] * np.append(np.repeat(growth, 4, axis=1), np.ones((sessions, 1)), axis=1)
    days = np.busday_offset(prices.dates[-1], np.arange(1, sessions + 1))
    return replace(
        prices, dates=np.append(prices.dates, days), values=np.vstack([prices.values, more]), lines=np.array([], int)
    )


# The command as a user runs it


def test_the_page_fits_80_columns_and_nothing_heavy_but_torch_is_imported(saved):
    done = run(saved.name, check_imports=True, cwd=saved.parent)
    assert (done.returncode, done.stderr) == (0, "True\n")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert not any(line != line.rstrip() for line in lines)
    for beginning in (
        "nasdaq, rank 1 (t00001): gru, head last, 1 layer of 4 units, window of 5",
        "Prices: nasdaq, 1999-01-04 to 2018-12-31, the same as in the study.",
        "last close    2018-12-31  6635.28",
        "forecast for  2019-01-02  the next session (sessions of XNYS)",
        "close ", "change ", "change, % ", "80 % interval ", "95 % interval ",
        "Verdict: On validation no trial beats 'tomorrow equals today': ",
    ):  # fmt: skip
        assert sum(line.startswith(beginning) for line in lines) == 1, beginning
    assert " ".join(VERDICT) in " ".join(lines)


def test_json_of_newer_prices(saved, nasdaq, tmp_path):
    newer = as_csv(longer(nasdaq, 3, 1.01), tmp_path / "newer.csv")
    done = run(saved, "--prices", newer, "--rank", 2, "--json", check_imports=True)
    assert (done.returncode, done.stderr) == (0, f"{newer}: {ODD}\nTrue\n")
    found = json.loads(done.stdout, parse_constant=pytest.fail)
    assert found["prices"]["newer_sessions"] == 3
    assert found["forecast_for"] == "2019-01-10"
    assert found["verdict"] == VERDICT


def test_help_and_mistakes_import_no_torch(saved):
    done = run("--help", check_imports=True)
    assert (done.returncode, done.stderr) == (0, "False\n")
    assert "--prices FILE" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    done = run(saved / "absent", check_imports=True)
    assert (done.returncode, done.stdout) == (2, "")
    line, torch_imported = done.stderr.splitlines()
    assert line.startswith(f"{saved / 'absent'}: no such folder; ")
    assert torch_imported == "False"


def test_a_mistake_is_one_line_and_no_traceback(study):
    (study / "forecasters" / "1" / WEIGHTS).write_bytes(b"\x80\x04")
    done = run(study)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{study / 'forecasters' / '1' / WEIGHTS}: is damaged")
    assert done.stderr.count("\n") == 1


def test_a_closed_pipe_is_not_an_error(saved):
    command = f"{sys.executable} -m stockrnn.forecast {saved} --json | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("0\n", "")


# Output


def test_the_numbers_are_the_forecasters(capsys, saved, nasdaq):
    made = Forecaster.load(saved / "forecasters" / "1")
    seeds = made.forecast(nasdaq, [len(nasdaq) - 1])[:, 0]
    found, notes = printed(capsys, saved)
    assert notes == []
    assert found["study"] == str(saved)
    assert found["forecaster"]["rank"] == 1
    assert found["forecaster"]["seeds"] == 3
    assert found["prices"]["as_in_the_study"] is True
    assert found["prices"]["newer_sessions"] == 0
    assert found["horizon"] == 1
    last = found["last_close"]["close"]
    assert found["last_close"] == {"date": "2018-12-31", "close": nasdaq.column("close")[-1]}
    forecast, persistence = found["forecast"], found["rival"]
    assert forecast["seeds"] == pytest.approx(seeds, rel=1e-12)
    assert forecast["close"] == pytest.approx(seeds.mean(), rel=1e-12)
    assert forecast["change"] == pytest.approx(seeds.mean() - last)
    assert forecast["change_percent"] == pytest.approx(100 * (seeds.mean() / last - 1))
    assert (persistence["close"], persistence["change"], persistence["change_percent"]) == (last, 0, 0)
    for side, intervals in ((forecast, made.intervals), (persistence, made.rival_intervals)):
        for shown, interval in zip(side["intervals"], intervals, strict=True):
            assert (shown["level"], shown["residuals"]) == (interval.level, 100)
            assert shown["low"] == pytest.approx(side["close"] * math.exp(-interval.half_width))
            assert shown["high"] == pytest.approx(side["close"] * math.exp(interval.half_width))


def test_the_day_forecast_for(capsys, saved, nasdaq, tmp_path):
    def day(last, *options):
        prices = nasdaq.rows(nasdaq.dates <= np.datetime64(last))
        found, _ = printed(capsys, saved, "--prices", as_csv(prices, tmp_path / "prices.csv"), *options)
        assert found["last_close"]["date"] == last
        return found["forecast_for"]

    assert day("2018-12-28") == "2018-12-31"  # Friday to Monday
    assert day("2018-12-27") == "2018-12-28"
    assert day("2018-12-28", "--rank", "2") == "2019-01-04"  # five weekdays
    sunday = replace(nasdaq, dates=np.append(nasdaq.dates[:-1], np.datetime64("2019-01-06")))
    found, _ = printed(capsys, saved, "--prices", as_csv(sunday, tmp_path / "sunday.csv"))
    assert found["forecast_for"] == "2019-01-07"


@pytest.mark.parametrize(
    ("change", "newer", "words"),
    [
        (lambda prices: prices, 0, ", the same as in the study."),
        (lambda prices: longer(prices, 4), 4, "The only difference: 4 newer sessions."),
        (lambda prices: prices.rows(np.arange(len(prices) - 1)), None, "The series differ."),
        (lambda prices: replace(prices, values=prices.values * 2), None, "The series differ."),
        (lambda prices: replace(prices, dates=prices.dates + 700), None, "The series differ."),
    ],
)
def test_how_prices_differ_from_the_studys(capsys, saved, nasdaq, tmp_path, change, newer, words):
    path = as_csv(change(nasdaq), tmp_path / "prices.csv")
    found, notes = printed(capsys, saved, "--prices", path)
    assert found["prices"]["newer_sessions"] == newer
    assert found["prices"]["as_in_the_study"] is (newer == 0)
    assert found["prices"]["sha256"] != found["study_prices"]["sha256"] or newer == 0
    odd = any(note.startswith(f"{path}: Volume is 0 on 2 sessions") for note in notes)
    assert odd is (newer != 0)  # the study reports the findings of its own series
    assert main([str(saved), "--prices", str(path)]) == 0
    page = " ".join(capsys.readouterr().out.split())
    assert words in page
    texts = ("before the end of the study's prices", "was not trained on this series")
    strange = [note for note in notes if any(text in note for text in texts)]
    assert strange == [note for note in found["warnings"] if note in strange]
    assert len(strange) == (newer is None)
    assert f"Prices: {path}, {found['prices']['start']} to {found['prices']['end']}" in page


def test_old_prices_are_warned_about(capsys, saved, nasdaq, tmp_path):
    path = as_csv(nasdaq.rows(np.arange(300)), tmp_path / "old.csv")
    found, notes = printed(capsys, saved, "--prices", path)
    assert found["warnings"] == notes
    assert len(notes) == 1
    assert notes[0].startswith(f"{path}: ends on 2000-03-10, before the end of the training data (2016-02-04); ")


def test_repairs_are_reported(capsys, saved, nasdaq, tmp_path):
    path = as_csv(nasdaq.rows(np.arange(len(nasdaq))[::-1]), tmp_path / "backwards.csv")
    found, notes = printed(capsys, saved, "--prices", path)
    assert notes == [f"{path}: sorted the rows by date"]
    assert found["prices"]["as_in_the_study"] is True


def test_too_few_validation_days_are_reported(capsys, study, nasdaq):
    made = Forecaster.load(study / "forecasters" / "1")
    closes = nasdaq.column("close")
    few = conformal_intervals(closes[:10], closes[1:11])
    replace(made, intervals=few, rival_intervals=few).save(study / "forecasters" / "1")
    found, _ = printed(capsys, study)
    assert [one["low"] is None for one in found["forecast"]["intervals"]] == [False, True]
    assert main([str(study)]) == 0
    page = capsys.readouterr().out
    assert "95 % interval  unbounded" in page
    assert "10 validation days" in page
    assert "Unbounded: too few validation days for the level" in " ".join(page.split())
    replace(made, intervals=(), rival_intervals=()).save(study / "forecasters" / "1")
    assert main([str(study)]) == 0
    assert "nterval" not in capsys.readouterr().out


@pytest.mark.parametrize("factor", [1e-9, 1e-5, 1e4, 1e11])
def test_prices_of_any_size_fit_the_page(capsys, saved, nasdaq, tmp_path, factor):
    path = as_csv(replace(nasdaq, values=nasdaq.values * [*[factor] * 4, 1]), tmp_path / "prices.csv")
    assert main([str(saved), "--prices", str(path)]) == 0
    page = capsys.readouterr().out
    assert max(len(line) for line in page.splitlines() if str(tmp_path) not in line) <= 80
    assert "inf" not in page
    assert "nan" not in page


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ({"verdict": "It beats\nnothing."}, "Verdict: It beats nothing."),
        ({"verdict": ["One.", "", "Two \x1b[31m."]}, "Verdict: One. Two \\x1b[31m."),
        ({"verdict": []}, "The study has no verdict."),
        ({"verdict": None}, "The study has no verdict."),
        ({}, "The study has no verdict."),
        (None, "The study has no verdict."),
    ],
)
def test_the_verdict(capsys, study, manifest, words):
    if manifest is None:
        (study / "manifest.json").unlink()
    else:
        (study / "manifest.json").write_text(json.dumps(manifest))
    assert main([str(study)]) == 0
    page = capsys.readouterr().out
    assert page.endswith(f"\n\n{words}\n")
    assert all(letter.isprintable() or letter == "\n" for letter in page)


@pytest.mark.parametrize(
    ("opening", "words"),
    [
        ({"scores": {"t00001": {"test_coverage_80": 0.496, "test_coverage_95": 0.744}}},
         "Share of test days: 50 % in the 80 % interval, 74 % in the 95 % interval."),
        ({"scores": {"t00001": {"test_coverage_80": "all"}, "other": {"test_coverage_80": 0.5}}}, None),
        ({"scores": None}, None),
        ("opened", None),
    ],
)  # fmt: skip
def test_the_coverage_of_the_intervals_on_the_test_block(capsys, study, nasdaq, opening, words):
    made, closes = Forecaster.load(study / "forecasters" / "1"), nasdaq.column("close")
    forecast = made.forecast(nasdaq, np.arange(4299, 4399)).mean(axis=0)
    days = ValidationDays.of(nasdaq.dates[4300:4400], forecast, closes[4300:4400], closes[4299:4399])
    replace(made, validation=days).save(study / "forecasters" / "1")
    (study / "manifest.json").write_text(json.dumps({"test_openings": [{}, opening]}))
    assert main([str(study)]) == 0
    page = " ".join(capsys.readouterr().out.split())
    assert ("Share of test days" in page) == (words is not None)
    assert words is None or words in page


# Prices of a ticker, and other series


def saved_study(study, prices, asked, **window):
    """Return the folder of a study with one forecaster, which was trained briefly on these prices."""
    fold = Fold(train=range(150), validation=range(150, 180))
    windows = Windows(prices, [fold], WindowConfig(sequence_length=5, **window), 1)
    network = NetworkConfig(architecture="gru", hidden_size=4, output_init="uniform")
    *_, last = train(windows, network, TrainingConfig(), seeds=2, max_epochs=1)
    Forecaster.from_training(
        windows, last.members, intervals=(), rival_intervals=(), rank=1, trial_id="t", epochs=1,
        span=(str(prices.dates[0]), str(prices.dates[149])), provenance=prices.provenance, asked=asked,
    ).save(study / "forecasters" / "1")  # fmt: skip
    return study


@pytest.fixture
def market(yahoo, tmp_path):
    """Return a study with another ticker as an input; both series have two more sessions since the study."""
    asked = DataConfig(source="yahoo", ticker="^KS11", start="2023-08-01", also=["^GSPC"])
    for seed, ticker in enumerate(("^KS11", "^GSPC", "^N225")):
        yahoo.list(ticker, 260, "2024-05-24", seed=seed)
    prices = prepare(asked, Access(cache=tmp_path / "then"))
    study = saved_study(tmp_path / "study", prices, asked, features="returns", others=("^GSPC",))
    for ticker, rows in yahoo.charts.items():
        yahoo.charts[ticker] = [*rows, *((str(day), *rows[-1][1:]) for day in ("2024-05-27", "2024-05-28"))]
    return yahoo, study, prices


def test_a_tickers_study_forecasts_from_todays_prices(capsys, market, tmp_path):
    yahoo, study, prices = market
    cache = ("--cache", tmp_path / "cache")
    found, _ = printed(capsys, study, *cache)
    assert found["prices"]["source"] == "yahoo ^KS11"
    assert (found["prices"]["start"], found["prices"]["end"]) == (str(prices.dates[0]), "2024-05-28")
    assert found["prices"]["newer_sessions"] == 2
    assert found["last_close"]["close"] == pytest.approx(yahoo.charts["^KS11"][-1][4])
    assert {symbol for symbol, _ in yahoo.chart_requests} == {"^KS11", "^GSPC"}
    requests = len(yahoo.chart_requests)
    again, notes = printed(capsys, study, *cache, "--offline")
    assert len(yahoo.chart_requests) == requests
    assert again["forecast"] == found["forecast"]
    assert any("offline: used the copy of" in note for note in notes)
    printed(capsys, study, *cache, "--refresh")
    assert len(yahoo.chart_requests) > requests


def test_another_ticker_or_a_file_in_its_place(capsys, market, tmp_path, nasdaq):
    yahoo, study, _ = market
    cache = ("--cache", tmp_path / "cache")
    found, _ = printed(capsys, study, *cache, "--ticker", "^N225")
    assert found["prices"]["source"] == "yahoo ^N225"
    assert found["last_close"]["close"] == pytest.approx(yahoo.charts["^N225"][-1][4])
    yahoo.chart_requests.clear()
    assert refused(capsys, study, *cache, "--prices", "nasdaq").startswith("yahoo ^GSPC: Date: begins on 2023-")
    file = as_csv(replace(nasdaq, dates=np.busday_offset("2024-05-24", np.arange(-5030, 1))), tmp_path / "mine.csv")
    found, _ = printed(capsys, study, *cache, "--prices", file)
    assert found["prices"]["end"] == "2024-05-24"
    assert {symbol for symbol, _ in yahoo.chart_requests} <= {"^GSPC"}


def test_tickers_that_cannot_be_had_are_one_line(capsys, market, tmp_path):
    yahoo, study, _ = market
    cache = ("--cache", tmp_path / "cache")
    assert refused(capsys, study, *cache, "--offline").startswith("yahoo ^KS11: 2023-08-01 to the last day is not in ")
    assert refused(capsys, study, *cache, "--ticker", "../x").startswith("data.ticker: '../x' is not a Yahoo ticker")
    del yahoo.charts["^GSPC"]
    assert refused(capsys, study, *cache).startswith("yahoo ^GSPC: Yahoo does not know this ticker")
    line = "--prices: conflicts with --ticker; only one of them is allowed; remove the other"
    assert refused(capsys, study, "--prices", "x.csv", "--ticker", "^KS11") == line
    line = "--offline: conflicts with --refresh; only one of them is allowed; remove the other"
    assert refused(capsys, study, "--offline", "--refresh") == line
    assert refused(capsys, study, "--prices", "yahoo").endswith("use for example --ticker ^KS11")


def test_another_series_in_a_file_that_moved(capsys, tmp_path, monkeypatch, nasdaq):
    monkeypatch.chdir(tmp_path)
    as_csv(clean(load("sp500")), tmp_path / "world.csv")
    asked = DataConfig(also=["world.csv"])
    study = saved_study(tmp_path / "study", prepare(asked), asked, features="returns", others=("world",))
    found, _ = printed(capsys, study)
    assert found["prices"]["as_in_the_study"] is True
    newer = as_csv(longer(nasdaq, 1, 1.01), tmp_path / "newer.csv")
    found, _ = printed(capsys, study, "--prices", newer)
    assert found["prices"]["newer_sessions"] == 1
    (tmp_path / "world.csv").unlink()
    line = "world.csv: no such file; the forecaster reads its input world from it; restore the file"
    assert refused(capsys, study) == line
    assert refused(capsys, study, "--prices", newer) == line


# Errors


def test_no_study(capsys):
    assert refused(capsys).startswith("python -m stockrnn.forecast: a study is missing; ")


def test_a_misspelt_study(capsys, study):
    wrong = study.parent / "nasdak"
    assert refused(capsys, wrong) == (
        f"{wrong}: no such folder; a study is a folder, for example results/nasdaq; did you mean {study}?"
    )
    assert refused(capsys, study.parent / "a" / "b").endswith("; check the path")
    above = study.parent.with_name(study.parent.name[:-1]) / study.name  # the folder of the studies is misspelt
    assert refused(capsys, above).endswith(f"; did you mean {study}?")
    assert refused(capsys, study / "manifest.json").startswith(f"{study / 'manifest.json'}: no such folder; ")
    assert refused(capsys, "x" * 5000).endswith(": cannot be read (File name too long); check the path")


def test_a_study_without_forecasters(capsys, study):
    shutil.rmtree(study / "forecasters")
    for made in ("forecasters", "forecasters/ensemble", "forecasters/ensemble/1"):
        assert refused(capsys, study).startswith(f"{study}: has no forecasters; ")
        (study / made).mkdir()
    assert refused(capsys, study).startswith(f"{study}: has no forecasters; ")


@pytest.mark.parametrize("rank", ["3", "0", "-1", "01", "one", "", "ensemble", "../1", "1.0", "²"])
def test_an_unknown_rank(capsys, study, rank):
    (study / "forecasters" / "10").mkdir()
    line = refused(capsys, study, f"--rank={rank}")
    assert line.startswith(f"--rank {rank}".strip())
    assert line.endswith("its ranks are 1, 2, 10; choose one of them")


def test_a_forecaster_that_is_damaged(capsys, study):
    document = study / "forecasters" / "1" / DOCUMENT
    document.write_text(document.read_text().replace('"gru"', '"transformer"'))
    assert refused(capsys, study).startswith(f"{document}: network.architecture: ")
    document.unlink()
    assert refused(capsys, study).startswith(f"{document}: no such file; ")


@pytest.mark.parametrize("text", ["", "[]", '{"verdict": 3}', '{"verdict": [3]}', '{"verdict": {"a": 1}}', "{"])
def test_a_manifest_that_is_damaged(capsys, study, text):
    (study / "manifest.json").write_text(text)
    assert refused(capsys, study).startswith(f"{study / 'manifest.json'}: ")


def test_prices_that_cannot_be_used(capsys, saved, nasdaq, tmp_path):
    assert refused(capsys, saved, "--prices", tmp_path / "no.csv").startswith(f"{tmp_path / 'no.csv'}: no such file; ")
    short = as_csv(nasdaq.rows(np.arange(4)), tmp_path / "short.csv")
    assert refused(capsys, saved, "--prices", short).startswith(f"{short}: 4 sessions are too few; ")
    bare = as_csv(nasdaq, tmp_path / "bare.csv", columns=("Open", "High", "Low", "Close"))
    assert refused(capsys, saved, "--prices", bare).startswith(
        f"{bare}: volume: missing (there is no Volume column); the inputs of this forecaster are "
    )
    holes = replace(nasdaq, values=nasdaq.values.copy())
    holes.values[7, 3] = math.nan
    path = as_csv(holes, tmp_path / "holes.csv")
    assert refused(capsys, saved, "--prices", path).startswith(f"{path}:9: Close: missing on 1999-01-13; ")


def test_a_forecast_that_is_not_a_price(capsys, study, nasdaq, tmp_path):
    made = Forecaster.load(study / "forecasters" / "2")
    bias = {**made.weights, "output.bias": made.weights["output.bias"] - 1e3}  # far below zero
    replace(made, weights=bias).save(study / "forecasters" / "2")
    assert refused(capsys, study, "--rank", "2").startswith("nasdaq: the forecast is -")
    bias = {**made.weights, "output.bias": made.weights["output.bias"] + 3e38}
    log_return = Forecaster.load(study / "forecasters" / "1")
    replace(log_return, weights=bias).save(study / "forecasters" / "1")
    assert refused(capsys, study).startswith("nasdaq: the forecast is inf, not a finite price above 0; ")


def test_the_studys_prices_moved(capsys, study, nasdaq, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = as_csv(nasdaq, tmp_path / "mine.csv")
    document = study / "forecasters" / "1" / DOCUMENT
    document.write_text(document.read_text().replace('"source": "nasdaq"', '"source": "mine.csv"'))
    found, _ = printed(capsys, study)
    assert found["prices"]["source"] == "mine.csv"
    assert found["prices"]["as_in_the_study"] is True
    path.unlink()
    expected = "mine.csv: no such file; the study read its prices from it; give prices with --prices FILE"
    assert refused(capsys, study) == expected
    os.mkfifo(path)  # the command must not wait for a pipe
    assert refused(capsys, study) == expected
    found, _ = printed(capsys, study, "--prices", "nasdaq")
    assert found["study_prices"]["source"] == "mine.csv"
    document.write_text(document.read_text().replace('"mine.csv"', r'"\u001b[2Jno\nfile"'))
    assert refused(capsys, study).startswith("\\x1b[2Jno file: no such file; ")
