"""Test `python -m stockrnn.forecast` and `Forecaster.predict` for every task, and intervals scaled by a volatility."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stockrnn.dataset.config import DataConfig, WindowConfig
from stockrnn.dataset.windows import Windows
from stockrnn.evaluation.adaptive_intervals import AdaptiveInterval
from stockrnn.evaluation.conformal import conformal_intervals
from stockrnn.evaluation.walk_forward import Fold
from stockrnn.forecast import main
from stockrnn.forecaster.forecaster import DOCUMENT, Forecaster
from stockrnn.forecaster.validation import ValidationDays
from stockrnn.networks.config import NetworkConfig
from stockrnn.prices.cleaning import clean
from stockrnn.prices.frame import to_frame
from stockrnn.prices.loading import load
from stockrnn.tasks.registry import find_task
from stockrnn.tasks.scoring import fold_days
from stockrnn.tasks.task import Series
from stockrnn.training.config import TrainingConfig
from stockrnn.training.trainer import train
from stockrnn.volatility.har import har

pytestmark = pytest.mark.slow

TRAIN, VALIDATION, SESSIONS = range(500, 800), range(800, 900), 1000
SEED = 3
TASKS = ("price", "volatility", "direction")


def finalist(prices, task, *, horizon=1, validation=VALIDATION, **asked):
    """Return a forecaster after two epochs, and the point of its training."""
    asked = DataConfig(source=prices.source, task=task, horizon=horizon, **asked)
    kind = find_task(task)
    fold = Fold(train=TRAIN, validation=validation)
    window = WindowConfig(
        features=asked.features, sequence_length=5, target=next(iter(kind.targets)), scaling=kind.scalings[0],
        estimator=asked.estimator,
    )  # fmt: skip
    windows = Windows(prices, [fold], window, horizon)
    point = {"batch_size": 64, "loss": kind.losses[0]}
    network = NetworkConfig(architecture="gru", hidden_size=4, output_init="uniform")
    *_, last = train(windows, network, TrainingConfig(**point), seeds=2, max_epochs=2, study_seed=SEED)
    (days,) = fold_days(kind, Series(prices=prices, horizon=horizon, estimator=asked.estimator), [fold])
    mean = last.forecasts[0].mean(axis=0)
    made = Forecaster.from_training(
        windows, last.members, correction=float(last.corrections[0]),
        intervals=conformal_intervals(mean, days.actual) if kind.has_intervals else (),
        rival_intervals=conformal_intervals(days.rival, days.actual) if kind.has_intervals else (),
        rank=1, trial_id="00007", epochs=2, span=(str(prices.dates[TRAIN.start]), str(prices.dates[TRAIN.stop - 1])),
        provenance=prices.provenance, asked=asked,
        validation=ValidationDays.of(
            prices.dates[validation.start : validation.stop], mean, days.actual, days.rival
        ),
    )  # fmt: skip
    return made, point


def save(folder, prices, task, **asked):
    """Save a study with one finalist, with only the files that a forecast needs."""
    made, point = finalist(prices, task, **asked)
    made.save(folder / "forecasters" / "1")
    opening = {"finalists": [{"trial_id": "00007", "point": point}], "scores": {"00007": {"test_coverage_80": 0.7}}}
    manifest = {"verdict": ["Nothing beats it."], "seed": SEED, "space": {}, "test_openings": [opening]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module")
def nasdaq():
    return clean(load("nasdaq")).rows(np.arange(SESSIONS))


@pytest.fixture(scope="module")
def saved(nasdaq, tmp_path_factory):
    """Return a folder with a study of each task on the same prices, and the file with these prices."""
    place = tmp_path_factory.mktemp("studies")
    prices = replace(nasdaq, source=str(as_csv(nasdaq, place / "prices.csv")))
    for task in TASKS:
        save(place / task, prices, task)
    return place


@pytest.fixture
def studies(saved, tmp_path):
    """Return a copy of these studies that a test may change."""
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def as_csv(prices, path, columns=("Open", "High", "Low", "Close", "Volume")):
    lines = [",".join(("Date", *columns))]
    for day, values in zip(prices.dates, prices.values.tolist(), strict=True):
        row = dict(zip(("Open", "High", "Low", "Close", "Volume"), values, strict=True))
        lines.append(",".join([str(day), *(repr(row[name]) for name in columns)]))
    path.write_text("\n".join(lines) + "\n")
    return path


def printed(capsys, *arguments):
    """Run the command; return its JSON object."""
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out, parse_constant=pytest.fail)


def page(capsys, *arguments):
    """Run the command; return its lines, and its words in one line."""
    assert main([*map(str, arguments)]) == 0
    out = capsys.readouterr().out
    return out.splitlines(), " ".join(out.split())


def refused(capsys, *arguments):
    """Run the command with invalid input; return its line on stderr."""
    assert main([*map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err[:-1].isprintable()
    return err[:-1]


# Volatility


def parkinson(prices):
    return np.log(prices.column("high") / prices.column("low")) ** 2 / (4 * math.log(2))


def overnight_factor(prices, positions):
    """Return the ratio of the two variances by a plain loop."""
    closes, variance = prices.column("close"), parkinson(prices)
    returns = [math.log(closes[t] / closes[t - 1]) for t in positions]
    mean = sum(returns) / len(returns)
    return sum((one - mean) ** 2 for one in returns) / sum(variance[t] for t in positions)


def har_with_leverage(prices, positions, horizon=1):
    """Return tomorrow's volatility in per cent a day, by a plain regression on the training part."""
    logs, closes = np.log(parkinson(prices)), prices.column("close")

    def terms(t):
        change = 100 * math.log(closes[t] / closes[t - 1])
        return [1, logs[t], logs[t - 4 : t + 1].mean(), logs[t - 21 : t + 1].mean(), min(change, 0), abs(change)]

    def target(t):
        return math.log(np.exp(logs[t + 1 : t + 1 + horizon]).mean())

    origins = list(positions)[:-horizon]
    rows, targets = np.array([terms(t) for t in origins]), np.array([target(t) for t in origins])
    weights = np.linalg.lstsq(rows, targets, rcond=None)[0]
    smearing = np.mean(np.exp(targets - rows @ weights))
    return 100 * math.sqrt(smearing * math.exp(np.array(terms(len(prices) - 1)) @ weights))


