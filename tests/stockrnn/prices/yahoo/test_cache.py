"""Test the cache of downloads: expiry, offline use, and damaged files."""

import json
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow.parquet as pq
import pytest

from stockrnn.prices.config import SourceConfig
from stockrnn.prices.loading import Access, load
from stockrnn.prices.series import Finding
from stockrnn.prices.yahoo import cache
from stockrnn.prices.yahoo.cache import DamagedError, Key
from stockrnn.prices.yahoo.client import YahooError

pytestmark = pytest.mark.slow

TICKER, LAST, THEN = "^KS11", "2024-05-31", "2024-06-01T12:00:00+00:00"
WHOLE = Key(ticker=TICKER, start=None, end=None, adjust=True)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "some" / "cache"


@pytest.fixture
def market(yahoo):
    """Return the server with 60 sessions of one index."""
    yahoo.list(TICKER, 60, LAST)
    return yahoo


@pytest.fixture
def cached(synthetic, folder):
    """Write a series to the cache with the given time of download: `cached(key, fetched=THEN, sessions=60)`."""

    def write(key=WHOLE, fetched=THEN, sessions=60):
        found = Finding(check="empty rows", severity="repair", text="one", rows=1, dates=("2001-01-02",))
        prices = replace(synthetic(sessions), source=f"yahoo {key.ticker}", fetched=fetched, findings=(found,))
        cache.write(folder, key, prices)
        return prices

    return write


def load_yahoo(folder, start=None, end=None, adjust=True, **access):
    config = SourceConfig(source="yahoo", ticker=TICKER, start=start, end=end, adjust=adjust)
    return load(config, Access(cache=folder, time_limit=120, **access))


def texts(prices):
    return [finding.text for finding in prices.findings]


def test_a_written_series_is_read_unchanged(cached, folder):
    written = cached()
    written.values[3, 1] = np.nan
    cache.write(folder, WHOLE, written)
    read = cache.read(folder, WHOLE)
    assert read.sha256 == written.sha256
    for name in ("source", "columns", "findings", "fetched"):
        assert getattr(read, name) == getattr(written, name)
    assert read.dates.dtype == np.dtype("datetime64[D]")
    assert read.values.dtype == np.float64
    assert len(read.lines) == 0
    assert cache.read(folder, replace(WHOLE, adjust=False)) is None
    assert cache.read(folder / "nowhere", WHOLE) is None


def test_a_file_has_its_parameters_as_metadata(cached, folder):
    key = Key(ticker=TICKER, start=date(2001, 1, 1), end=date(2001, 3, 1), adjust=False)
    prices = cached(key)
    (path,) = folder.iterdir()
    facts = json.loads(pq.read_schema(path).metadata[b"stockrnn"])
    assert {name: facts[name] for name in ("ticker", "start", "end", "adjust", "fetched", "sha256")} == {
        "ticker": TICKER, "start": "2001-01-01", "end": "2001-03-01", "adjust": False, "fetched": THEN,
        "sha256": prices.sha256,
    }  # fmt: skip
    assert pq.read_table(path).column_names == ["date", "open", "high", "low", "close", "volume"]


def test_file_names_are_unique_and_valid_on_every_file_system():
    tickers = (
        "^KS11",
        "KRW=X",
        "KRW-X",
        "KRW_X",
        "BRK-B",
        "../x",
        "..",
        "CON",
        "A/B",
        "A\\B",
        "A\0B",
        "삼성",
        "x" * 300,
    )
    spans = ((None, None), (date(2020, 1, 1), None), (None, date(2020, 1, 1)))
    keys = [
        Key(ticker=ticker, start=start, end=end, adjust=adjust)
        for ticker in tickers for start, end in spans for adjust in (True, False)
    ]  # fmt: skip
    names = {key.file.lower() for key in keys}
    assert len(names) == len(keys)
    assert all(re.fullmatch(r"[a-z0-9_]{1,30}-[0-9a-f]{16}\.parquet", name) for name in names)
    assert Key(ticker="brk-b", start=None, end=None, adjust=True) == replace(WHOLE, ticker="BRK-B")


NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("end", "age", "fresh"),
    [
        (None, timedelta(hours=11), True),
        (None, timedelta(hours=13), False),
        (None, timedelta(minutes=-5), False),  # the clock was wrong
        ("2026-11-20", timedelta(hours=13), False),
        ("2026-11-01", timedelta(days=12), True),  # downloaded on 11-08, a week later
        ("2026-11-01", timedelta(days=13), False),
        ("2020-01-01", timedelta(days=2000), True),
        ("2030-01-01", timedelta(hours=13), False),
    ],
)
def test_when_a_copy_expires(end, age, fresh):
    key = replace(WHOLE, end=end and date.fromisoformat(end))
    assert cache.is_fresh(key, (NOON - age).isoformat(), NOON) is fresh


