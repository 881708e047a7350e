"""Check a series: repairs, warnings, and errors with their line numbers."""

import re
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from stockrnn.prices.cleaning import clean, missing_column_reason, unusable_volume_reason
from stockrnn.prices.loading import load
from stockrnn.prices.series import Finding, PriceError
from stockrnn.prices.sources import SHIPPED

HEADER = "Date,Open,High,Low,Close,Volume"
ROWS = (
    "2019-01-02,10,12,9,11,1000",
    "2019-01-03,11,13,10,12.5,1100",
    "2019-01-04,12.75,14,12,13.25,1050",
    "2019-01-07,13,15,12,14,900",
)
DATES = ["2019-01-02", "2019-01-03", "2019-01-04", "2019-01-07"]


@pytest.fixture
def loaded(tmp_path):
    """Write lines to a CSV and read them back, unchecked."""

    def load_lines(*lines):
        path = tmp_path / "prices.csv"
        path.write_text("\n".join(lines) + "\n")
        return load(str(path))

    return load_lines


def error_of(prices):
    with pytest.raises(PriceError) as caught:
        clean(prices)
    text = str(caught.value)
    assert "\n" not in text
    assert text.count("; ") >= 2, "must state the problem, the rule and the fix"
    return text


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_series_have_no_repairs_and_few_warnings(name):
    raw = load(name)
    prices = clean(raw)
    expected = {
        "nasdaq": ["Volume is 0 on 2 sessions: 2015-05-12, 2018-01-09"],
        "sp500": [],  # its opens equal the previous close on 40 % of days, below the limit
    }
    assert [found.text for found in prices.findings] == expected[name]
    assert prices.sha256 == raw.sha256


def test_a_clean_series_is_not_changed(loaded):
    prices = clean(loaded(HEADER, *ROWS))
    assert prices.dates.astype(str).tolist() == DATES
    assert prices.lines.tolist() == [2, 3, 4, 5]
    assert prices.findings == ()


@pytest.mark.parametrize(
    ("lines", "repairs"),
    [
        (ROWS[::-1], ("sorted the rows by date",)),
        ((ROWS[2], ROWS[0], ROWS[3], ROWS[1]), ("sorted the rows by date",)),
        ((*ROWS, ROWS[3]), ("dropped 1 repeated row",)),
        ((ROWS[0], *ROWS, ROWS[0]), ("sorted the rows by date", "dropped 2 repeated rows")),
        (
            (ROWS[0], "2019-01-03,null,null,null,null,null", *ROWS[1:]),
            ("dropped 1 row without prices",),
        ),
        (
            (*ROWS, "2019-01-08,null,null,null,null,0"),
            ("dropped 1 row without prices, among them the newest (2019-01-08)",),
        ),
        (
            (*ROWS, "2019-01-08,null,null,null,14,null"),
            ("dropped the newest bar, 2019-01-08: it has no Open, High, Low, Volume",),
        ),
        (
            ("2019-01-08,13,14,12,null,0", *ROWS[::-1]),
            ("sorted the rows by date", "dropped the newest bar, 2019-01-08: it has no Close"),
        ),
    ],
)
def test_repairs_that_need_no_guess_are_made_and_reported(lines, repairs, loaded):
    prices = clean(loaded(HEADER, *lines))
    assert tuple(found.text for found in prices.findings if found.severity == "repair") == repairs
    assert prices.sha256 == clean(loaded(HEADER, *ROWS)).sha256