def test_the_volatility_is_that_of_the_networks_beside_that_of_har(capsys, saved, nasdaq):
    made = Forecaster.load(saved / "volatility" / "forecasters" / "1")
    seeds = made.forecast(nasdaq, [SESSIONS - 1])[:, 0]
    found = printed(capsys, saved / "volatility")
    assert (found["task"], found["estimator"], found["sessions_a_year"]) == ("volatility", "parkinson", 252)
    forecast, rival = found["forecast"], found["rival"]
    assert forecast["seeds"] == pytest.approx(seeds)
    assert forecast["volatility"] == pytest.approx(seeds.mean())
    assert rival["name"] == "har_leverage"
    assert rival["volatility"] == pytest.approx(har_with_leverage(nasdaq, TRAIN))
    factor = overnight_factor(nasdaq, TRAIN)
    assert found["overnight_factor"] == pytest.approx(factor)
    last = nasdaq.column("close")[-1]
    for side in (forecast, rival):
        assert side["annualised"] == pytest.approx(side["volatility"] * math.sqrt(252))
        for shown in side["intervals"]:  # of the logarithm
            assert shown["low"] * shown["high"] == pytest.approx(side["volatility"] ** 2)
        for shown, z in zip(side["close_ranges"], (1.2815516, 1.9599640), strict=True):
            width = z * side["volatility"] / 100 * math.sqrt(factor)
            assert shown["low"] == pytest.approx(last * math.exp(-width))
            assert shown["high"] == pytest.approx(last * math.exp(width))
    days = nasdaq.dates[[TRAIN.start, TRAIN.stop - 1]].astype(str).tolist()
    assert found["rival_fitted_on"] == {"start": days[0], "end": days[1], "sessions": 300, "as_networks": True}