def test_a_second_load_makes_no_requests(market, folder):
    first = load_yahoo(folder)
    requests = len(market.paths)
    second = load_yahoo(folder)
    assert len(market.paths) == requests
    assert second.provenance == first.provenance
    assert [path.suffix for path in folder.iterdir()] == [".parquet"]
    assert load_yahoo(folder, adjust=False, end="2024-05-29").dates[-1] == np.datetime64("2024-05-29")
    assert len(market.paths) > requests
    assert len(list(folder.iterdir())) == 2


def test_an_old_copy_is_downloaded_again_unless_its_period_has_ended(market, folder, cached):
    cached()
    assert len(load_yahoo(folder)) == 60
    assert str(load_yahoo(folder).dates[-1]) == LAST
    closed = Key(ticker=TICKER, start=None, end=date(2001, 3, 1), adjust=True)
    cached(closed)
    requests = len(market.paths)
    assert load_yahoo(folder, end="2001-03-01").fetched == THEN
    assert len(market.paths) == requests
    assert load_yahoo(folder, end="2024-05-31", refresh=True).fetched != THEN
    assert len(market.paths) > requests


def test_a_changed_history_is_a_warning_and_replaces_the_copy(market, folder):
    old = load_yahoo(folder)
    rows = market.charts[TICKER]  # a dividend of 3 % before the last ten sessions, and one session more
    rows = [(*row[:5], row[5] * 0.97, row[6]) for row in rows[:50]] + rows[50:]
    market.charts[TICKER] = [*rows, ("2024-06-03", *rows[-1][1:])]
    new = load_yahoo(folder, refresh=True)
    assert len(new) == 61
    (found,) = new.findings
    assert (found.check, found.severity, found.rows) == ("history", "warning", 50)
    assert found.dates == tuple(old.dates.astype(str)[:3])
    assert "Yahoo changed the history: 50 of 60 closes differ" in found.text
    assert "by a factor of 0.97 (median)" in found.text
    assert datetime.now(UTC).date().isoformat() in found.text
    assert cache.read(folder, WHOLE).sha256 == new.sha256
    assert load_yahoo(folder, refresh=True).findings == ()


def test_offline_uses_a_copy_of_any_age(market, folder, cached):
    prices = cached()
    found = load_yahoo(folder, offline=True)
    assert found.sha256 == prices.sha256
    assert texts(found) == ["one", "offline: used the copy of 2024-06-01"]
    assert market.paths == []


def test_the_offline_error_lists_the_missing_and_the_cached_periods(market, folder, cached):
    with pytest.raises(YahooError, match=r"^yahoo \^KS11: the whole history is not in the cache .*has nothing of"):
        load_yahoo(folder, offline=True)
    cached(Key(ticker=TICKER, start=date(2000, 1, 1), end=None, adjust=True))
    cached(Key(ticker=TICKER, start=None, end=None, adjust=False))
    cached(Key(ticker="_KS11", start=date(1999, 1, 1), end=None, adjust=True))
    with pytest.raises(YahooError) as caught:
        load_yahoo(folder, offline=True, end="2010-01-01")
    text = str(caught.value)
    assert text.startswith("yahoo ^KS11: the first day to 2010-01-01 is not in the cache ")
    assert "2000-01-01 to the last day" in text
    assert "the whole history with adjust: false" in text
    assert "1999" not in text
    assert (text.count("; "), text.count("\n")) == (2, 0)
    assert market.paths == []


def test_a_failed_download_suggests_the_copy(market, folder, cached):
    cached()
    market.fail("404")
    with pytest.raises(YahooError, match=r"; or use --offline, which takes the copy of 2024-06-01$"):
        load_yahoo(folder)
    assert cache.read(folder, WHOLE).fetched == THEN


def truncated(path):
    path.write_bytes(path.read_bytes()[:-100])


def emptied(path):
    path.write_bytes(b"")


def one_byte(path):
    content = bytearray(path.read_bytes())
    content[600] ^= 1
    path.write_bytes(content)


def other_numbers(path):
    table = pq.read_table(path)
    pq.write_table(table.set_column(4, "close", table.column("open")), path)


def without_facts(path):
    pq.write_table(pq.read_table(path).replace_schema_metadata({}), path)


