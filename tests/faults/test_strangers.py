"""Read hostile files and options (bombs, pipes, links, escapes, formulas, pickles): each is data, or is refused."""

import csv
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import optuna
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from search import leaderboard, run
from search.common.errors import DamagedError
from search.report import writer as report
from search.results import leaderboard as board
from search.results.event_log import TrialEnd, cut_torn_line
from search.space.document import SpaceError
from search.space.space import load_space
from search.tune.optuna_searcher import OptunaSearcher
from stockrnn import forecast
from stockrnn.io.files import FileError, parse_json, read_bytes
from stockrnn.prices.series import PriceError
from stockrnn.prices.snapshot import read_prices

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SPACE = "name: s\nspace:\n  architecture: gru\n"
SIZES, MANY = ("hidden_size", "sequence_length", "batch_size"), list(range(1, 4000))
BOMBS = {
    "a billion laughs": "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    "a hundred megabytes": "#" * 100_000_000,
    "ten thousand levels of brackets": "a: " + "[" * 10_000,
    "ten thousand levels of dashes": "- " * 10_000,
    "ten thousand levels of indents": "".join(f"{' ' * depth}a:\n" for depth in range(900)),
    "forty thousand keys": "".join(f"k{number}: 1\n" for number in range(40_000)),
    "a million keys": "".join(f"k{number}: 1\n" for number in range(1_000_000)),
    "ten thousand unknown keys": SPACE + "".join(f"k{number}: 1\n" for number in range(9_900)),
    "ten thousand misspelt parameters": SPACE + "".join(f"  hidden_siz{number}: 1\n" for number in range(9_900)),
    "a long number": "seed: 1" + "0" * 100_000,
    "a long text, repeated": f"a: &a {'y' * 400_000}\nb: [{'*a, ' * 10_000}]\n",
    "a text as long as may be, repeated": f"a: &a {'y' * 4096}\n{SPACE}search: {{initial: [{'*a, ' * 19_000}]}}\n",
    "a number as long as may be, repeated": f"a: &a 1.{'1' * 4000}\n{SPACE}  learning_rate: [{'*a, ' * 19_000}]\n",
    "many choices": f"{SPACE}  learning_rate: [{', '.join(f'0.{number:06}' for number in range(1, 19_000))}]\n",
    "conditions on everything": SPACE
    + "".join(f"  {name}: {{int: [1, 4000]}}\n" for name in SIZES)
    + f"  num_layers: {{int: [1, 3], when: {{{', '.join(f'{name}: {MANY}' for name in SIZES)}}}}}\n",
    "open quotes": '"' + "\\" * 400_000,
    "blank lines": "\n" * 480_000,
    "comments": "# x\n" * 120_000,
    "folded lines": "a:\n" + " xx\n" * 120_000,
    "directives": "%T\n" * 100_000,
    "tags": "!" * 400_000,
    "an object": "a: !!python/object/apply:os.system [touch pwned]",
    "a module": "a: !!python/name:os.system",
    "a set": "a: !!set {x}",
    "an ordered map": "a: !!omap [x: 1]",
    "bytes": "a: !!binary aGk=",
    "a NUL": "a: \x00",
    "an escape": "a: \x1b[2J",
    "an escaped escape": f'{SPACE}"\\e[2J\\n": 1',
    "half a pair": f'{SPACE}seed: "\\ud800"',
    "a merge": f"a: &a {{x: 1}}\n{SPACE}<<: *a",
    "twice": f"{SPACE}seed: 1\nseed: 2",
    "no number": f"{SPACE}seed: .nan",
    "infinite": f"{SPACE}seed: .inf",
    "a date": f"{SPACE}seed: 2024-01-31",
    "a tab": f"{SPACE}\tseed: 1",
    "a path for a name": SPACE.replace("name: s", "name: ../../x"),
    "a root for a name": SPACE.replace("name: s", "name: /etc/x"),
    "dots for a name": SPACE.replace("name: s", "name: .."),
    "addresses": f'{SPACE}tracking: {{mlflow: "{"://@" * 1000}"}}',
}
MEASURE = """
import resource, sys, time
resource.setrlimit(resource.RLIMIT_AS, (10**9, 10**9))  # bytes; more is a MemoryError
from search.space.space import SpaceError, load_space
slowest = 0
for path in sys.argv[1:]:
    start = time.process_time()
    try:
        load_space(path)
    except SpaceError as error:
        assert all(line.isprintable() and line.startswith((path, "there are more")) for line in error.problems), error
    else:
        raise SystemExit(f"{path} was read")
    slowest = max(slowest, time.process_time() - start)
print(slowest)
"""


