"""Run and read studies from Python: results as DataFrames, errors, threads, and the state of the caller's process."""

import dataclasses
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import search
import stockrnn
from search.api.process_state import preserve_process_state
from search.results.columns import FIRST, task_columns
from search.tune.stopper import Stop
from stockrnn.tasks.price import PRICE

ROOT = Path(__file__).parents[3]
SMALL = {
    "search.num_samples": 3, "search.finalists": 2, "search.finalist_seeds": 2, "scheduler.max_epochs": 3,
    "scheduler.grace_period": 1, "data.test_size": 40, "validation.folds": 2, "validation.fold_size": 30,
    "validation.train_size": 120, "validation.seeds": 2, "space.hidden_size": {"int": [4, 8]},
}  # fmt: skip
TINY = SMALL | {"search.num_samples": 1, "search.finalists": 0, "scheduler.max_epochs": 1}


@pytest.fixture(scope="module")
def prices():
    return stockrnn.load_prices("nasdaq").iloc[-400:]


@pytest.fixture(scope="module")
def study(prices, tmp_path_factory):
    output = tmp_path_factory.mktemp("results")
    return search.run_study("smoke.yaml", prices=prices, overrides=SMALL, output=output, in_process=True, quiet=True)


def state():
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    levels = [logging.getLogger(name).level for name in ("ray", "ray.tune", "optuna")]
    return [signal.getsignal(number) for number in numbers], dict(os.environ), levels, torch.get_num_threads()