def test_the_page_of_a_volatility(capsys, saved):
    lines, words = page(capsys, saved / "volatility")
    assert max(len(line) for line in lines if str(saved) not in line) <= 80
    for beginning in (
        "volatility, % a day  ", "annualised, %  ", "80 % interval  ", "95 % interval  ", "close, 80 %  ",
        "close, 95 %  ", "Verdict: Nothing beats it.",
    ):  # fmt: skip
        assert sum(line.startswith(beginning) for line in lines) == 1, beginning
    assert any(line.split()[:4] == ["forecast", "HAR", "with", "leverage"] for line in lines)
    for text in (
        "Estimator of a session's variance: parkinson.", "the square root of 252, the sessions in a year",
        "HAR with leverage is fitted to 300 sessions, ", "the networks were trained on them",
        "for a normal log return without drift.", "the variance from close to close over the mean estimate",
        "adaptive conformal prediction from the errors on the last 200 days on which the networks were not trained. ",
        "Share of test days: 70 % in the 80 % interval.",
    ):  # fmt: skip
        assert text in words, text


def test_a_horizon_has_the_mean_variance_of_its_sessions(capsys, nasdaq, tmp_path):
    study = save(tmp_path / "five", nasdaq, "volatility", horizon=5)
    path = as_csv(nasdaq, tmp_path / "prices.csv")
    found = printed(capsys, study, "--prices", path)
    assert found["rival"]["volatility"] == pytest.approx(har_with_leverage(nasdaq, TRAIN, horizon=5))
    side, last = found["forecast"], nasdaq.column("close")[-1]
    width = 1.9599640 * side["volatility"] / 100 * math.sqrt(5 * overnight_factor(nasdaq, TRAIN))
    assert side["close_ranges"][1]["high"] == pytest.approx(last * math.exp(width))
    _, words = page(capsys, study, "--prices", path)
    assert "The volatility is that of the mean variance of the next 5 sessions." in words
    assert "without drift, over 5 sessions." in words


def test_prices_without_the_training_sessions_fit_the_rival_to_what_they_have(capsys, saved, nasdaq, tmp_path):
    path = as_csv(nasdaq.rows(np.arange(850, SESSIONS)), tmp_path / "new.csv")
    found = printed(capsys, saved / "volatility", "--prices", path)
    fitted = found["rival_fitted_on"]
    assert (fitted["sessions"], fitted["as_networks"]) == (150, False)
    assert fitted["end"] == found["last_close"]["date"]
    assert "these prices lack the training sessions" in page(capsys, saved / "volatility", "--prices", path)[1]


def test_prices_that_the_estimator_cannot_use(capsys, saved, nasdaq, tmp_path):
    closes = as_csv(nasdaq, tmp_path / "closes.csv", ("Close",))
    line = refused(capsys, saved / "volatility", "--prices", closes)
    assert line.startswith(f"{closes}: high, low: missing (")
    assert line.endswith("; add the column, or run a study on these prices with estimator: squared_return")
    short = as_csv(nasdaq.rows(np.arange(60)), tmp_path / "short.csv")
    line = refused(capsys, saved / "volatility", "--prices", short)
    assert line.startswith(f"{short}: HAR: ")
    assert line.endswith("at least 50 are needed; use a longer series")
    few = as_csv(nasdaq.rows(np.arange(10)), tmp_path / "few.csv")
    assert refused(capsys, saved / "volatility", "--prices", few).startswith(f"{few}: 10 sessions are too few; ")


def test_sessions_without_a_range_are_counted(capsys, saved, nasdaq, tmp_path):
    assert printed(capsys, saved / "volatility")["raised_sessions"] == 0
    assert "was raised" not in page(capsys, saved / "volatility")[1]
    flat = replace(nasdaq, values=nasdaq.values.copy())
    flat.values[[600, 700], :4] = flat.values[[600, 700], 3:4]
    path = as_csv(flat, tmp_path / "flat.csv")
    assert printed(capsys, saved / "volatility", "--prices", path)["raised_sessions"] == 2
    words = page(capsys, saved / "volatility", "--prices", path)[1]
    assert "The variance of 2 sessions was raised to 1 % of the mean of the 250 sessions before, for example" in words


def test_closes_suffice_for_squared_returns(capsys, nasdaq, tmp_path):
    study = save(tmp_path / "closes", nasdaq, "volatility", estimator="squared_return", features="volatility_close")
    closes = as_csv(nasdaq, tmp_path / "closes.csv", ("Close",))
    found = printed(capsys, study, "--prices", closes)
    assert found["estimator"] == "squared_return"
    assert found["overnight_factor"] == pytest.approx(1, abs=0.05)  # returns from close to close already