def refused(capsys, command, *arguments):
    """The one line that a command ends with, and exit code 2."""
    assert command([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    assert err[:-1].isprintable()
    return err[:-1]


def test_no_space_is_a_bomb(tmp_path):
    paths = []
    for number, text in enumerate(BOMBS.values()):
        paths.append(tmp_path / f"{number}.yaml")
        paths[-1].write_text(text, encoding="utf-8", newline="")
    known = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, paths)], cwd=ROOT, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert known.returncode == 0, known.stderr + known.stdout
    assert float(known.stdout) < 20  # CPU seconds of the slowest one; usually less than one
    assert not (ROOT / "pwned").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"a: \xff\n",
        b"\xed\xa0\x80: 1\n",
        b"a: 1\rb: 2\rspace: 3\r",
        b"\xfe\xff\x00a",
        b"a: 1\n\x00",
        b"\xef\xbb\xbf\xef\xbb\xbfa: 1",
    ],
)
def test_bytes_that_are_no_text(tmp_path, capsys, content):
    path = tmp_path / "space.yaml"
    path.write_bytes(content)
    assert run.main([str(path)]) == 2
    for line in capsys.readouterr().err.splitlines():
        assert line.startswith(f"{path}:")


def test_what_is_no_file_is_not_read(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "link", "/dev/zero"):
        assert f"{path}:1: is not a regular file; " in refused(capsys, run.main, path)
    assert "nowhere: no such file; " in refused(capsys, run.main, tmp_path / "nowhere")
    for path in (tmp_path / "circle", tmp_path / ("x" * 300), "a\0b"):
        assert "cannot be read (" in refused(capsys, run.main, path)


def test_a_file_is_read_to_its_bound_only(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10)
    assert read_bytes(path, 10) == b"x" * 10
    with pytest.raises(FileError, match="larger than the limit of 9 bytes"):
        read_bytes(path, 9)
    os.truncate(path, 10**12)  # sparse: takes no place, and would take all memory
    with pytest.raises(FileError, match="larger than"):
        read_bytes(path, 10**6)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(FileError, match="is a symbolic link"):
        read_bytes(tmp_path / "link", 10, links=False)


@pytest.mark.parametrize(
    "options",
    [
        ("--name", "../../x"), ("--name", "/tmp/x"), ("--name", ".."), ("--name", "a/b"), ("--name", "a\nb"),
        ("--name", "\x1b[2J"), ("--name", "x" * 5000), ("--name", ""), ("--set", "name=../x"),
        ("--set", "seed=" + "[" * 50_000), ("--set", "seed=" + "9" * 50_000), ("--set", "seed=!!python/object:os.x {}"),
        ("--set", ".".join("a" * 20_000) + "=1"), ("--set", "data." + "a." * 1000 + "b=1"), ("--set", "\x1b[2J=1"),
        ("--set", "a\x1b[2J"), ("--set", "seed=\ud800"), ("--set", "a=&a [*a]"), ("--seed", "1e999"),
        ("--num-samples", "9" * 5000), ("--workers", "9" * 5000), ("--time-budget", "9" * 5000),
        ("--time-budget", "\x1b[2J"), ("--track", "\x1b[2J"), ("--track", "mlflow=\x1b[2J"),
        ("--set", "data.source=/dev/zero\x1b[2J"),
    ],
)  # fmt: skip
def test_an_option_is_no_bomb_and_no_way_out(tmp_path, capsys, options):
    line = refused(capsys, run.main, ROOT / "spaces/smoke.yaml", "--output", tmp_path / "out", "--dry-run", *options)
    assert len(line) <= 4000
    assert not any(tmp_path.iterdir())