def test_findings_of_reading_are_preserved(loaded):
    raw = loaded(HEADER, *ROWS[::-1]).with_findings(Finding(check="before", severity="repair", text="something before"))
    assert [found.text for found in clean(raw).findings] == ["something before", "sorted the rows by date"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("2019-01-04,12.5,14,12,-Infinity,0", "Close: -inf on 2019-01-04; a price is a finite number above 0; "),
        ("2019-01-04,12.5,14,12,1e999,0", "Close: inf on 2019-01-04; "),
        ("2019-01-04,12.5,14,12,0,0", "Close: 0 on 2019-01-04; "),
        ("2019-01-04,12.5,14,12,,0", "Close: missing on 2019-01-04; "),
    ],
)
@pytest.mark.parametrize("descending", [False, True], ids=["ascending", "descending"])
def test_a_wrong_close_is_an_error_with_its_line(wrong, message, descending, loaded):
    rows = [*ROWS[:2], wrong, ROWS[3]]
    prices = loaded(HEADER, *(rows[::-1] if descending else rows))
    line = 3 if descending else 4
    assert error_of(prices).startswith(f"{prices.source}:{line}: {message}")
    assert error_of(prices).endswith("(1 such row)")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("2019-01-04,0,14,12,13.25,0", "Open: 0 on 2019-01-04; a price is a finite number above 0; "),
        ("2019-01-04,12.5,14,-12,13.25,0", "Low: -12 on 2019-01-04; "),
        ("2019-01-04,12.5,inf,12,13.25,0", "High: inf on 2019-01-04; "),
        ("2019-01-04,null,14,12,13.25,0", "Open: missing on 2019-01-04; "),
        (
            "2019-01-04,12.5,14,12,13.25,-1",
            "Volume: -1 on 2019-01-04; a volume is a finite number, 0 or more; ",
        ),
        ("2019-01-04,12.5,14,12,13.25,null", "Volume: missing on 2019-01-04; "),
        ("2019-01-04,12.5,14,12,13.25,inf", "Volume: inf on 2019-01-04; "),
    ],
)
@pytest.mark.parametrize("descending", [False, True], ids=["ascending", "descending"])
def test_another_column_with_a_wrong_value_is_dropped_with_its_line(wrong, message, descending, loaded):
    rows = [*ROWS[:2], wrong, ROWS[3]]
    raw = loaded(HEADER, *(rows[::-1] if descending else rows))
    prices, name = clean(raw), message.partition(":")[0].lower()
    assert prices.columns == tuple(column for column in raw.columns if column != name)
    assert prices.dates.astype(str).tolist() == DATES
    reason = missing_column_reason(prices, name)
    assert reason.startswith(f"{prices.source}:{3 if descending else 4}: {message}")
    assert reason.endswith("(1 such row)")
    found = [finding for finding in prices.findings if finding.check == "unusable column"]
    assert [(each.severity, each.rows, each.dates) for each in found] == [("repair", 1, ("2019-01-04",))]
    assert found[0].text == f"dropped the column {name.capitalize()}, which no network can use: {reason}"
    assert missing_column_reason(prices, "close") == "there is no Close column"


@pytest.mark.parametrize("halt", ["0,0,0,13,0", ",,,13,0", "0,0,0,13,", "-,-,-,13,-"])
def test_a_session_without_a_trade_is_dropped_and_counted(halt, loaded):
    days = ["2019-01-08", "2019-01-09", "2019-01-10", "2019-01-11", "2019-01-14", "2019-01-15"]
    more = [f"{day},13,15,12,{14 - at / 4},900" for at, day in enumerate(days)]
    prices = clean(loaded(HEADER, *ROWS, f"2019-01-16,{halt}", f"2019-01-17,{halt}", *more, "2019-01-18,9,9,9,9,1"))
    found = [finding for finding in prices.findings if finding.severity == "repair" and finding.check != "order"]
    assert [(each.check, each.rows, each.dates) for each in found] == [("halts", 2, ("2019-01-16", "2019-01-17"))]
    assert "dropped 2 sessions without a trade (a halt or holiday: " in found[0].text
    assert prices.dates.astype(str).tolist() == [*DATES, *days, "2019-01-18"]


def test_many_sessions_without_open_high_and_low_lose_the_columns_and_not_the_sessions(loaded):
    prices = clean(loaded(HEADER, *(f"2019-01-{day:02},0,0,0,{day},0" for day in (2, 3)), *ROWS[2:]))
    assert prices.columns == ("close", "volume")
    assert prices.column("close").tolist() == [2, 3, 13.25, 14]