def test_the_packages_import_nothing_heavy_and_list_their_names():
    code = (
        "import sys, search, stockrnn; heavy = {'torch', 'ray', 'optuna', 'pandas', 'numpy', 'yaml', 'pydantic'}; "
        "print(*heavy & set(sys.modules)); [getattr(p, n) for p in (search, stockrnn) for n in p.__all__]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == ""
    for package in (search, stockrnn):
        assert set(package.__all__) <= set(dir(package))
        with pytest.raises(AttributeError, match="run_studdy"):
            _ = package.run_studdy


def test_a_leaderboard_has_the_types_of_its_columns(study):
    board = study.leaderboard()
    assert [*board.columns] == [column.name for column in (*FIRST, *task_columns(PRICE))]
    kinds = board.dtypes.astype(str)
    assert kinds["rank"] == kinds["hidden_size"] == kinds["best_epoch"] == "Int64"
    assert kinds["in_mcs"] == "boolean"
    assert kinds["val_relative_loss"] == kinds["test_dm_p"] == kinds["seconds"] == "float64"
    assert kinds["trial_id"] == kinds["architecture"] == "str"
    alone, apart = study.leaderboard(baselines=False), study.baselines()
    assert len(alone) == 3
    assert set(apart["trial_id"]) == {"persistence", "drift", "ar1", "ensemble"}
    assert apart["hidden_size"].isna().all()
    assert len(board) == len(alone) + len(apart)


def test_predictions_are_days_and_numbers(study, prices):
    days = study.predictions()
    assert days["date"].dtype.kind == "M"
    assert {days[name].dtype for name in ("forecast", "actual", "rival")} == {np.dtype("float64")}
    assert set(days["split"]) == {"validation", "test"}
    persistence = study.predictions("test").query("trial_id == 'persistence'").set_index("date")
    assert len(persistence) == 40
    known = prices["Close"].reindex(persistence.index)
    assert np.allclose(persistence["actual"], known, rtol=1e-6)
    assert np.array_equal(persistence["forecast"], persistence["rival"])
    scored = study.leaderboard().set_index("trial_id")["test_mae"]["drift"]
    drift = study.predictions("test").query("trial_id == 'drift'")
    assert (drift["forecast"] - drift["actual"]).abs().mean() == pytest.approx(scored, rel=1e-4)


def test_a_forecaster_forecasts_from_a_frame(study, prices):
    forecaster = study.forecaster(rank=1)
    forecast = forecaster.predict(prices, sessions=3)
    assert forecast["origin"].tolist() == prices.index[-3:].tolist()
    assert forecast["date"].tolist() == [*prices.index[-2:], pd.Timestamp("2019-01-01")]  # the next weekday
    assert forecast["last_close"].tolist() == prices["Close"].iloc[-3:].tolist()
    inner, outer = (forecast[f"high_{level}"] - forecast[f"low_{level}"] for level in (80, 95))
    assert (inner < outer).all()
    assert (forecast["low_95"] < forecast["forecast"]).all()
    assert not forecast["in_training"].any()
    # The last close of another frame with the same sessions, shuffled and with its dates in a column, is the same.
    again = prices.sample(frac=1, random_state=0).reset_index()
    assert forecaster.predict(again)["forecast"].item() == forecast["forecast"].iloc[-1]
    # A forecast is that of the test set, which the finalist had not seen.
    known = study.predictions("test").query("trial_id == @forecaster.facts.trial_id")
    ours = forecaster.predict(prices, sessions=41).iloc[:-1]
    assert np.allclose(ours["forecast"], known["forecast"], rtol=1e-6)
    assert forecaster.predict(prices, sessions=150)["in_training"].any()


def test_the_newest_version_of_a_finalist_forecasts(study, prices):
    from stockrnn.forecaster.versions import save_version

    first = study.forecaster()
    shifted = {name: weight + 0.1 for name, weight in first.weights.items()}
    folder = save_version(dataclasses.replace(first, weights=shifted), study.folder / "forecasters")
    newest, original = (study.forecaster(version=version).predict(prices) for version in (None, 1))
    shutil.rmtree(folder)
    assert newest["forecast"].item() != original["forecast"].item()
    assert original.equals(first.predict(prices))


def test_a_study_opens_shows_itself_and_goes_on(study, prices):
    opened = search.open_study(study.place)
    assert repr(opened) == f"<Study {study.place}: done, 3 trials>"
    assert opened.verdict == study.verdict
    assert opened.prices().equals(prices)
    shown = opened._repr_html_()
    assert "persistence" in shown
    assert "tomorrow equals today" in shown
    longer = opened.resume(overrides={"search.num_samples": 4}, in_process=True, quiet=True)
    assert len(longer.leaderboard(baselines=False)) == 4
    assert len(opened.leaderboard(baselines=False)) == 3


def test_text_from_a_stranger_is_shown_as_text(tmp_path, prices):
    overrides = TINY | {"name": "<b>x"}
    with pytest.raises(search.UserError):  # a name cannot hold markup
        search.run_study("smoke.yaml", prices=prices, overrides=overrides, output=tmp_path, in_process=True)
    place = tmp_path / "<b>x"
    study = search.run_study("smoke.yaml", prices=prices, overrides=TINY, output=place, in_process=True, quiet=True)
    assert "<b>x" not in study._repr_html_()


def test_the_process_is_as_before_after_a_study(tmp_path, prices):
    before = state()
    search.run_study("smoke.yaml", prices=prices, overrides=TINY, output=tmp_path, in_process=True, quiet=True)
    assert state() == before


def test_changes_within_the_block_are_undone(monkeypatch):
    monkeypatch.setenv("REMOVED", "1")
    before = state()
    with preserve_process_state():
        os.environ["ADDED"] = "1"
        del os.environ["REMOVED"]
        signal.signal(signal.SIGTERM, lambda *_: None)
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        torch.set_num_threads(2)
    assert state() == before


def test_a_study_runs_in_a_thread(tmp_path, prices):
    found = []

    def run():
        try:
            found.append(
                search.run_study("smoke.yaml", prices=prices, overrides=TINY, output=tmp_path, in_process=True)
            )
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert isinstance(found[0], search.Study), found[0]
    assert found[0].state == "done"


def test_a_second_interrupt_does_not_end_the_caller():
    stop = Stop(None, lambda: None, embedded=True)
    with stop.handle_signals():
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.signalled
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupted_study_raises_and_its_trials_are_saved(tmp_path, prices, monkeypatch):
    from search.study.trial_recorder import TrialRecorder

    end = TrialRecorder.end

    def interrupt(self, *arguments):
        end(self, *arguments)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(TrialRecorder, "end", interrupt)
    with pytest.raises(KeyboardInterrupt):
        search.run_study("smoke.yaml", prices=prices, overrides=SMALL, output=tmp_path, in_process=True, quiet=True)
    study = search.open_study(tmp_path / "smoke")
    assert study.state == "interrupted"
    assert len(study.leaderboard(baselines=False)) == 1


def test_a_short_series_is_fitted(tmp_path):
    prices = stockrnn.load_prices("nasdaq").iloc[-700:]
    overrides = {"search.num_samples": 1, "search.finalists": 0, "scheduler.max_epochs": 1, "scheduler.grace_period": 1}
    options = {"overrides": overrides, "output": tmp_path, "in_process": True, "quiet": True}
    with pytest.raises(search.UserError, match="add fit=True, which does the same as overrides="):
        search.run_study("smoke.yaml", prices=prices, **options)
    assert search.run_study("smoke.yaml", prices=prices, fit=True, **options).state == "done"


WRONG = [
    ({"space": "nowhere.yaml"}, "nowhere.yaml: no such file"),
    ({"overrides": {"space.hidden_sise": 4}}, "did you mean hidden_size?"),
    ({"overrides": {"seed": object()}}, "overrides seed: "),
    ({"overrides": {"data.source": "sp500"}}, "overrides data.source: conflicts with prices"),
    ({"overrides": {"data.start": "2030-01-01"}}, "data.start: 2030-01-01: DataFrame has no sessions in this period"),
    ({"prices": [1, 2]}, "DataFrame: is a list; "),
    ({"prices": Path("own.csv")}, "own.csv: is a path; prices are a DataFrame; write stockrnn.load_prices('own.csv')"),
    ({"overrides": {"hidden_size": 8}}, 'hidden_size is a parameter; write overrides={"space.hidden_size": ...}'),
    ({"prices": pd.DataFrame({"Date": ["2024-01-02"], "Open": [1.0]})}, "DataFrame: Close: missing"),
    ({"workers": 0}, "workers=0: "),
    ({"address": "auto"}, "in_process=True: conflicts with address"),
    ({"time_budget": "1h"}, "time_budget='1h': "),
]


@pytest.mark.parametrize(("given", "text"), WRONG, ids=[text for _, text in WRONG])
def test_a_mistake_is_an_exception_with_one_line(given, text, tmp_path, prices):
    options = {"space": "smoke.yaml", "prices": prices, "output": tmp_path, "in_process": True, "quiet": True} | given
    with pytest.raises(search.UserError, match=r"^[^\n]*$") as raised:
        search.run_study(options.pop("space"), **options)
    assert text in str(raised.value)
    assert not any(tmp_path.iterdir())


def test_a_folder_without_study_and_a_rank_without_finalist(study, tmp_path, prices):
    for call, text in (
        (lambda: search.open_study(tmp_path), "is no study"),
        (lambda: study.forecaster(rank=3), "rank=3: is not a rank of"),
        (lambda: study.forecaster(version=2), "version=2: is not a version of rank 1"),
        (lambda: study.predictions("training"), "splits are validation and test"),
        (lambda: study.forecaster().predict(prices.iloc[:2]), "2 sessions are too few"),
        (lambda: study.forecaster().predict(prices, sessions=0), "sessions=0: "),
    ):
        with pytest.raises(search.UserError) as raised:
            call()
        assert text in str(raised.value)


def test_prices_load_as_a_frame(tmp_path):
    frame = stockrnn.load_prices("nasdaq", start="2018-01-01", end="2018-01-31")
    assert isinstance(frame.index, pd.DatetimeIndex)
    assert [*frame.columns] == ["Open", "High", "Low", "Close", "Volume"]
    assert (str(frame.index[0].date()), len(frame)) == ("2018-01-02", 21)
    path = tmp_path / "own.csv"
    frame.to_csv(path)
    assert stockrnn.load_prices(path).equals(frame)
    for given, text in (({"source": "nowhere.csv"}, "no such file"), ({"start": "soon"}, "load_prices: start: ")):
        with pytest.raises(stockrnn.UserError, match=text):
            stockrnn.load_prices(**given)
