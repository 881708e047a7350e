"""Find the dates of sessions from times in UTC and in other time zones."""

import numpy as np
import pytest

from stockrnn.prices.cleaning import clean
from stockrnn.prices.config import SourceConfig
from stockrnn.prices.loading import load
from stockrnn.prices.series import PriceError

FORMS = {
    "offset": lambda moment: f"{moment:%Y-%m-%d %H:%M:%S}+00:00",
    "Z": lambda moment: f"{moment:%Y-%m-%dT%H:%M:%S.000Z}",
    "name": lambda moment: f"{moment:%Y-%m-%d %H:%M:%S} UTC",
    "seconds": lambda moment: str(int(moment.timestamp())),
    "milliseconds": lambda moment: str(1000 * int(moment.timestamp())),
}
NAIVE = "{:%Y-%m-%d %H:%M:%S}"


@pytest.fixture
def dates_of(tmp_path):
    """Return the dates and findings of a file with these texts as its dates."""

    def read(texts, date_format=None):
        path = tmp_path / "prices.csv"
        rows = (f"{text},{100 + number % 7}" for number, text in enumerate(texts))
        path.write_text("\n".join(["Date,Close", *rows]))
        prices = clean(load(SourceConfig(source=str(path), date_format=date_format)))
        return prices.dates.astype(str).tolist(), [found for found in prices.findings if found.check == "utc dates"]

    return read


def sessions(zone, time="00:00", days=400, weekdays="Mon Tue Wed Thu Fri"):
    """Return the dates of an exchange from 2015-01-01 on, and its times there as moments in UTC."""
    import pandas as pd

    local = pd.bdate_range("2015-01-01", periods=days, freq="C", weekmask=weekdays)
    moments = (local + pd.Timedelta(f"{time}:00")).tz_localize(zone).tz_convert("UTC")
    return local.strftime("%Y-%m-%d").tolist(), list(moments)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("zone", "weekdays"),
    [
        ("Asia/Seoul", "Mon Tue Wed Thu Fri"), ("Asia/Kolkata", "Mon Tue Wed Thu Fri"),
        ("Asia/Kathmandu", "Mon Tue Wed Thu Fri"), ("Europe/Paris", "Mon Tue Wed Thu Fri"),
        ("Europe/London", "Mon Tue Wed Thu Fri"), ("Australia/Sydney", "Mon Tue Wed Thu Fri"),
        ("Asia/Seoul", "Mon Tue Wed Thu Fri Sat"), ("Asia/Riyadh", "Sun Mon Tue Wed Thu"),
    ],
)  # fmt: skip
def test_midnights_in_utc_have_the_date_of_the_exchange(zone, weekdays, form, dates_of):
    expected, moments = sessions(zone, weekdays=weekdays)
    found, findings = dates_of(map(FORMS[form], moments))
    assert found == expected
    (finding,) = findings
    assert finding.severity == "repair"
    assert finding.text.startswith(f"read {finding.rows} UTC times (")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("zone", "time", "weekdays"),
    [
        ("America/New_York", "00:00", "Mon Tue Wed Thu Fri"), ("America/New_York", "16:00", "Mon Tue Wed Thu Fri"),
        ("America/Sao_Paulo", "00:00", "Mon Tue Wed Thu Fri"), ("Asia/Seoul", "15:30", "Mon Tue Wed Thu Fri"),
        ("Asia/Seoul", "09:00", "Mon Tue Wed Thu Fri Sat"), ("Europe/Paris", "17:30", "Mon Tue Wed Thu Fri"),
        ("Asia/Riyadh", "10:00", "Sun Mon Tue Wed Thu"), ("UTC", "00:00", "Mon Tue Wed Thu Fri Sat Sun"),
    ],
)  # fmt: skip
def test_other_times_in_utc_have_the_date_as_written(zone, time, weekdays, form, dates_of):
    expected, moments = sessions(zone, time, weekdays=weekdays)
    assert dates_of(map(FORMS[form], moments)) == (expected, [])


def test_a_few_special_sessions_on_weekends_do_not_hide_the_shift(dates_of):
    import pandas as pd

    expected, moments = sessions("Asia/Kolkata")
    special = ["2015-03-07", "2015-11-15", "2016-02-27"]  # two Saturdays and a Sunday
    rows = sorted([*moments, *(pd.Timestamp(day, tz="Asia/Kolkata").tz_convert("UTC") for day in special)])
    found, findings = dates_of(map(FORMS["Z"], rows))
    assert found == sorted([*expected, *special])
    assert [each.severity for each in findings] == ["repair"]


def test_a_market_without_weekends_has_the_dates_in_utc(dates_of):
    expected, moments = sessions("UTC", "15:00", weekdays="Mon Tue Wed Thu Fri Sat Sun")
    found, findings = dates_of(map(FORMS["Z"], moments))
    assert found == expected
    assert [each.text for each in findings] == ["the dates are those in UTC: the times are 15:00 UTC, also on weekends"]


@pytest.mark.parametrize(
    ("zone", "written", "time", "word"),
    [
        ("Asia/Seoul", "UTC", "00:00", "early"), ("Asia/Seoul", "America/New_York", "00:00", "early"),
        ("Europe/London", "UTC", "00:00", "early"), ("America/New_York", "Asia/Seoul", "16:00", "late"),
    ],
)  # fmt: skip
def test_times_whose_zone_is_unknown_or_wrong_are_refused(zone, written, time, word, dates_of):
    _, moments = sessions(zone, time)
    texts = [NAIVE.format(moment.tz_convert(written)) for moment in moments]
    with pytest.raises(PriceError, match=f"the dates may be a day {word}: .*set data.date_format, such as '%Y-%m-%d"):
        dates_of(texts)
    found, _ = dates_of(texts, "%Y-%m-%d %H:%M:%S")
    assert found == [text[:10] for text in texts], "the user has stated that the dates are right"


def test_times_in_utc_are_not_read_as_written_because_of_a_format(dates_of):
    expected, moments = sessions("Asia/Seoul")
    assert dates_of([f"{moment:%d.%m.%Y %H:%M} +0000" for moment in moments], "%d.%m.%Y %H:%M %z")[0] == expected


def test_times_in_utc_that_vary_are_refused_if_there_are_sundays(dates_of):
    _, moments = sessions("Asia/Seoul")
    varied = [moment + np.timedelta64(15 * (number % 5), "m") for number, moment in enumerate(moments)]
    with pytest.raises(PriceError, match="the dates may be a day early"):
        dates_of(map(FORMS["offset"], varied))


def test_the_times_of_a_session_at_the_exchange_have_the_date_as_written(dates_of):
    expected, moments = sessions("Asia/Seoul", "15:30")
    local = [moment.tz_convert("Asia/Seoul") for moment in moments]
    assert dates_of([f"{moment:%Y-%m-%d %H:%M:%S%z}" for moment in local]) == (expected, [])
    assert dates_of([NAIVE.format(moment) for moment in local]) == (expected, [])
