"""Run `python -m stockrnn.prices`: output, written files and exit codes."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stockrnn.prices.cleaning import clean
from stockrnn.prices.inspection import main
from stockrnn.prices.loading import load

pytestmark = pytest.mark.slow

HEADER = "Date,Open,High,Low,Close,Volume"
ROWS = (
    "2019-01-02,10,12,9,11,1000",
    "2019-01-03,11,13,10,12.1,1100",
    "2019-01-04,12.75,14,11,11.495,0",
    "2019-01-07,13,15,12,14,900",
)
WEEKDAYS = ["--calendar", "24/5"]  # an exchange open on all weekdays


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text("\n".join([HEADER, *ROWS[::-1], ROWS[0]]))
    return str(path)


def test_the_summary_and_the_findings_are_printed(source, capsys):
    assert main([source, *WEEKDAYS]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    expected = {
        "source": source,
        "sessions": "4, 2019-01-02 to 2019-01-07",
        "columns": "open, high, low, close, volume",
        "first close": "11",
        "last close": "14",
        "lowest": "-5 % on 2019-01-04",
        "highest": "+21.8 % on 2019-01-07",
        "longest gap": "3 days, 2019-01-04 to 2019-01-07",
        "calendar": "24/5",
        "sha256": clean(load(source)).sha256,
    }
    lines = shown.out.splitlines()
    assert {name: line[14:] for line in lines if (name := line[:14].strip()) in expected} == expected
    assert lines[-3:] == [
        "repaired  sorted the rows by date",
        "repaired  dropped 1 repeated row",
        "warning   Volume is 0 on 1 session: 2019-01-04; the volume cannot be a feature",
    ]


@pytest.mark.parametrize("name", ["nasdaq", "sp500"])
def test_the_output_of_shipped_series_fits_a_terminal(name, capsys):
    assert main([name]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert len([line for line in lines if line.startswith(("repaired", "warning"))]) <= 3


def test_the_json_output_has_the_same_values(source, capsys):
    assert main([source, *WEEKDAYS, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    returns = np.array([12.1 / 11, 11.495 / 12.1, 14 / 11.495]) - 1
    assert found["daily_return"]["mean"] == pytest.approx(returns.mean())
    assert found["daily_return"]["sd"] == pytest.approx(returns.std(ddof=1))
    assert found["daily_return"]["max"] == {"date": "2019-01-07", "value": pytest.approx(returns[2])}
    assert [(each["check"], each["severity"], each["rows"]) for each in found["findings"]] == [
        ("order", "repair", 3), ("duplicates", "repair", 1), ("volume", "warning", 1),
    ]  # fmt: skip
    assert found["volume_unusable"] == "the volume is 0 on 1 of 4 sessions; at most 20 % may be 0"


@pytest.mark.parametrize("with_volume", [True, False])
def test_the_written_series_equals_the_clean_series(with_volume, synthetic, tmp_path, capsys):
    prices = synthetic(300)
    numbers = (",".join(map(repr, row)) for row in prices.values.tolist())
    rows = [HEADER, *(f"{day},{row}" for day, row in zip(prices.dates, numbers, strict=True))]
    lines = rows if with_volume else [row.rpartition(",")[0] for row in rows]
    path, output = tmp_path / "prices.csv", tmp_path / "clean.parquet"
    path.write_text("\n".join([lines[0], *lines[:0:-1]]))
    assert main([str(path), "--output", str(output)]) == 0
    again = clean(load(str(output)))
    assert again.sha256 == clean(load(str(path))).sha256
    assert again.columns == prices.columns[: 5 if with_volume else 4]
    assert not [finding for finding in again.findings if finding.severity == "repair"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["clean.parquet", "prices.csv"], "no temporary files"
    assert f"written to    {output}" in capsys.readouterr().out


def test_the_period_and_the_date_format_can_be_set(tmp_path, capsys):
    path = tmp_path / "bourse.csv"
    path.write_text("Date;Open;High;Low;Close\n02/01/2019;1,5;1,75;1,25;1,5\n03/01/2019;1,5;2,5;1,25;2,0\n")
    assert main([str(path)]) == 2
    assert capsys.readouterr().err.endswith("set data.date_format to '%d/%m/%Y' or '%m/%d/%Y'\n")
    assert main([str(path), "--date-format", "%d/%m/%Y", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["end"] == "2019-01-03"
    assert main(["nasdaq", "--start", "2010-01-01", "--end", "2010-12-31", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["start"], found["end"], found["sessions"]) == ("2010-01-04", "2010-12-31", 252)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "needs either SOURCE or --ticker; "),
        (["nasdaq", "--ticker", "^KS11"], "needs either SOURCE or --ticker; "),
        (["nowhere.csv"], "nowhere.csv: no such file; "),
        (["nasdaq", "--start", "2019-13-01"], "--start 2019-13-01: is not a date; "),
        (["nasdaq", "--start", "2011-01-01", "--end", "2010-01-01"], "is after data.end"),
        (["nasdaq", "--offline", "--refresh"], "--offline, --refresh: exclude each other; "),
        (["nasdaq", "--calendar", "XKRY"], "--calendar XKRY: unknown exchange; "),
        (["nasdaq", "--output", "clean.csv"], "--output clean.csv: is not the name of a Parquet file; "),
        (["nasdaq", "--output", "no/such/folder/x.parquet"], "--output no/such/folder/x.parquet: cannot be written "),
        (["--ticker", "^KS11", "--offline", "--cache", "no/such/folder"], "is not in the cache"),
    ],
)
def test_wrong_input_is_an_error_of_one_line(arguments, message, capsys):
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert shown.err.count("; ") >= 1


def test_several_files_have_a_line_each(source, tmp_path, capsys):
    (tmp_path / "single.csv").write_text(f"{HEADER}\n{ROWS[0]}\n")
    pattern = str(tmp_path / "*.csv")
    assert main([source, pattern, *WEEKDAYS]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(f"{tmp_path / 'single.csv'}: has a single session, 2019-01-02; ")
    lines = shown.out.splitlines()
    assert lines[0] == f"{source}: 4 sessions, 2019-01-02 to 2019-01-07"
    assert lines[1] == "  repair   sorted the rows by date"
    assert lines[-1] == "1 series can be used, 1 cannot"
    assert main([source, "nasdaq", "--json"]) == 0
    assert [each["sessions"] for each in json.loads(capsys.readouterr().out)] == [4, 5031]
    assert main([source, "nasdaq", "--output", "clean.parquet"]) == 2
    assert "--output: conflicts with several sources; " in capsys.readouterr().err


def test_a_file_with_several_tickers_names_a_command_that_splits_it(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [
        f"{day};{code};{close}" for day, close in (("2024-01-02", 10), ("2024-01-03", 11)) for code in ("005930", "B")
    ]
    Path("long list.csv").write_text("\n".join(["Date;Code;Close", *rows]))
    assert main(["long list.csv"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("long list.csv: has 2 tickers (Code: 005930, B); ")
    assert message.endswith("or all with data.sources: [tickers/*.csv]\n")
    command = message.partition("split the file with python ")[2].partition(" and name one of")[0]
    subprocess.run([sys.executable, *shlex.split(command)], check=True)
    assert main(["tickers/*.csv"]) == 0
    assert capsys.readouterr().out.startswith("tickers/005930.csv: 2 sessions, 2024-01-02 to 2024-01-03\n")


def test_the_source_is_never_overwritten(tmp_path, capsys):
    path = tmp_path / "prices.parquet"
    assert main(["nasdaq", "--output", str(path)]) == 0
    before = path.read_bytes()
    assert main([str(path), "--end", "2005-01-01", "--output", str(path)]) == 2
    assert path.read_bytes() == before
    assert "is the source" in capsys.readouterr().err


def test_a_csv_is_inspected_without_pandas_and_torch(source):
    code = (
        "import sys; sys.modules['exchange_calendars'] = None; from stockrnn.prices.inspection import main;"
        f"main([{source!r}]); print(*{{'pandas', 'torch', 'pyarrow', 'ray'}} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == ""


def test_it_runs_as_a_module(source):
    program = [sys.executable, "-m", "stockrnn.prices", source, *WEEKDAYS]
    found = subprocess.run(program, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith("source        ")
    wrong = subprocess.run([*program[:3], "nowhere.csv"], capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("nowhere.csv: no such file; ")
