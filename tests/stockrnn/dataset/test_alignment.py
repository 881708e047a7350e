"""Test the alignment of other series: hand-written dates, future closes, files, and a local Yahoo server."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stockrnn.dataset.alignment import align, prepare
from stockrnn.dataset.config import DataConfig, WindowConfig
from stockrnn.dataset.windows import Windows
from stockrnn.evaluation.walk_forward import Fold
from stockrnn.prices.cleaning import clean
from stockrnn.prices.loading import Access, load
from stockrnn.prices.series import PriceError, Prices

pytestmark = pytest.mark.slow


def series(days, source="seoul", closes=None):
    """Return a series of these dates; the default closes are 1, 2, 3, ..."""
    close = np.arange(1.0, len(days) + 1) if closes is None else np.array(closes, dtype=float)
    return Prices(
        source=source,
        dates=np.array(days, dtype="datetime64[D]"),
        columns=("open", "high", "low", "close"),
        values=np.column_stack([close] * 4),
        lines=np.arange(2, len(days) + 2),
    )


def weekdays(first, count):
    return np.busday_offset(first, np.arange(count), roll="forward")


# Which close is known at each session


# Seoul is closed on the Wednesday, New York on the Thursday; the second Monday follows a weekend.
SEOUL = ["2024-05-13", "2024-05-14", "2024-05-16", "2024-05-17", "2024-05-20", "2024-05-21"]
NEW_YORK = {
    "2024-05-10": 5.0, "2024-05-13": 6.0, "2024-05-14": 7.0, "2024-05-15": 8.0, "2024-05-17": 9.0, "2024-05-20": 10.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("lag", "known"),
    [
        (1, [5, 6, 8, 8, 9, 10]),  # Friday's close on Monday; none of the same date
        (0, [6, 7, 8, 9, 10, 10]),  # the same date's, where there is one
        (3, [5, 5, 6, 7, 9, 9]),
    ],
)
def test_the_last_close_of_an_earlier_date_is_known(lag, known):
    new_york = series([*NEW_YORK], "new york", [*NEW_YORK.values()])
    seoul = series(SEOUL)
    aligned = align(seoul, [("^GSPC", new_york, lag)])
    assert aligned.columns == ("open", "high", "low", "close", "^GSPC")
    assert aligned.column("^GSPC").tolist() == known
    assert np.array_equal(aligned.values[:, :4], seoul.values)
    assert aligned.dates.astype(str).tolist() == SEOUL
    assert aligned.lines.tolist() == seoul.lines.tolist()
    assert aligned.findings == ()


def plain(sessions, dates, closes, lag):
    """Find the last close at least `lag` days before each session, by a loop."""
    found = []
    for day in sessions:
        known = [close for when, close in zip(dates, closes, strict=True) if when <= day - lag]
        found.append(known[-1] if known else None)
    return found


DAYS = st.lists(st.integers(0, 60), min_size=1, max_size=25, unique=True).map(sorted)


@settings(deadline=None, database=None, max_examples=200)
@given(DAYS, DAYS, st.integers(0, 10))
def test_the_alignment_of_any_two_calendars_equals_a_slow_loop(sessions, dates, lag):
    closes = np.arange(100.0, 100 + len(dates))
    expected = plain(sessions, dates, closes, lag)
    target, other = (series(np.datetime64("2024-01-01") + np.array(days)) for days in (sessions, dates))
    other = replace(other, values=np.column_stack([closes] * 4))
    if expected[-1] is None:
        with pytest.raises(PriceError, match="too late for the last session"):
            align(target, [("other", other, lag)])
        return
    aligned = align(target, [("other", other, lag)])
    assert aligned.column("other").tolist() == [close for close in expected if close is not None]
    assert len(aligned) == len(sessions) - expected.count(None)


@pytest.mark.parametrize("lag", [0, 1, 2])
def test_closes_that_are_not_known_yet_have_no_effect(synthetic, lag):
    target, other = synthetic(60), replace(synthetic(80, seed=3), source="other")
    aligned = align(target, [("other", other, lag)])
    for at, day in enumerate(aligned.dates):
        unknown = other.dates > day - np.timedelta64(lag, "D")
        poison = replace(other, values=np.where(unknown[:, None], 1e6 + at, other.values))
        dirty = align(target, [("other", poison, lag)])
        assert np.array_equal(dirty.values[: at + 1], aligned.values[: at + 1])
        # Control: the known close has an effect.
        known = replace(other, values=np.where(unknown[:, None], other.values, other.values * 2))
        assert align(target, [("other", known, lag)]).column("other")[at] == 2 * aligned.column("other")[at]


def test_a_window_sees_the_changes_between_the_sessions(synthetic):
    target, other = synthetic(40), synthetic(40, seed=3)
    holidays = np.isin(np.arange(40), [9, 10, 20])
    aligned = align(target, [("other", other.rows(~holidays), 1)])
    config = WindowConfig(features="log_return", others=("other",), sequence_length=3)
    windows = Windows(aligned, [Fold(train=range(30), validation=range(30, 35))], config, 1, dtype=torch.float64)
    assert windows.train_origins(0) == range(3, 29)  # the first session has no change
    origins = torch.arange(3, 39)[None]
    inputs = windows.inputs(torch.tensor([0]), origins[:, :-1])[0].numpy()
    assert inputs.shape == (35, 3, 2)
    closes = aligned.column("other")
    for row, origin in zip(inputs, range(3, 38), strict=True):
        expected = [100 * np.log(closes[day] / closes[day - 1]) for day in range(origin - 2, origin + 1)]
        np.testing.assert_allclose(row[:, 1], expected, rtol=1e-9, atol=1e-12)
    assert (np.diff(closes)[[9, 10]] == 0).any()  # on the other's holidays nothing new is known


# Findings and errors


def findings(prices):
    return [(found.check, found.severity, found.rows) for found in prices.findings]


def test_sessions_before_the_first_known_close_are_dropped():
    target = series(weekdays("2024-01-01", 20))
    early, late = series(weekdays("2023-12-01", 60)), series(weekdays("2024-01-10", 30))
    aligned = align(target, [("early", early, 1), ("late", late, 1)])
    assert str(aligned.dates[0]) == "2024-01-11"
    assert len(aligned) == 12
    assert aligned.column("close")[0] == 9
    (found,) = aligned.findings
    assert (found.check, found.severity, found.rows) == ("first known close", "repair", 8)
    assert found.text == "8 sessions before 2024-01-11 dropped: late has no known close for them"
    assert found.dates == ("2024-01-01", "2024-01-02", "2024-01-03")


def test_a_series_that_begins_too_late_is_one_line():
    target, late = series(weekdays("2024-01-01", 5)), series(weekdays("2024-01-05", 5), "tokyo.csv")
    with pytest.raises(PriceError) as caught:
        align(target, [("tokyo", late, 1)])
    assert str(caught.value).startswith("tokyo.csv: Date: begins on 2024-01-05, too late for ")
    assert str(caught.value).count("; ") == 2
    assert "\n" not in str(caught.value)
    assert align(target, [("tokyo", late, 0)]).column("tokyo").tolist() == [1]


def test_a_gap_in_another_series_is_reported():
    days = weekdays("2024-01-01", 60)
    holed = series(np.delete(days, np.arange(20, 35)))
    aligned = align(series(days[5:]), [("other", holed, 1)])
    (found,) = aligned.findings
    # The last close before the hole is of 2024-01-26; from 2024-02-08 on it is more than 12 days old.
    assert (found.check, found.severity, found.rows, found.dates[0]) == ("old closes", "warning", 8, "2024-02-08")
    assert found.text == "other: its last known close is more than 12 days old on 8 sessions, first on 2024-02-08"


def test_a_series_that_ends_early_is_reported():
    target = series(weekdays("2024-01-02", 40))
    ended = series(weekdays("2024-01-01", 31))  # until 2024-02-12
    aligned = align(target, [("other", ended, 1)])
    (found,) = aligned.findings
    assert (found.check, found.rows, found.dates[0]) == ("early end", 9, "2024-02-14")
    assert found.text == "other: ends on 2024-02-12; 9 sessions after that use this last close"


@pytest.mark.parametrize("days", [0, 1, 2, 3])
def test_a_weekend_is_not_an_early_end(days):
    target = series(weekdays("2024-01-02", 10 + days))
    aligned = align(target, [("other", series(weekdays("2024-01-01", 10)), 1)])
    assert aligned.findings == ()


def test_another_series_changes_the_hash(synthetic):
    target, other = synthetic(40), synthetic(40, seed=3)
    hashes = {
        align(target, others).rows(np.arange(-30, 0)).sha256
        for others in ([], [("a", other, 1)], [("b", other, 1)], [("a", other, 2)], [("a", target, 1)])
    }
    assert len(hashes) == 5
    assert align(target, []) is target


def test_column_names_must_be_unique(synthetic):
    target = synthetic(10)
    for name in ("close", "other"):
        with pytest.raises(ValueError, match="a name is used twice"):
            align(target, [("other", target, 0), (name, target, 0)])


# Loaded and aligned


def write(prices, path, volume=None):
    lines = ["Date,Open,High,Low,Close" + (",Volume" if volume is not None else "")]
    for day, row in zip(prices.dates, prices.values[:, :4].tolist(), strict=True):
        lines.append(",".join([str(day), *map(repr, row), *([] if volume is None else [str(volume)])]))
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_shipped_series_and_files(synthetic, tmp_path):
    nasdaq = clean(load("nasdaq"))
    file = write(clean(load("sp500")), tmp_path / "world.csv")
    data = DataConfig(source="nasdaq", also=["sp500", {"source": file, "lag": 0}])
    prices = prepare(data)
    assert prices.columns == ("open", "high", "low", "close", "volume", "sp500", "world")
    assert len(prices) == len(nasdaq) - 1  # the S&P 500 has no known close on the first day
    assert np.array_equal(prices.column("sp500")[1:], prices.column("world")[:-1])
    assert prices.source == "nasdaq"
    assert not [found for found in prices.findings if found.severity == "warning" and found.check != "volume"]


def test_only_the_closes_of_another_series_are_checked(synthetic, tmp_path):
    other = synthetic(60)
    other.values[:, 1] = other.values[:, 2] / 2  # every high lies below its low
    file = write(other, tmp_path / "other.csv", volume=0)
    target = write(synthetic(60), tmp_path / "target.csv", volume=100)
    with pytest.raises(PriceError, match="High: contradicts"):
        clean(load(file))
    prices = prepare(DataConfig(source=target, also=[file]))
    assert np.array_equal(prices.column("other"), other.column("close")[:-1])
    assert [found.text for found in prices.findings if "other" in found.text] == [
        "1 session before 2001-01-02 dropped: other has no known close for them"
    ]


def test_findings_of_another_series_begin_with_its_name(synthetic, tmp_path):
    file = write(synthetic(60).rows(np.arange(60)[::-1]), tmp_path / "other.csv")
    target = write(synthetic(60), tmp_path / "target.csv")
    prices = prepare(DataConfig(source=target, also=[file]))
    assert "other: sorted the rows by date" in [found.text for found in prices.findings]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"other\.csv: no such file"),
        ("Date,Open,High,Low,Close\n2001-01-01,1,1,1,x\n", r"other\.csv:2: Close: "),
        (
            "Date,Open,High,Low,Close\n2001-01-01,1,1,1,-1\n2001-01-02,1,1,1,2\n",
            r"other\.csv:2: Close: -1 on 2001-01-01",
        ),
    ],
)
def test_another_series_that_cannot_be_used_is_one_line(synthetic, tmp_path, content, words):
    if content:
        (tmp_path / "other.csv").write_text(content)
    target = write(synthetic(60), tmp_path / "target.csv")
    with pytest.raises(PriceError, match=words) as caught:
        prepare(DataConfig(source=target, also=[str(tmp_path / "other.csv")]))
    assert "\n" not in str(caught.value)


def test_tickers_beside_a_ticker(yahoo, tmp_path):
    for seed, (ticker, last) in enumerate([("^KS11", "2024-05-31"), ("^GSPC", "2024-05-30"), ("KRW=X", "2024-05-31")]):
        yahoo.list(ticker, 100, last, seed=seed)
    access = Access(cache=tmp_path / "cache")
    data = DataConfig(source="yahoo", ticker="^KS11", also=["^GSPC", "KRW=X"])
    prices = prepare(data, access)
    assert prices.columns[-2:] == ("^GSPC", "KRW=X")
    closes = {ticker: dict((row[0], row[4]) for row in rows) for ticker, rows in yahoo.charts.items()}
    for day, known, rate in zip(prices.dates, prices.column("^GSPC"), prices.column("KRW=X"), strict=True):
        for ticker, found in (("^GSPC", known), ("KRW=X", rate)):
            before = max(when for when in closes[ticker] if when < str(day))
            assert found == pytest.approx(closes[ticker][before], rel=1e-6)
    requests = len(yahoo.chart_requests)
    assert prepare(data, replace(access, offline=True)).sha256 == prices.sha256
    assert len(yahoo.chart_requests) == requests