# Direction


def test_the_probability_of_a_rise_beside_the_base_rate(capsys, saved, nasdaq):
    made = Forecaster.load(saved / "direction" / "forecasters" / "1")
    found = printed(capsys, saved / "direction")
    forecast, rival = found["forecast"], found["rival"]
    assert forecast["probability"] == pytest.approx(made.forecast(nasdaq, [SESSIONS - 1]).mean())
    closes = nasdaq.column("close")
    rises = sum(closes[t + 1] > closes[t] for t in TRAIN[:-1])
    assert (rival["name"], forecast["intervals"], rival["intervals"]) == ("base_rate", [], [])
    assert rival["probability"] == pytest.approx((rises + 0.5) / len(TRAIN))  # of 299 targets
    lines, words = page(capsys, saved / "direction")
    (shown,) = [line.split() for line in lines if line.startswith("probability of a rise, %  ")]
    assert shown[-2:] == [f"{100 * side['probability']:.1f}" for side in (forecast, rival)]
    assert "The base rate is the share of rises in the past. It is fitted to 300 sessions, " in words
    assert "Intervals" not in words
    assert max(len(line) for line in lines if str(saved) not in line) <= 80


# All tasks


@pytest.mark.parametrize("task", TASKS)
def test_a_refit_forecasts_and_keeps_the_record(capsys, studies, nasdaq, task):
    found = printed(capsys, studies / task, "--refit")
    assert found["forecaster"]["version"] == 2
    assert found["prices"]["unseen_sessions"] == 0
    first, second = (Forecaster.load(studies / task / "forecasters" / name) for name in ("1", "1-v2"))
    days = len(VALIDATION)
    for name in ("dates", "forecast", "actual", "rival"):
        assert getattr(second.validation, name)[:days] == getattr(first.validation, name)
    assert list(second.validation.dates[days:]) == nasdaq.dates[VALIDATION.stop :].astype(str).tolist()
    later = first.forecast(nasdaq, np.arange(VALIDATION.stop, SESSIONS) - 1).mean(axis=0)  # not of the new networks
    assert second.validation.forecast[days:] == pytest.approx(later)
    again = printed(capsys, studies / task)
    assert again["forecast"] == found["forecast"]
    assert again["forecast"] != printed(capsys, studies / task, "--version", "1")["forecast"]
    if task != "price":
        assert found["rival_fitted_on"]["sessions"] == SESSIONS


@pytest.mark.parametrize("task", [*TASKS, "scaled"])
def test_a_frame_has_the_numbers_of_the_command_and_later_prices_change_no_earlier_row(
    capsys, saved, nasdaq, poisoned, task
):
    name, also = ("price", "volatility") if task == "scaled" else (task, None)
    made = Forecaster.load(saved / name / "forecasters" / "1")
    scale = also and Forecaster.load(saved / also / "forecasters" / "1")
    frame = made.predict(to_frame(nasdaq), sessions=20, also=scale)
    found = printed(capsys, saved / name, *(("--also", saved / also) if also else ()))
    last, (first, *_) = frame.iloc[-1], find_task(name).show.quantities
    assert last["forecast"] == pytest.approx(found["forecast"][first])
    for one in found["forecast"]["intervals"]:
        assert last[f"low_{100 * one['level']:g}"] == pytest.approx(one["low"])
        assert last[f"high_{100 * one['level']:g}"] == pytest.approx(one["high"])
    if name != "price":
        assert last["rival"] == pytest.approx(found["rival"][first])
    if name == "volatility":
        assert last["annualised"] == pytest.approx(found["forecast"]["annualised"])
        assert last["close_high_95"] == pytest.approx(found["forecast"]["close_ranges"][1]["high"])
    spoilt = made.predict(to_frame(poisoned(nasdaq, SESSIONS - 11)), sessions=20, also=scale)
    assert spoilt.iloc[:10].equals(frame.iloc[:10])
    assert not spoilt.iloc[10:].equals(frame.iloc[10:])


# Intervals that follow the volatility and adapt their level


