"""Write and read `predictions.parquet`: parts, unfinished parts, lost and damaged forecasts."""

import numpy as np
import pandas as pd
import pytest

import search.results.predictions
from search.common.errors import DamagedError
from search.results.predictions import Predictions, read_predictions, read_validation_forecasts
from stockrnn.evaluation.walk_forward import walk_forward
from stockrnn.prices.cleaning import clean
from stockrnn.prices.loading import load
from stockrnn.tasks.price import PRICE
from stockrnn.tasks.task import Series


@pytest.fixture(scope="module")
def prices():
    return clean(load("nasdaq"))


@pytest.fixture(scope="module")
def splits(prices):
    return walk_forward(len(prices), folds=2, fold_size=30, test_size=20)


def forecast(seed, days=60):
    return (5000 + np.random.default_rng(seed).normal(size=days)).astype(np.float32)


def test_every_day_stands_with_its_date_and_the_two_closes_it_is_judged_by(prices, splits, tmp_path):
    horizon = 2
    predictions = Predictions(tmp_path / "predictions.parquet", PRICE, Series(prices=prices, horizon=horizon))
    predictions.validation("00000", splits.folds, forecast(0))
    predictions.test("persistence", splits.final, forecast(1, 20))
    predictions.flush()
    table = pd.read_parquet(tmp_path / "predictions.parquet")
    assert list(table.columns) == ["trial_id", "split", "fold", "date", "forecast", "actual", "rival"]
    assert table.groupby(["trial_id", "split", "fold"]).size().to_dict() == {
        ("00000", "validation", 1): 30, ("00000", "validation", 2): 30, ("persistence", "test", 0): 20,
    }  # fmt: skip
    assert {str(kind) for kind in table[["forecast", "actual", "rival"]].dtypes} == {"float32"}
    closes = dict(zip(prices.dates.astype("datetime64[D]").tolist(), prices.column("close"), strict=True))
    days = prices.dates.astype("datetime64[D]").tolist()
    for row in table.sample(20, random_state=0).itertuples():
        assert row.actual == pytest.approx(closes[row.date], rel=1e-6)
        assert row.rival == pytest.approx(closes[days[days.index(row.date) - horizon]], rel=1e-6)
    assert table["forecast"].to_numpy()[:60].tolist() == forecast(0).tolist()


def test_a_part_is_written_when_there_is_enough_and_half_a_part_is_never_read(prices, splits, tmp_path, monkeypatch):
    monkeypatch.setattr(search.results.predictions, "PART_ROWS", 120)
    folder = tmp_path / "predictions.parquet"
    predictions = Predictions(folder, PRICE, Series(prices=prices))
    for number in range(5):
        predictions.validation(f"{number:05d}", splits.folds, forecast(number))
    assert sorted(path.name for path in folder.iterdir()) == [
        ".stream.arrows", "part-00000.parquet", "part-00001.parquet"
    ]  # fmt: skip
    assert read_validation_forecasts(folder)[0] == ["00000", "00001", "00002", "00003"]  # the last waits in the stream
    (folder / f".{7:032x}.part").write_bytes(b"PAR1 torn")  # what a crash in the middle of a part leaves
    predictions.flush()
    names, forecasts = read_validation_forecasts(folder)
    assert names == [f"{number:05d}" for number in range(5)]
    assert forecasts.shape == (5, 60)
    np.testing.assert_array_equal(forecasts[3], forecast(3))


def test_a_study_without_predictions_has_an_empty_table(tmp_path):
    assert read_predictions(tmp_path / "predictions.parquet").num_rows == 0
    names, forecasts = read_validation_forecasts(tmp_path / "predictions.parquet")
    assert names == []
    assert forecasts.size == 0


def written(tmp_path, prices, splits, *names):
    """A study that was killed: these trials' forecasts stand in the stream."""
    predictions = Predictions(tmp_path / "predictions.parquet", PRICE, Series(prices=prices))
    for number, name in enumerate(names):
        predictions.validation(name, splits.folds, forecast(number))
    return predictions


def test_what_had_ended_is_kept_once_and_what_had_not_is_dropped(prices, splits, tmp_path):
    folder = tmp_path / "predictions.parquet"
    first = written(tmp_path, prices, splits, "00000", "00001")
    first.flush()
    first.validation("00002", splits.folds, forecast(2))
    first.validation("00001", splits.folds, forecast(1))  # as if it had been killed between part and stream
    first.test("persistence", splits.final, forecast(9, 20))
    (folder / f".{7:032x}.part").write_bytes(b"PAR1 torn")
    Predictions(folder, PRICE, Series(prices=prices)).keep({"00001", "00002"}, folds=2, test=False)
    names, forecasts = read_validation_forecasts(folder)
    assert names == ["00001", "00002"]
    np.testing.assert_array_equal(forecasts, [forecast(1), forecast(2)])
    assert read_predictions(folder, "test").num_rows == 0
    assert sorted(path.name for path in folder.iterdir()) == ["part-00000.parquet", "part-00001.parquet"]
    first._file.close()


def test_a_forecast_that_is_lost_is_named(prices, splits, tmp_path):
    predictions = written(tmp_path, prices, splits, "00000")
    with pytest.raises(
        DamagedError, match=r"forecasts of 1 ended trials are missing \(00004\); the tests for luck need"
    ):
        Predictions(tmp_path / "predictions.parquet", PRICE, Series(prices=prices)).keep(
            {"00000", "00004"}, folds=2, test=False
        )
    predictions._file.close()


def test_a_damaged_part_is_named(prices, splits, tmp_path):
    written(tmp_path, prices, splits, "00000").flush()
    part = tmp_path / "predictions.parquet" / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(DamagedError, match=r"part-00000.parquet: is damaged \("):
        Predictions(tmp_path / "predictions.parquet", PRICE, Series(prices=prices)).keep({"00000"}, folds=2, test=False)


def test_the_test_block_has_the_forecasts_of_its_last_opening_alone(prices, splits, tmp_path):
    predictions = written(tmp_path, prices, splits, "00000")
    predictions.test("persistence", splits.final, forecast(1, 20))
    predictions.remove_test()
    predictions.test("persistence", splits.final, forecast(2, 20))
    predictions.flush()
    table = read_predictions(tmp_path / "predictions.parquet", "test")
    assert table["forecast"].to_pylist() == forecast(2, 20).tolist()
    assert read_validation_forecasts(tmp_path / "predictions.parquet")[0] == ["00000"]


def test_a_part_without_rows_is_read(prices, splits, tmp_path):
    predictions = Predictions(tmp_path / "predictions.parquet", PRICE, Series(prices=prices))
    predictions.test("persistence", splits.final, forecast(1, 20))
    predictions.remove_test()  # leaves a part of its own, now empty
    assert len(list((tmp_path / "predictions.parquet").iterdir())) == 1
    assert read_predictions(tmp_path / "predictions.parquet").num_rows == 0
    Predictions(tmp_path / "predictions.parquet", PRICE, Series(prices=prices)).keep([], folds=2, test=False)