def test_rows_of_zeros_are_dropped_as_holidays(loaded):
    prices = clean(loaded(HEADER, *ROWS[:2], "2019-01-01,0,0,0,0,0", *ROWS[2:]))
    assert prices.dates.astype(str).tolist() == DATES
    assert [found.text for found in prices.findings] == [
        "dropped 1 row without prices (1 with zeros, as on holidays)",
    ]


def test_a_series_of_closes_alone_is_clean(loaded):
    prices = clean(loaded("Date,Close", *(f"{row[:10]},{row.split(',')[4]}" for row in ROWS)))
    assert prices.columns == ("close",)
    assert prices.column("close").tolist() == [11, 12.5, 13.25, 14]
    assert [found.text for found in prices.findings] == [
        "there is no column Open or High or Low; features that need it cannot be used",
        "there is no Volume column; the volume cannot be a feature",
    ]


@pytest.mark.parametrize(("shift", "days"), [(-1, "Sunday to Thursday"), (1, "Tuesday to Saturday")])
def test_a_week_that_no_exchange_has_is_a_warning(shift, days, synthetic):
    prices = synthetic(100)
    found = only(replace(prices, dates=prices.dates + shift), "week")
    assert found.text.startswith(f"sessions are from {days}, ")


def test_all_days_with_different_rows_are_counted(loaded):
    prices = loaded(HEADER, *ROWS, *(row.replace(",1", ",2") for row in ROWS))
    assert error_of(prices).endswith("; write each series to its own file (4 such days)")


@pytest.mark.parametrize("descending", [False, True], ids=["ascending", "descending"])
def test_a_day_with_two_different_rows_is_an_error_with_the_line_of_the_second(descending, loaded):
    rows = [ROWS[0], ROWS[1], ROWS[1].replace("12.5", "12.6"), *ROWS[2:]]
    prices = loaded(HEADER, *(rows[::-1] if descending else rows))
    line = 5 if descending else 4
    assert error_of(prices).startswith(f"{prices.source}:{line}: Date: 2019-01-03 has two rows with different values; ")


def test_highs_and_lows_may_contradict_on_one_session_in_a_hundred(synthetic):
    prices = synthetic(200)
    prices.values[[50, 120], 1] *= 0.5  # high far below open and close
    (finding,) = clean(prices).findings
    assert (finding.check, finding.severity, finding.rows) == ("range", "warning", 2)
    assert finding.dates == tuple(prices.dates[[50, 120]].astype(str))
    assert clean(prices).sha256 == prices.sha256, "a warning changes nothing"
    prices.values[70, 1] *= 0.5
    without_high = clean(prices)
    assert without_high.columns == ("open", "low", "close", "volume")
    reason = f"synthetic: High: contradicts Open and Close on 3 of 200 sessions, first on {prices.dates[50]}; "
    assert missing_column_reason(without_high, "high").startswith(reason)
    prices.values[:, [0, 2]] = prices.values[:, [2, 0]]  # open and low have each other's names
    assert re.match(r"synthetic: Low: contradicts Open and Close on \d+ of 200 sessions, ", error_of(prices))


def test_rounding_differences_do_not_contradict(synthetic):
    prices = synthetic(200)
    prices.values[:, 1] = np.maximum(prices.values[:, 0], prices.values[:, 3]) * (1 - 1e-7)
    assert clean(prices).findings == ()


def test_a_series_that_never_changes_is_an_error(synthetic, loaded):
    prices = synthetic(50)
    prices.values[:, :4] = 0.1
    assert error_of(prices).startswith("synthetic: Close: is 0.1 on every session; ")
    assert "has a single session, 2019-01-02" in error_of(loaded(HEADER, ROWS[0]))


