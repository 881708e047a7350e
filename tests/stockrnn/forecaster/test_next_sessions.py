"""The dates after a series follow its own rhythm, or an exchange's calendar."""

import numpy as np
import pandas as pd
import pytest

from stockrnn.dataset.config import DataConfig
from stockrnn.forecaster.next_sessions import find_exchange, next_sessions, sessions_a_year
from stockrnn.prices.series import PriceError


def after(days, count=1, exchange=None):
    dates, basis = next_sessions(np.array(list(days), dtype="datetime64[D]"), count, exchange)
    assert dates.dtype == np.dtype("datetime64[D]")
    assert dates.shape == (count,)
    return [str(day) for day in dates], basis


def ranged(start, periods, freq):
    return pd.date_range(start, periods=periods, freq=freq).values.astype("datetime64[D]")


@pytest.mark.parametrize(
    ("days", "following", "basis"),
    [
        (ranged("2023-10-02", 70, "B"), ["2024-01-08", "2024-01-09"], "weekdays; holidays are ignored"),  # to Friday
        (ranged("2024-01-01", 5, "B"), ["2024-01-08", "2024-01-09"], "weekdays; holidays are ignored"),
        (ranged("2023-10-29", 69, "D"), ["2024-01-06", "2024-01-07"], "every day"),  # crypto, on a Friday
        (ranged("2024-01-02", 4, "D"), ["2024-01-08", "2024-01-09"], "weekdays; holidays are ignored"),  # too few
        (ranged("2024-01-03", 5, "D"), ["2024-01-08", "2024-01-09"], "every day"),
        (["2024-01-05"], ["2024-01-08", "2024-01-09"], "weekdays; holidays are ignored"),
        (
            [day for day in ranged("2023-10-01", 100, "D") if pd.Timestamp(day).weekday() in (6, 0, 1, 2, 3)],
            ["2024-01-09", "2024-01-10"], "the weekdays of this series; holidays are ignored",
        ),  # Sunday to Thursday
        (ranged("2023-01-06", 53, "W-FRI"), ["2024-01-12", "2024-01-19"], "weekly bars"),
        ([*ranged("2023-01-06", 52, "W-FRI"), "2024-01-04"], ["2024-01-12", "2024-01-19"], "weekly bars"),
        (ranged("2020-01-01", 49, "MS"), ["2024-02-01", "2024-03-01"], "monthly bars"),
        (ranged("2020-01-31", 49, "ME"), ["2024-02-29", "2024-03-31"], "monthly bars"),
        (ranged("2020-01-31", 49, "BME"), ["2024-02-29", "2024-03-29"], "monthly bars"),
        (ranged("2020-01-01", 53, "BMS"), ["2024-06-03", "2024-07-01"], "monthly bars"),
        ([f"{year}-{month:02}-15" for year in (2022, 2023) for month in range(1, 13)], ["2024-01-15", "2024-02-15"],
         "monthly bars"),
        (ranged("2015-03-31", 36, "QE"), ["2024-03-31", "2024-06-30"], "bars of 3 months"),
        (ranged("2000-12-31", 24, "YE"), ["2024-12-31", "2025-12-31"], "bars of 12 months"),
        (ranged("2023-01-06", 27, "14D"), ["2024-01-19", "2024-02-02"], "bars of 14 days"),
    ],
)  # fmt: skip
def test_the_next_sessions_follow_the_rhythm_of_the_series(days, following, basis):
    assert after(days, 2) == (following, basis)


def test_missing_days_and_a_rare_saturday_change_nothing():
    days = ranged("2023-10-02", 70, "B")
    gappy = np.delete(days, [3, 4, 20, 40, 41, 42])
    assert after(gappy)[0] == ["2024-01-08"]
    assert after(np.sort(np.append(gappy, np.datetime64("2023-12-30"))))[0] == ["2024-01-08"]
    assert after(np.append(gappy, np.datetime64("2024-01-06")))[0] == ["2024-01-08"]


def test_an_exchange_has_holidays_and_crypto_has_none():
    pytest.importorskip("exchange_calendars")
    days = ranged("2018-09-03", 86, "B")
    assert str(days[-1]) == "2018-12-31"
    assert after(days, 2, "XNYS") == (["2019-01-02", "2019-01-03"], "sessions of XNYS")
    assert after(days, 2) == (["2019-01-01", "2019-01-02"], "weekdays; holidays are ignored")
    assert after(days, 250, "XKRX")[0][-1] > "2020-01-01"
    assert after(ranged("2018-10-01", 92, "D"), 1, "XNYS") == (["2019-01-01"], "every day")
    with pytest.raises(PriceError, match=r"--calendar XNYX: unknown exchange; .*; did you mean XNYS\?"):
        after(days, 1, "XNYX")


def test_days_that_no_calendar_reaches_follow_the_rhythm():
    pytest.importorskip("exchange_calendars")
    assert after(ranged("2190-01-04", 5, "B"), 1, "XKRX")[1] == "weekdays; holidays are ignored"


@pytest.mark.parametrize(
    ("source", "exchange"),
    [
        ({"source": "nasdaq"}, "XNYS"), ({"source": "prices.csv"}, None),
        ({"source": "yahoo", "ticker": "^KS11"}, "XKRX"), ({"source": "yahoo", "ticker": "BTC-USD"}, None),
    ],
)  # fmt: skip
def test_the_exchange_of_a_source(source, exchange):
    assert find_exchange(DataConfig(**source)) == exchange


@pytest.mark.parametrize(
    ("days", "count"),
    [
        (ranged("2023-10-02", 70, "B"), 252),
        ([day for day in ranged("2023-10-01", 100, "D") if pd.Timestamp(day).weekday() in (6, 0, 1, 2, 3)], 252),
        ([day for day in ranged("2023-10-01", 100, "D") if pd.Timestamp(day).weekday() != 6], 312),
        (ranged("2023-10-29", 69, "D"), 365),
        (["2024-01-05"], 252),
        (ranged("2023-01-06", 53, "W-FRI"), 52),
        (ranged("2023-01-06", 27, "14D"), 26),
        (ranged("2020-01-01", 49, "MS"), 12),
        (ranged("2015-03-31", 36, "QE"), 4),
        (ranged("2000-12-31", 24, "YE"), 1),
    ],
)
def test_sessions_in_a_year(days, count):
    assert sessions_a_year(np.array(days, dtype="datetime64[D]")) == count