def test_an_output_that_is_no_folder(tmp_path, capsys):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / "pipe")
    for output in ("file", "file/below", "nowhere", "pipe", "x" * 300):
        refused(capsys, run.main, ROOT / "spaces/smoke.yaml", "--quiet", "--output", tmp_path / output)
    assert (tmp_path / "file").read_text() == "kept"
    assert not (tmp_path / "gone").exists()


def test_the_place_of_a_study_may_be_no_link(tmp_path, capsys):
    (tmp_path / "smoke").symlink_to(tmp_path / "gone")
    line = refused(capsys, run.main, ROOT / "spaces/smoke.yaml", "--quiet", "--output", tmp_path)
    assert "exists already" in line


@pytest.mark.parametrize(
    "ticker", ["../x", "=cmd", "/etc/passwd", "a b", "a\nb", "\x1b[2J", "", "x" * 31, "a?b=c", "%2e"]
)
def test_a_ticker_is_a_symbol(tmp_path, capsys, ticker):
    given = (f"data={{source: yahoo, ticker: {json.dumps(ticker)}}}", "--dry-run", "--output", tmp_path)
    assert "data.ticker" in refused(capsys, run.main, ROOT / "spaces/smoke.yaml", "--set", *given)


@pytest.fixture
def study(tmp_path):
    """A folder that says it is a study."""
    folder = tmp_path / "results" / "s"
    folder.mkdir(parents=True)
    (folder / "space.yaml").write_text(SPACE)
    (folder / "manifest.json").write_text('{"name": "s"}')
    (folder / "trials.jsonl").write_text("")
    return folder


DEEP = "[" * 100_000
BAD_JSON = [
    "",
    "[]",
    "7",
    '"x"',
    "{",
    DEEP,
    '{"a": ' + DEEP,
    "\xff",
    '{"a": 1e999}',
    '{"a": NaN}',
    '{"a": ' + "9" * 9999 + "}",
]


@pytest.mark.parametrize("command", [leaderboard.main, report.main])
@pytest.mark.parametrize("name", ["manifest.json", "trials.jsonl"])
@pytest.mark.parametrize("content", [*BAD_JSON, '{"event": [], "trial_id": {}, "name": []}'])
def test_a_folders_json_is_no_bomb(study, capsys, command, name, content):
    if content in ("{}", "") and name == "trials.jsonl":
        content = " "
    (study / name).write_text(content + "\n", encoding="latin-1")
    assert str(study / name) in refused(capsys, command, study)


@pytest.mark.parametrize("command", [leaderboard.main, report.main])
@pytest.mark.parametrize("name", ["manifest.json", "trials.jsonl", "space.yaml"])
def test_a_folders_files_are_plain(study, capsys, command, name):
    (study / name).unlink()
    os.mkfifo(study / name)
    refused(capsys, command, study)
    (study / name).unlink()
    (study / name).symlink_to("/dev/zero")
    refused(capsys, command, study)
    (study / name).unlink()
    (study / name).mkdir()
    refused(capsys, command, study)


@pytest.mark.parametrize("name", ["manifest.json", "forecasters/1/forecaster.json"])
@pytest.mark.parametrize("content", BAD_JSON)
def test_a_forecasters_json_is_no_bomb(study, capsys, name, content):
    (study / "forecasters" / "1").mkdir(parents=True)
    (study / name).write_text(content, encoding="latin-1")
    refused(capsys, forecast.main, study)


def test_a_forecaster_does_not_lead_out_of_its_folder(study, tmp_path, capsys):
    (study / "forecasters" / "1").mkdir(parents=True)
    secret = tmp_path / "secret"
    secret.write_text('{"password": "hunter2"}')
    (study / "forecasters" / "1" / "forecaster.json").symlink_to(secret)
    line = refused(capsys, forecast.main, study)
    assert "is a symbolic link" in line
    assert "hunter2" not in line
    for rank in ("..", "../..", "/etc", "1/../..", "0x1", "\x1b[2J", "9" * 5000):
        assert "is not a rank" in refused(capsys, forecast.main, study, "--rank", rank)