@pytest.mark.parametrize("task", ["price", "volatility"])
def test_the_intervals_are_those_of_the_day_by_day_rule(capsys, saved, nasdaq, task):
    """A plain loop over the days gives the same width: issue, then observe the error."""
    made = Forecaster.load(saved / task / "forecasters" / "1")
    found = printed(capsys, saved / task)
    assert found["adapted_intervals"] is True
    targets = np.arange(VALIDATION.start, SESSIONS + 1)
    scale = np.ones(len(targets))
    if task == "price":
        fitted = har(parkinson(nasdaq), nasdaq.column("close"), range(VALIDATION.start), 1)
        scale = np.sqrt(fitted.variance[targets - 1])
    later = made.forecast(nasdaq, np.arange(VALIDATION.stop, SESSIONS) - 1).mean(axis=0)
    actual = find_task(task).actual(Series(prices=nasdaq))[targets[:-1]]
    errors = np.log(actual / [*made.validation.forecast, *later])
    for shown in found["forecast"]["intervals"]:
        state = AdaptiveInterval.start(shown["level"])
        for error, one in zip(errors, scale, strict=False):
            _, state = state.issue(one)
            state = state.observe(error, one)
        width, _ = state.issue(scale[-1])
        assert math.log(shown["high"] / shown["low"]) == pytest.approx(2 * width)
        assert shown["residuals"] == 200


def test_another_series_has_the_intervals_of_one_width(capsys, saved, nasdaq, tmp_path):
    made = Forecaster.load(saved / "price" / "forecasters" / "1")
    double = replace(nasdaq, values=nasdaq.values * [2, 2, 2, 2, 1])
    for prices in (double, nasdaq.rows(np.arange(850, SESSIONS)), nasdaq.rows(np.arange(300))):
        found = printed(capsys, saved / "price", "--prices", as_csv(prices, tmp_path / "prices.csv"))
        assert found["adapted_intervals"] is False
        for shown, interval in zip(found["forecast"]["intervals"], made.intervals, strict=True):
            assert shown["high"] / shown["low"] == pytest.approx(math.exp(2 * interval.half_width))
    assert made.predict(to_frame(nasdaq), sessions=300)["low_80"].notna().all()


# Intervals of prices, scaled by the volatility of another study


def test_the_scaled_intervals_are_quantiles_of_scaled_errors(capsys, saved, nasdaq):
    price, volatility = (Forecaster.load(saved / task / "forecasters" / "1") for task in ("price", "volatility"))
    plain = printed(capsys, saved / "price")
    found = printed(capsys, saved / "price", "--also", saved / "volatility")
    tomorrow = volatility.forecast(nasdaq, [SESSIONS - 1]).mean()
    days = price.validation
    for side, forecasts in (("forecast", days.forecast), ("rival", days.rival)):
        scores = sorted(
            abs(math.log(actual / forecast)) / scale
            for actual, forecast, scale in zip(days.actual, forecasts, volatility.validation.forecast, strict=True)
        )
        for shown, rank in zip(found[side]["intervals"], (81, 96), strict=True):  # of 101 x the level, rounded up
            width = scores[rank - 1] * tomorrow
            assert shown["residuals"] == 100
            assert shown["low"] == pytest.approx(found[side]["close"] * math.exp(-width))
            assert shown["high"] == pytest.approx(found[side]["close"] * math.exp(width))
        assert found[side]["close"] == plain[side]["close"]
    mean = np.mean(volatility.validation.forecast)
    metric = find_task("volatility").metrics["val_relative_loss"]
    assert found["scale"] == {
        "study": str(saved / "volatility"), "trial_id": "00007", "version": 1, "days": 100,
        "volatility": pytest.approx(tomorrow), "mean_volatility": pytest.approx(mean),
        "relative_loss": pytest.approx(
            metric.value(*(np.array(getattr(volatility.validation, name)) for name in ("forecast", "actual", "rival")))
        ),
    }  # fmt: skip
    _, words = page(capsys, saved / "price", "--also", saved / "volatility")
    assert f"each divided by the volatility that {saved / 'volatility'} forecast for its day (00007, " in words
    assert f"times its forecast now, {tomorrow:.2f} % a day; valid if" in words
    assert "Share of test days" in page(capsys, saved / "price")[1]
    assert "Share of test days" not in words  # they are those of the study's own intervals