def another_ticker(path):
    facts = json.loads(pq.read_schema(path).metadata[b"stockrnn"]) | {"ticker": "SPY"}
    pq.write_table(pq.read_table(path).replace_schema_metadata({"stockrnn": json.dumps(facts)}), path)


def no_date(path):
    facts = json.loads(pq.read_schema(path).metadata[b"stockrnn"]) | {"fetched": "lately"}
    pq.write_table(pq.read_table(path).replace_schema_metadata({"stockrnn": json.dumps(facts)}), path)


def a_folder(path):
    path.unlink()
    path.mkdir()


DAMAGES = (truncated, emptied, one_byte, other_numbers, without_facts, another_ticker, no_date, a_folder)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_or_changed_file_is_detected(damage, cached, folder):
    cached()
    damage(folder / WHOLE.file)
    with pytest.raises(DamagedError, match=re.escape(str(folder / WHOLE.file))) as caught:
        cache.read(folder, WHOLE)
    assert "\n" not in str(caught.value)
    with pytest.raises(YahooError, match=r"; run once without --offline$"):
        load_yahoo(folder, offline=True)


def test_a_change_of_any_byte_of_the_numbers_is_detected(cached, folder):
    cached(sessions=20)
    content = (folder / WHOLE.file).read_bytes()
    prices = cache.read(folder, WHOLE)
    for at in range(0, len(content), 7):
        (folder / WHOLE.file).write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        try:
            read = cache.read(folder, WHOLE)
        except DamagedError:
            continue
        assert read.sha256 == prices.sha256, f"byte {at}"


def test_a_damaged_file_is_downloaded_again(market, folder):
    load_yahoo(folder)
    truncated(folder / WHOLE.file)
    prices = load_yahoo(folder)
    (text,) = texts(prices)
    assert re.fullmatch(r".*\.parquet: is not a complete Parquet file; the series was downloaded again", text)
    assert cache.read(folder, WHOLE).sha256 == prices.sha256


def test_a_cache_that_cannot_be_written_is_a_warning(market, tmp_path):
    (tmp_path / "taken").write_text("a file")
    prices = load_yahoo(tmp_path / "taken")
    assert len(prices) == 60
    (found,) = prices.findings
    assert (found.check, found.severity) == ("cache", "warning")
    assert found.text.startswith(f"{tmp_path / 'taken'} cannot be written (")


def test_several_processes_may_write_at_once(market, folder):
    code = (
        "from pathlib import Path; from stockrnn.prices.loading import Access, load\n"
        "from stockrnn.prices.config import SourceConfig\n"
        f"config, access = SourceConfig(source='yahoo', ticker='{TICKER}'), Access(cache=Path({str(folder)!r}))\n"
        "print(load(config, access).sha256)"
    )

    def start(_):
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    with ThreadPoolExecutor(4) as several:
        ended = list(several.map(start, range(4)))
    assert [(each.returncode, each.stderr) for each in ended] == [(0, "")] * 4
    assert len({each.stdout for each in ended}) == 1
    assert [path.name for path in folder.iterdir()] == [WHOLE.file]


def test_readers_see_complete_files_while_others_write(cached, folder):
    prices = [cached(sessions=sessions) for sessions in (300, 400)]

    def write():
        for _ in range(100):
            for each in prices:
                cache.write(folder, WHOLE, each)

    with ThreadPoolExecutor(2) as several:
        writers = [several.submit(write) for _ in range(2)]
        seen = set()
        while not all(writer.done() for writer in writers):
            seen.add(cache.read(folder, WHOLE).sha256)  # raises an error for an incomplete file
        for writer in writers:
            writer.result()
    assert seen == {each.sha256 for each in prices}
    assert [path.name for path in folder.iterdir()] == [WHOLE.file]


def test_25_years_are_read_from_the_cache_quickly(cached, folder):
    cached(fetched=datetime.now(UTC).isoformat(), sessions=6300)
    load_yahoo(folder)
    began = time.process_time()
    assert len(load_yahoo(folder)) == 6300
    assert time.process_time() - began < 2  # CPU seconds; usually a hundredth of one


def test_the_cache_is_in_the_users_cache_folder(market, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "here"))
    load(SourceConfig(source="yahoo", ticker=TICKER))
    (path,) = cache.default_folder().iterdir()
    assert tmp_path in path.parents
    assert "stockrnn-search" in path.parts


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"offline": True, "refresh": True}, "exclude each other"),
        ({"time_limit": 0.0}, "time_limit is 0.0; it must be"),
    ],
)
def test_contradicting_access_options_are_an_error(fields, message):
    with pytest.raises(ValueError, match=message):
        Access(**fields)