def test_a_folder_of_forecasters_is_no_link(study, tmp_path, capsys):
    (tmp_path / "elsewhere" / "1").mkdir(parents=True)
    (study / "forecasters").symlink_to(tmp_path / "elsewhere")
    assert "is a link" in refused(capsys, forecast.main, study)
    (study / "forecasters").unlink()
    (study / "forecasters").mkdir()
    (study / "forecasters" / "1").symlink_to(tmp_path / "elsewhere" / "1")
    assert "is a link" in refused(capsys, forecast.main, study)


def test_a_record_that_is_a_link_is_not_cut(tmp_path):
    (tmp_path / "profile").write_text("a line\nand one more")
    (tmp_path / "trials.jsonl").symlink_to(tmp_path / "profile")
    with pytest.raises(DamagedError, match="is no plain file"):
        cut_torn_line(tmp_path / "trials.jsonl")
    assert (tmp_path / "profile").read_text() == "a line\nand one more"


EVIL = [
    "=1+1",
    "+1",
    "-1",
    "@x",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1",
    "'quoted",
    "''",
    "\x1b[2J",
    "a\nb",
    "a\u2028b",
    'a"b',
    "a,b",
    "",
]


def test_no_text_of_a_csv_file_is_a_formula(tmp_path):
    rows = [{"trial_id": text, "status": "complete", "rank": -1, "val_relative_loss": -0.5} for text in EVIL]
    board.write_csv(tmp_path / "l.csv", rows, ("rank", "trial_id", "status", "val_relative_loss"))
    with (tmp_path / "l.csv").open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    for row in written:
        assert not row["trial_id"].startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝"))
        assert row["trial_id"].isprintable()
        assert (row["rank"], row["val_relative_loss"]) == ("-1", "-0.5")
    names, read = board.read_csv(tmp_path / "l.csv")
    assert names == ["rank", "trial_id", "status", "val_relative_loss"]
    printable = {text: row["trial_id"] for text, row in zip(EVIL, read, strict=True) if text.isprintable()}
    assert all(text == back for text, back in printable.items())


@pytest.mark.parametrize("form", ["table", "csv", "markdown", "json"])
def test_no_text_of_a_stranger_reaches_the_terminal_raw(study, capsys, form):
    evil = "\x1b]0;owned\x07\x1b[2J\r\nroot# "
    end = {"event": "end", "trial_id": f"={evil}", "time": "2026-01-01T00:00:00+00:00", "status": "complete",
           "point": {"architecture": evil}, "scores": {"val_relative_loss": 0.9}, "message": evil}  # fmt: skip
    (study / "trials.jsonl").write_text(json.dumps(end) + "\n")
    (study / "manifest.json").write_text(json.dumps({"name": evil, "data": {"source": evil}, "baselines": {evil: {}}}))
    for folder in (study, study.parent):
        assert leaderboard.main([str(folder), "--format", form]) == 0
        out, err = capsys.readouterr()
        assert all(line.isprintable() for line in (out + err).split("\n"))
        assert "owned" in out
        assert form != "csv" or not re.search(r"^[=@+-]|,[=@+-](?![0-9.])", out, re.MULTILINE)


class Command:
    def __reduce__(self):
        return (open, ("pwned", "w"))  # runs where it is unpickled


def test_cma_es_does_not_unpickle_a_strangers_journal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.yaml").write_text(
        SPACE + "  hidden_size: {int: [4, 64]}\n  learning_rate: {float: [1e-4, 1e-2]}\nsearch: {sampler: cmaes}\n"
    )
    space = load_space("space.yaml")
    searcher = OptunaSearcher(space, tmp_path / "journal")
    ends = []
    for number in range(3):
        proposed = searcher.suggest(f"tune{number}")
        trial_id, point = proposed["trial_id"], proposed["point"]
        ends.append(TrialEnd(trial_id=trial_id, status="complete", point=point, scores={"val_relative_loss": 1.0}))
        searcher.tell(f"tune{number}", ends[-1], None)
    one = searcher.study.trials[0]
    searcher.study.add_trial(
        optuna.trial.create_trial(
            value=1.0, params=one.params, distributions=one.distributions,
            user_attrs={"trial_id": "00003", "status": "complete"},
            system_attrs={"cma:optimizer:0": pickle.dumps(Command()).hex()},
        )
    )  # fmt: skip
    ends.append(TrialEnd(trial_id="00003", status="complete", point=ends[0].point, scores={"val_relative_loss": 1.0}))
    again = OptunaSearcher(space, tmp_path / "journal", ends)
    for number in range(3):
        again.suggest(f"more{number}")
    assert not (tmp_path / "pwned").exists()