def test_a_series_without_prices_is_an_error(loaded):
    prices = loaded(HEADER, "2019-01-02,,,,,5", "2019-01-03,null,null,null,null,null")
    assert error_of(prices).startswith(f"{prices.source}: Open, High, Low, Close: no row has a price; ")


def quotes_of(prices):
    return prices.values[:, :4]


def only(prices, check):
    """Return the only finding of a check after cleaning; other checks may have findings too."""
    found = [finding for finding in clean(prices).findings if finding.check == check]
    assert len(found) == 1, clean(prices).findings
    assert found[0].severity == "warning"
    assert "\n" not in found[0].text
    return found[0]


def checks_of(prices):
    return {finding.check for finding in clean(prices).findings}


def test_an_ordinary_series_has_no_findings(synthetic):
    assert clean(synthetic(1000)).findings == ()


def test_a_row_equal_to_the_one_before_is_a_warning(synthetic):
    prices = synthetic(200)
    prices.values[[50, 51, 120]] = prices.values[[49, 49, 119]]
    found = only(prices, "stale")
    assert (found.rows, found.dates) == (3, tuple(prices.dates[[50, 51, 120]].astype(str)))


def test_flat_bars_are_a_warning_above_one_per_cent(synthetic):
    prices = synthetic(200)
    prices.values[[3, 8], :3] = prices.values[[3, 8], 3:4]
    assert checks_of(prices) == set()
    prices.values[9, :3] = prices.values[9, 3]
    assert only(prices, "flat bars").rows == 3


def test_opens_equal_to_the_close_before_are_a_warning_above_one_half(synthetic):
    prices = synthetic(201)
    quotes = quotes_of(prices)
    quotes[1:101, 0] = quotes[:100, 3]
    quotes[:, 1], quotes[:, 2] = quotes.max(axis=1), quotes.min(axis=1)
    assert checks_of(prices) == set(), "exactly half is allowed"
    quotes[101, 0] = quotes[100, 3]
    quotes[:, 1], quotes[:, 2] = quotes.max(axis=1), quotes.min(axis=1)
    assert only(prices, "opens").rows == 101


def test_a_volume_of_zero_is_a_warning_and_unusable_above_a_fifth(synthetic):
    prices = synthetic(100, zero_volumes=(7,))
    assert only(prices, "volume").text == f"Volume is 0 on 1 session: {prices.dates[7]}"
    assert unusable_volume_reason(synthetic(100, zero_volumes=tuple(range(20)))) is None
    unusable = synthetic(100, zero_volumes=tuple(range(21)))
    assert unusable_volume_reason(unusable) == "the volume is 0 on 21 of 100 sessions; at most 20 % may be 0"
    assert only(unusable, "volume").text.endswith("; the volume cannot be a feature")


def test_the_volume_is_optional(synthetic, loaded):
    full = synthetic(300)
    prices = replace(full, columns=full.columns[:4], values=quotes_of(full))
    assert only(prices, "volume").text == "there is no Volume column; the volume cannot be a feature"
    assert unusable_volume_reason(prices) == "there is no Volume column"
    empty = clean(loaded(HEADER, *(f"{row.rpartition(',')[0]},null" for row in ROWS)))
    assert empty.columns == ("open", "high", "low", "close")
    assert [found.check for found in empty.findings] == ["empty volume", "volume"]
    assert len(empty) == len(ROWS)


def test_a_change_of_the_volume_unit_is_a_warning(synthetic):
    prices = synthetic(700)
    prices.values[prices.dates >= np.datetime64("2002-01-01"), 4] *= 1000
    found = only(prices, "volume units")
    assert " in 2002; check whether its unit changed" in found.text
    prices.values[prices.dates >= np.datetime64("2002-01-01"), 4] /= 1000 / 30
    assert checks_of(prices) == set(), "a volume may grow thirtyfold"


