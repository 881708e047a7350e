"""Test the benchmarks: equal days for every program, counted lines of code, and figures that agree across pages."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.__main__ import WAYS, lines, price_u
from benchmarks.intervals import compare as compare_intervals
from benchmarks.plain_loop import losses_of, unseen_forecasts
from benchmarks.simulated_series import fit_garch_process, fit_har_process, ohlc, simulate
from benchmarks.task import BLOCK, EPOCHS, Size, points, split, table
from benchmarks.verdict_errors import Result, simulated_rows, simulated_studies
from benchmarks.verdict_errors import main as verdict_errors
from search.space.space import load_space
from stockrnn.dataset.alignment import prepare
from stockrnn.volatility.estimators import daily_variance
from stockrnn.volatility.har import fit_har, har_terms

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
OWN = '''"""Module."""

import json


# a comment
def one():
    """Says.

    More.
    """
    return 1  # kept


def two():
    return 2
'''
PAGE = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")


def test_everybody_validates_and_forecasts_the_days_of_the_study():
    space = load_space(str(ROOT / "benchmarks/twenty.yaml"), [("validation.folds", "3", "--set")])
    splits = space.split(prepare(space.data))
    end = len(table())
    assert splits.test == range(end - BLOCK, end)
    assert [fold.validation for fold in splits.folds] == [
        range(end - BLOCK * (2 + fold), end - BLOCK * (1 + fold)) for fold in (2, 1, 0)
    ]
    assert len(space.search.initial) == space.num_samples == len(points()) == 20
    assert space.scheduler.max_epochs == EPOCHS


def test_windows_end_the_day_before_what_they_forecast():
    frame = table()
    first, last = 4000, 4250
    x, y, ahead_x, ahead_y = split(5, first, last)
    close = frame["close"].to_numpy()
    returns = 100 * np.log(close[1:] / close[:-1])  # into session 1, 2, ...
    np.testing.assert_allclose(ahead_y, returns[first - 1 : last - 1], rtol=1e-5)
    np.testing.assert_allclose(y, returns[4 : first - 1], rtol=1e-5, atol=1e-6)
    scaled = (close - close[:first].mean()) / close[:first].std()
    np.testing.assert_allclose(ahead_x[0, :, 3], scaled[first - 5 : first], rtol=1e-4)
    np.testing.assert_allclose(x[-1, :, 3], scaled[first - 6 : first - 1], rtol=1e-4)
    assert (x.shape, ahead_x.shape) == ((first - 5, 5, 5), (BLOCK, 5, 5))


def test_no_change_is_persistence():
    assert price_u([0.0] * BLOCK) == 1.0
    truth = table()["ahead"].to_numpy()[-BLOCK - 1 : -1]
    assert price_u(truth) == pytest.approx(0, abs=1e-9)


def test_a_fold_and_a_seed_each_train_a_network(monkeypatch):
    monkeypatch.setattr("benchmarks.plain_loop.EPOCHS", 1)
    torch.set_num_threads(1)
    point = {"architecture": "rnn", "hidden_size": 8, "sequence_length": 5}
    alone, seeds = (next(losses_of(point, Size(1, count))) for count in (1, 2))
    assert alone != seeds
    assert len(unseen_forecasts(point, 1, Size(1, 1))) == BLOCK


def test_the_lines_that_count_are_those_that_somebody_writes(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    monkeypatch.setattr("benchmarks.__main__.__file__", str(tmp_path / "main.py"))
    assert lines("own.py", ()) == 5
    assert lines("own.py", ("one",)) == 2


def test_the_functions_that_are_counted_exist():
    for way in WAYS.values():
        for file, names in way.written.items():
            assert lines(file, names) > len(names)
            for name in names:
                assert lines(file, (name,)) > 1, name


def test_the_front_pages_quote_the_page():
    tables = re.findall(r"<!-- (?:one|nine) -->\n(.*?)<!-- end", PAGE, re.S)
    names = "|".join(WAYS)
    medians = [median for text in tables for median in re.findall(rf"^\| (?:{names}) \| ([\d.]+) ", text, re.M)]
    assert len(medians) == 7
    for name in ("README.md", "README.ko.md"):
        parts = (ROOT / name).read_text(encoding="utf-8").split("\n\n")
        (said,) = (part for part in parts if "docs/benchmarks.md" in part)
        assert sorted(re.findall(r"\d+\.\d", said)) == sorted(medians)


@pytest.mark.parametrize("series", ["nasdaq", "sp500"])
def test_adaptive_intervals_hold_their_level_in_every_block(series):
    """The limits are those of the project: docs/benchmarks.md has the measured figures."""
    rows = compare_intervals(series, "parkinson", 1)
    figures = {}
    for row in rows:
        _, name, kind, *cells, _ = (cell.strip() for cell in row.split("|"))
        assert name == series
        assert row in PAGE
        figures[kind] = [[float(value) for value in cell.split(" / ")] for cell in cells]
    assert figures["static"][2] == [1, 1]
    (mean80, mean95), (worst80, worst95), (winkler80, winkler95) = figures["scaled by HAR, adaptive"]
    assert mean80 <= 1.5
    assert mean95 <= 0.8
    assert worst80 <= 4
    assert worst95 <= 2.5
    assert winkler80 <= 0.86
    assert winkler95 <= 0.74


def test_simulated_series_follow_the_har_that_they_are_drawn_from():
    process = fit_har_process()
    series = simulate(process, 20_000, 0.0, [np.random.default_rng(0)])
    variance, close, mean = series.variance[0], series.close[0], series.mean[0]
    fitted = fit_har(variance, close, range(len(close)), 1, leverage=True)
    terms = har_terms(variance, close, leverage=True)[22:-1]
    np.testing.assert_allclose(terms @ process.coefficients, mean[22:-1], rtol=1e-9)  # the true mean is known
    assert np.corrcoef(terms @ fitted.coefficients, mean[22:-1])[0, 1] > 0.995


def test_a_garch_series_follows_its_recursion_and_does_not_explode():
    process = fit_garch_process()
    series = simulate(process, 3_000, 0.0, [np.random.default_rng(seed) for seed in range(4)])
    for close, mean in zip(series.close, series.mean, strict=True):
        expected = np.log(process.garch.next_variance(close))
        np.testing.assert_allclose(mean[1500:-1], expected[1500:-1], rtol=1e-9)  # the start value is forgotten
    planted = simulate(process, 3_000, 0.75, [np.random.default_rng(seed) for seed in range(4)])
    assert abs(np.median(np.log(planted.variance)) - np.median(np.log(series.variance))) < 0.5


def test_a_simulated_series_depends_on_its_own_generator_alone():
    process = fit_garch_process()
    both = simulate(process, 200, 0.5, [np.random.default_rng(seed) for seed in (0, 1)])
    alone = simulate(process, 200, 0.5, [np.random.default_rng(1)])
    np.testing.assert_allclose(both.variance[1], alone.variance[0], rtol=1e-9)  # sums differ by rounding
    np.testing.assert_allclose(both.close[1], alone.close[0], rtol=1e-9)


def test_simulated_prices_have_the_variance_and_the_closes_of_their_series():
    series = simulate(fit_garch_process(), 1_000, 0.75, [np.random.default_rng(0)])
    frame = ohlc(series.variance[0], series.close[0], np.random.default_rng(0))
    variance, raised = daily_variance(None, frame["High"].to_numpy(), frame["Low"].to_numpy(), None, "parkinson")
    assert raised <= 5  # raised to the floor of a quiet session
    close = np.isclose(variance, series.variance[0], rtol=1e-6)
    assert (~close).sum() == raised
    np.testing.assert_allclose(frame["Close"], series.close[0])
    assert (frame["High"] >= frame[["Open", "Close"]].max(axis=1)).all()
    assert (frame["Low"] <= frame[["Open", "Close"]].min(axis=1)).all()


def test_a_planted_gain_is_found_and_equally_good_forecasts_are_not():
    (found,) = simulated_studies(fit_garch_process(), 0.75, [0])
    assert len(found) == 3  # lengths of the test set
    assert found[0].spa_p <= 0.05
    assert found[-1].ratio < 1
    (equal,) = simulated_studies(fit_har_process(), 0.0, [0], equal=True)
    assert equal[0].spa_p > 0.05


def test_the_verdict_needs_all_three_tests_and_a_smaller_loss():
    values = {"spa_p": 0.01, "dm_p": 0.01, "test_spa_p": 0.01, "ratio": 0.9}
    worse = [values, values | {"dm_p": 0.06}, values | {"spa_p": 0.06}, values | {"ratio": 1.1}]
    found = [[Result(**one)] * 3 for one in worse]
    assert simulated_rows("name", found)[0] == "| name | 250 | 0.900 | 75.0 % | 75.0 % | 100.0 % | 25.0 % |"


def test_the_page_has_the_rows_of_the_command(monkeypatch, capsys):
    """Two studies of each kind; the page has the rows of 200."""
    monkeypatch.setattr("sys.argv", ["verdict_errors", "--studies", "2"])
    verdict_errors()
    printed = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    section = PAGE.split("## Error rates of the verdict on volatility")[1].split("\n## ")[0]
    shown = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("|")]
    assert [row[:2] for row in shown[: len(printed)]] == [row[:2] for row in printed]
    assert shown[0] == printed[0]