def test_json_has_a_bound_in_every_direction():
    for text in (DEEP, "9" * 5000, "1e999", "-Infinity", b"\xff", '{"a":'):
        with pytest.raises(FileError, match="cannot be read as JSON"):
            parse_json(text)


def test_an_error_has_an_end():
    error = SpaceError(f"{'x' * 10_000} {number}" for number in range(10_000))
    assert len(error.problems) == 51
    assert all(len(problem) <= 4000 for problem in error.problems)


def test_a_space_may_be_a_link(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    (tmp_path / "link.yaml").symlink_to(tmp_path / "space.yaml")
    assert load_space(str(tmp_path / "link.yaml")).name == "s"


def bombs(study):
    """Folders that took gigabytes or minutes, by name: what is put into a study."""

    def predictions(rows, **options):
        (study / "predictions.parquet").mkdir(exist_ok=True)
        table = pa.table(
            {"trial_id": ["00000"] * rows, "split": ["test"] * rows, "fold": pa.array([0] * rows, pa.int16()),
             "date": pa.array([0] * rows, pa.date32()),
             **{name: pa.array([1.0] * rows, pa.float32()) for name in ("forecast", "actual", "previous")}}
        )  # fmt: skip
        pq.write_table(table, study / "predictions.parquet" / "part-00000.parquet", **options)

    end = {"event": "end", "time": "2026-01-01T00:00:00+00:00", "status": "complete", "point": {},
           "scores": {"val_relative_loss": 0.9}, "seconds": 1.0}  # fmt: skip
    ends = (json.dumps({**end, "trial_id": f"{number:05d}", "worker": number}) for number in range(60_000))
    rows = "".join(f"{number},{number:06d},complete,0.9\n" for number in range(60_000))
    return {
        "many rows": lambda: predictions(5_000_000),
        "packed otherwise": lambda: predictions(900_000, compression="zstd"),
        "many trials": lambda: (study / "trials.jsonl").write_text("\n".join(ends) + "\n"),
        "many lines": lambda: (study / "leaderboard.csv").write_text("rank,trial_id,status,val_relative_loss\n" + rows),
        "a long number": lambda: (study / "manifest.json").write_text('{"name": "s", "x": ' + "9" * 10**6 + "}"),
        "a sparse record": lambda: os.truncate(study / "trials.jsonl", 10**11),
        "many forecasters": lambda: [(study / "forecasters" / str(n)).mkdir(parents=True) for n in range(1, 10_000)],
    }


MEASURED = """
import re, resource, sys
from search.report.writer import main
code = main(sys.argv[1:])
peak = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]  # ru_maxrss would begin with the parent's
print(code, peak, sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
"""


@pytest.mark.parametrize(
    ("name", "code"),
    [("many rows", 2), ("packed otherwise", 2), ("many trials", 0), ("many lines", 0), ("a long number", 2),
     ("a sparse record", 2), ("many forecasters", 0)],
)  # fmt: skip
def test_a_results_folder_takes_neither_minutes_nor_gigabytes(study, name, code):
    bombs(study)[name]()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, study], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300
    )
    found, kilobytes, seconds = done.stdout.split("\n")[-2].split()
    assert int(found) == code, done.stderr
    assert done.stderr.count("\n") == (1 if code else 0)
    assert int(kilobytes) < 1_000_000
    assert float(seconds) < 20  # CPU seconds; usually less than two


@pytest.mark.parametrize("name", ["pipe", "zero", "sparse"])
def test_the_prices_of_a_study_are_a_plain_file_of_their_size(study, name):
    path = study / "prices.parquet"
    match name:
        case "pipe":
            os.mkfifo(path)
        case "zero":
            path.symlink_to("/dev/zero")
        case _:
            path.touch()
            os.truncate(path, 10**11)
    with pytest.raises(PriceError, match=r"is not a regular file|is larger than"):
        read_prices(path)