def test_scaled_intervals_with_newer_prices_and_after_a_refit(capsys, studies, nasdaq, tmp_path):
    more = clean(load("nasdaq")).rows(np.arange(SESSIONS + 5))
    newer = as_csv(more, tmp_path / "newer.csv")
    also = ("--also", studies / "volatility", "--prices", newer)
    found = printed(capsys, studies / "price", *also)
    assert found["prices"]["newer_sessions"] == 5
    made = printed(capsys, studies / "price", *also, "--refit")
    assert made["scale"] == found["scale"]
    printed(capsys, studies / "volatility", "--prices", newer, "--refit")
    assert printed(capsys, studies / "price", *also)["scale"]["version"] == 2


@pytest.mark.parametrize(
    ("study", "also", "words"),
    [
        ("direction", "volatility", "the study forecasts the probability of a rise; only intervals of prices "),
        ("volatility", "volatility", "the study forecasts the volatility; only intervals of prices "),
        ("price", "price", "forecasts the close; the scale of the intervals is a volatility; use a study with "),
        ("price", "direction", "forecasts the probability of a rise; the scale of the intervals is a volatility; "),
        ("price", "volatilty", "no such folder; a study is a folder, for example results/nasdaq; did you mean "),
        ("price", "x" * 5000, "cannot be read (File name too long); check the path"),
    ],
)
def test_a_study_that_is_no_scale(capsys, saved, study, also, words):
    line = refused(capsys, saved / study, "--also", saved / also)
    assert line.startswith(f"--also {saved / also}: ")
    assert words in line


def test_a_scale_with_another_horizon_other_prices_or_other_days(capsys, saved, nasdaq, tmp_path):
    five = save(tmp_path / "five", nasdaq, "volatility", horizon=5)
    line = f"--also {five}: forecasts with horizon 5, the price study with horizon 1; both need the same horizon"
    assert refused(capsys, saved / "price", "--also", five) == line
    other = clean(load("sp500"))
    other = other.rows(np.isin(other.dates, nasdaq.dates))
    foreign = save(tmp_path / "sp500", other, "volatility")
    line = refused(capsys, saved / "price", "--also", foreign)
    assert line.startswith(f"--also {foreign}: was made on other prices (sp500, 1999-01-04 to ")
    assert line.endswith("; both need the same series")
    later = save(tmp_path / "later", nasdaq, "volatility", validation=range(900, 950))
    line = refused(capsys, saved / "price", "--also", later)
    assert line.startswith(f"--also {later}: 0 validation days in common; the volatility study has 50 from ")
    assert line.endswith("use the same folds in both studies")


def test_a_scale_needs_the_columns_of_its_inputs(capsys, nasdaq, saved, tmp_path):
    study = save(tmp_path / "closes", nasdaq, "price", features="close_only")
    closes = as_csv(nasdaq, tmp_path / "closes.csv", ("Close",))
    line = refused(capsys, study, "--prices", closes, "--also", saved / "volatility")
    assert line.startswith(f"--also {saved / 'volatility'}: needs the columns high, low, which {closes} lacks; ")


def test_a_scale_that_is_worse_than_its_rival_is_said(capsys, saved, studies):
    path = studies / "volatility" / "forecasters" / "1" / DOCUMENT
    document = json.loads(path.read_text())
    document["validation"]["rival"] = [1.01 * value for value in document["validation"]["actual"]]  # a good rival
    path.write_text(json.dumps(document))
    said = page(capsys, saved / "price", "--also", studies / "volatility")[1]
    assert "are worse than those of its rival on these days (relative loss " in said
    assert "so do not rely on the width." in said


def test_damaged_validation_days_are_one_line(capsys, studies):
    path = studies / "price" / "forecasters" / "1" / DOCUMENT
    document = json.loads(path.read_text())
    for change in ({"dates": ["2019-01-01"]}, {"dates": document["validation"]["dates"][::-1]}, {"actual": "none"}):
        path.write_text(json.dumps(document | {"validation": document["validation"] | change}))
        assert refused(capsys, studies / "price").startswith(f"{path}: validation")
    path.write_text(json.dumps(document | {"facts": document["facts"] | {"asked": {"task": "volatility"}}}))
    assert refused(capsys, studies / "price").startswith(f"{path}: window.target: log_return is not a target of ")