@pytest.mark.parametrize("factor", [1 / 2, 1 / 5, 1 / 10, 1 / 50, 2, 10])
def test_a_split_is_a_warning_and_not_corrected(factor, synthetic):
    prices = synthetic(200)
    prices.values[100:, :4] *= factor * prices.values[99, 3] / prices.values[100, 3]
    found = only(prices, "split")
    assert found.dates == (str(prices.dates[100]),)
    assert clean(prices).sha256 == prices.sha256


@pytest.mark.parametrize(("factor", "warned"), [(1.29, False), (1.32, True), (0.71, False), (0.68, True)])
def test_a_return_beyond_thirty_per_cent_is_a_warning(factor, warned, synthetic):
    prices = synthetic(200)
    prices.values[100:, :4] *= factor * prices.values[99, 3] / prices.values[100, 3]
    assert ("jump" in checks_of(prices)) is warned


@pytest.mark.parametrize(("days", "warned"), [(12, False), (13, True)])
def test_a_gap_of_more_than_twelve_days_is_a_warning(days, warned, synthetic):
    prices = synthetic(200)
    prices.dates[100:] += days - (prices.dates[100] - prices.dates[99]).astype(int)
    weekday = (prices.dates.astype(int) + 3) % 7
    prices = prices.rows(weekday < 5)
    assert ("gap" in checks_of(prices)) is warned


def test_weekends_are_a_warning_unless_the_exchange_is_open_then(synthetic):
    prices = synthetic(300)
    prices.dates[4] += 1  # a Friday becomes a Saturday
    found = only(prices, "weekend")
    assert found.dates == ("2001-01-06",)
    every_day = replace(prices, dates=np.datetime64("2001-01-01") + np.arange(300))
    assert checks_of(every_day) == set(), "crypto"
    assert checks_of(every_day.rows(np.arange(5, 12))) == set(), "one week"
    saturdays = every_day.rows((np.arange(300) % 7 != 6) & ((np.arange(300) < 100) | (np.arange(300) % 7 != 5)))
    assert checks_of(saturdays) == set(), "Saturdays in the first part"


def test_a_series_that_is_not_daily_is_a_warning(synthetic):
    weekly = synthetic(1000).rows(np.arange(0, 1000, 5))
    assert "7 days apart" in only(weekly, "spacing").text


def test_a_session_of_today_is_a_warning_and_one_of_the_future_an_error(synthetic):
    prices = synthetic(50)
    today = np.datetime64(datetime.now(UTC).date())
    prices.dates[-1] = today
    assert only(prices, "newest bar").dates == (str(today),)
    prices.dates[-1] = today + 3
    assert error_of(prices).startswith(f"synthetic: Date: {today + 3} is in the future; ")
    prices.dates[-1] = np.datetime64("9999-12-31")
    assert "is in the future" in error_of(prices)
    prices.dates[0] = np.datetime64("0001-01-01")
    prices.dates[-1] = today
    assert "0001-01-01 is older than any exchange's prices" in error_of(prices)


@pytest.mark.parametrize("value", [1e308, 1e16, 5e-324, 1e-13])
def test_numbers_that_would_overflow_are_errors(value, synthetic):
    prices = synthetic(50)
    prices.values[20, :4] = value
    assert error_of(prices).startswith(f"synthetic: Close: {value:g} on {prices.dates[20]}; a price is a finite ")
    prices = synthetic(50)
    prices.values[20, 4] = 1e308
    assert "Volume: 1e+308 on" in missing_column_reason(clean(prices), "volume")


def test_series_of_one_and_two_sessions(synthetic):
    assert "has a single session" in error_of(synthetic(1))
    assert len(clean(synthetic(2))) == 2
    zeros = synthetic(1)
    zeros.values[:] = 0
    assert "no row has a price" in error_of(zeros)


def test_cleaning_again_adds_no_findings(synthetic):
    prices = synthetic(100, zero_volumes=(3, 4))
    once = clean(prices.rows(np.arange(99, -1, -1)))
    assert len(once.findings) == 2
    assert clean(once).findings == once.findings
