"""The checks of a series: what is repaired, what is refused and by which line, and nothing in between."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockrnn.prices import load
from stockrnn.quality import clean
from stockrnn.series import Finding, PriceError
from stockrnn.tables import SHIPPED

HEADER = "Date,Open,High,Low,Close,Volume"
ROWS = (
    "2019-01-02,10,12,9,11,1000",
    "2019-01-03,11,13,10,12.5,1100",
    "2019-01-04,12.5,14,12,13.25,0",
    "2019-01-07,13,15,12,14,900",
)
DATES = ["2019-01-02", "2019-01-03", "2019-01-04", "2019-01-07"]


@pytest.fixture
def loaded(tmp_path):
    """Writes lines to a CSV and reads them back, unchecked."""

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
    assert text.count("; ") >= 2, "states what, the rule and the fix"
    return text


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_series_need_no_repair(name):
    raw = load(name)
    prices = clean(raw)
    assert prices.findings == ()
    assert prices.sha256 == raw.sha256


def test_a_good_series_is_left_alone(loaded):
    prices = clean(loaded(HEADER, *ROWS))
    assert prices.dates.astype(str).tolist() == DATES
    assert prices.lines.tolist() == [2, 3, 4, 5]
    assert prices.findings == ()


@pytest.mark.parametrize(
    ("lines", "repairs"),
    [
        (ROWS[::-1], ("rows sorted by date",)),
        ((ROWS[2], ROWS[0], ROWS[3], ROWS[1]), ("rows sorted by date",)),
        ((*ROWS, ROWS[3]), ("1 repeated rows dropped",)),
        ((ROWS[0], *ROWS, ROWS[0]), ("rows sorted by date", "2 repeated rows dropped")),
        (
            (ROWS[0], "2019-01-03,null,null,null,null,null", *ROWS[1:]),
            ("1 rows without any price dropped",),
        ),
        ((*ROWS, "2019-01-08,null,null,null,null,0"), ("1 rows without any price dropped",)),
    ],
)
def test_what_needs_no_guess_is_repaired_and_said(lines, repairs, loaded):
    prices = clean(loaded(HEADER, *lines))
    assert tuple(found.text for found in prices.findings if found.severity == "repair") == repairs
    assert prices.sha256 == clean(loaded(HEADER, *ROWS)).sha256


def test_repairs_of_reading_are_kept(loaded):
    raw = loaded(HEADER, *ROWS[::-1]).noting(Finding(check="before", severity="repair", text="something before"))
    assert [found.text for found in clean(raw).findings] == ["something before", "rows sorted by date"]


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ("2019-01-04,0,14,12,13.25,0", "Open: 0 on 2019-01-04; a price is a finite number above 0; "),
        ("2019-01-04,12.5,14,-12,13.25,0", "Low: -12 on 2019-01-04; "),
        ("2019-01-04,12.5,inf,12,13.25,0", "High: inf on 2019-01-04; "),
        ("2019-01-04,12.5,14,12,-Infinity,0", "Close: -inf on 2019-01-04; "),
        ("2019-01-04,12.5,14,12,1e999,0", "Close: inf on 2019-01-04; "),
        ("2019-01-04,12.5,14,12,,0", "Close: missing on 2019-01-04; "),
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
def test_a_wrong_value_is_named_with_its_line(wrong, what, descending, loaded):
    rows = [*ROWS[:2], wrong, ROWS[3]]
    prices = loaded(HEADER, *(rows[::-1] if descending else rows))
    line = 3 if descending else 4
    assert error_of(prices).startswith(f"{prices.source}:{line}: {what}")
    assert error_of(prices).endswith("(1 such rows)")


@pytest.mark.parametrize("descending", [False, True], ids=["ascending", "descending"])
def test_a_day_with_two_different_rows_is_named_with_the_line_of_the_second(descending, loaded):
    rows = [ROWS[0], ROWS[1], ROWS[1].replace("12.5", "12.6"), *ROWS[2:]]
    prices = loaded(HEADER, *(rows[::-1] if descending else rows))
    line = 5 if descending else 4
    assert error_of(prices).startswith(f"{prices.source}:{line}: Date: 2019-01-03 stands twice with different values; ")


def test_highs_and_lows_may_contradict_on_one_session_in_a_hundred(synthetic):
    prices = synthetic(200)
    prices.values[[50, 120], 1] *= 0.5  # high far below open and close
    assert clean(prices).findings == ()
    prices.values[70, 2] *= 2  # and a low far above
    assert error_of(prices).startswith(
        f"synthetic: High, Low: contradict Open and Close on 3 of 200 sessions, first on {prices.dates[50]}; "
    )


def test_highs_that_are_off_by_a_rounding_are_no_contradiction(synthetic):
    prices = synthetic(200)
    prices.values[:, 1] = np.maximum(prices.values[:, 0], prices.values[:, 3]) * (1 - 1e-7)
    assert clean(prices).findings == ()


def test_a_series_that_never_moves_is_refused(synthetic, loaded):
    prices = synthetic(50)
    prices.values[:, :4] = 0.1
    assert error_of(prices).startswith("synthetic: Close: is 0.1 on every session; ")
    assert "Close: is 11 on every session" in error_of(loaded(HEADER, ROWS[0]))


def test_a_series_without_any_price_is_refused(loaded):
    prices = loaded(HEADER, "2019-01-02,,,,,5", "2019-01-03,null,null,null,null,null")
    assert error_of(prices).startswith(f"{prices.source}: Open, High, Low, Close: no row has a price; ")


DIRT = st.sampled_from(
    ["", "null", "0", "-1", "inf", "1,000", "text", "nan", "1e308", "2019-01-03", " 12 ", '"', "-0.0", "１２"]
)
BAD_DATES = st.sampled_from(["", "null", "03/01/2019", "2019-02-30", "2019-01-03", "2019-01-03T10:00:00-05:00"])


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_a_dirty_file_is_either_clean_afterwards_or_refused_in_one_line(data, synthetic, tmp_path_factory):
    original = synthetic(12, seed=data.draw(st.integers(0, 5)))
    frame = pd.DataFrame(original.values, columns=["Open", "High", "Low", "Close", "Volume"]).astype(str)
    frame.insert(0, "Date", original.dates.astype(str))
    for _ in range(data.draw(st.integers(0, 3))):
        row, column = data.draw(st.integers(0, 11)), data.draw(st.integers(0, 5))
        frame.iloc[row, column] = data.draw(BAD_DATES if column == 0 else DIRT)
    frame = frame.iloc[data.draw(st.lists(st.integers(0, 11), max_size=16) | st.permutations(range(12)))]
    frame = frame[data.draw(st.permutations(list(frame.columns)))]
    if data.draw(st.booleans()):
        frame = frame.drop(columns=data.draw(st.sampled_from(list(frame.columns))))
    path = tmp_path_factory.getbasetemp() / "dirty.csv"
    frame.to_csv(path, index=False, encoding=data.draw(st.sampled_from(["utf-8", "utf-8-sig"])))
    try:
        prices = clean(load(str(path)))
    except PriceError as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        assert refusal.startswith(f"{path}:")
        assert "\n" not in refusal
        return
    assert np.isfinite(prices.values).all()
    assert (prices.values[:, :4] > 0).all()
    assert (prices.values[:, 4] >= 0).all()
    assert (np.diff(prices.dates) > np.timedelta64(0, "D")).all()
    assert len(prices.lines) == len(prices) <= len(frame)
