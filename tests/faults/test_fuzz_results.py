"""Damage any file of a results folder: each command reads the folder, or refuses it in single lines.

STOCKRNN_EXAMPLES sets the number of inputs, STOCKRNN_SEED the random seed.
"""

import contextlib
import io
import json
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from test_fuzz_space import HOSTILE, at, places
from tiers import count

from search import leaderboard, run
from search.common.errors import UserError
from search.report import writer as report
from search.results.event_log import Record, now
from search.results.folder.lock import locked
from search.results.manifest import write_manifest
from search.results.predictions import SCHEMA, Predictions
from search.results.resume import read_resume_state
from search.space.space import load_space
from search.study.finalists import choose_finalists
from search.study.in_process_executor import in_process_executor
from search.study.study import Options, run_study
from search.tune.asha import FiniteASHA
from search.tune.optuna_searcher import OptunaSearcher
from stockrnn import forecast
from stockrnn.prices.cleaning import clean
from stockrnn.prices.loading import load
from stockrnn.prices.snapshot import read_prices
from stockrnn.training.checkpoint import Checkpoint, Checkpoints

pytestmark = [pytest.mark.slow, pytest.mark.campaign]

EXAMPLES = count("EXAMPLES", 100)
SEED = int(os.environ.get("STOCKRNN_SEED", "0"))
MAX_CPU_SECONDS = 60.0  # for one input
SPACE = {
    "name": "fuzzed",
    "data": {"source": "nasdaq", "test_size": 40},
    "validation": {"folds": 2, "fold_size": 30, "window": "sliding", "train_size": 60, "seeds": 1},
    "space": {"architecture": ["rnn", "gru"], "hidden_size": {"int": [2, 4]}, "learning_rate": {"float": [1e-3, 1e-1]}},
    "search": {"sampler": "random", "num_samples": 4, "finalists": 2, "finalist_seeds": 1},
    "scheduler": {"max_epochs": 2, "grace_period": 2, "patience": None},
}
FACTS = {"form": "any"}
LIKE = {"weights": np.arange(6.0).reshape(2, 3)}


def made(folder: Path) -> None:
    """A finished study of four trials and two finalists; a stream, a checkpoint and a lock as a kill leaves them."""
    torch.set_num_threads(1)
    given = folder.with_suffix(".yaml")
    given.write_text(yaml.safe_dump(SPACE, sort_keys=False), encoding="utf-8")
    prices = clean(load("nasdaq")).rows(np.arange(400))
    space = load_space(str(given)).adapted_to(prices)
    splits = space.split(prices)
    options = Options(
        folder=folder, command="python -m search.run fuzzed.yaml", executor=in_process_executor, quiet=True
    )
    run_study(space, prices, splits, options)
    (folder / "report.html").unlink()  # no command reads it
    predictions = Predictions(folder / "predictions.parquet", prices, 1)
    predictions.validation("00000", splits.folds, np.ones(60, np.float32))
    stream = (folder / "predictions.parquet" / ".stream.arrows").read_bytes()
    predictions.flush()
    (folder / "predictions.parquet" / ".stream.arrows").write_bytes(stream)
    Checkpoints(folder / "checkpoints" / "00000", FACTS).write(Checkpoint(epoch=1, notes={"best": 1}, arrays=LIKE))
    (folder / "lock.json").write_text(json.dumps({"pid": 1, "host": "here", "since": now()}))
    write_manifest(folder, {
        **json.loads((folder / "manifest.json").read_text(encoding="utf-8")),
        "resumes": [{"time": now(), "command": "python -m search.run --resume x", "trials": 2, "changes": ["a"]}],
        "failed_finalists": {"00003": "it broke"},
    })  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a study, by name."""
    study = tmp_path_factory.mktemp("made") / "fuzzed"
    made(study)
    return {str(path.relative_to(study)): path.read_bytes() for path in sorted(study.rglob("*")) if path.is_file()}


def resumed(folder: str) -> int:
    """Read a study as `--resume` does, up to Ray's start; returns the exit code."""
    if code := run.main(["--resume", folder, "--dry-run", "--force"]):
        return code
    path = Path(folder)
    try:
        space = load_space(str(path / "space.yaml"))
        prices, _ = read_prices(path / "prices.parquet")
        with locked(path):
            begun = read_resume_state(path)
            record = Record(path / "trials.jsonl", begun.log)
            begun.resumed(now(), "command", space, prices)
            choose_finalists(begun.ends, space)
            FiniteASHA(space, begun.log)
            predictions = Predictions(path / "predictions.parquet", prices, 1)
            scored = {end.trial_id for end in begun.ends if end.scores}
            predictions.keep(scored, folds=space.validation.folds, test=True)
            OptunaSearcher(space, path / "study.journal", begun.ends, begun.unfinished)
            list(Checkpoints(path / "checkpoints" / "00000", FACTS).read(LIKE))
            record.close()
    except (OSError, UserError) as error:
        print(error)
        return 2
    return 0


COMMANDS: dict[str, Callable[[str], int]] = {
    "resume": resumed,
    "report": lambda folder: report.main([folder]),
    "comparison": lambda folder: report.main([folder, folder]),
    "leaderboard": lambda folder: leaderboard.main([folder, "--format", "markdown"]),
    "list": lambda folder: leaderboard.main([str(Path(folder).parent)]),
    "forecast": lambda folder: forecast.main([folder, "--offline"]),
}
READERS = {  # of each file; the others do not open it
    "manifest.json": tuple(COMMANDS),
    "trials.jsonl": ("resume", "report", "comparison", "leaderboard", "list"),
    "space.yaml": ("resume", "report", "comparison", "leaderboard", "list"),
    "leaderboard.csv": ("report", "comparison"),
    "predictions.parquet": ("resume", "report"),
    "forecasters": ("forecast",),
}


def retyped(chance: random.Random, data: Any) -> bytes:
    """A JSON document with some values exchanged for others, renamed, removed, nested deeply or hostile."""
    text = ""
    for _ in range(chance.randint(1, 3)):
        if not (known := places(data)):
            break
        place = chance.choice(known)
        parent, name = at(data, place[:-1]), place[-1]
        match chance.choice(("delete", "rename", "exchange", "retype", "retype", "wrap", "raw")):
            case "delete":
                del parent[name]
            case "rename" if isinstance(parent, dict):
                parent[chance.choice([str(other[-1]) for other in known] + ["", "\x1b[2J", "x" * 500])] = parent.pop(
                    name
                )
            case "exchange":
                parent[name] = json.loads(json.dumps(at(data, chance.choice(known))))
            case "wrap":
                parent[name] = chance.choice(([parent[name]], {"a": parent[name]}, [[parent[name]] * 3]))
            case "raw":
                parent[name] = "RAW"
                text = chance.choice((
                    "NaN", "1e999", "-Infinity", "9" * 5000, "9" * 400, "-9" * 9, "[" * 100_000, '"\\ud800"', "1.5",
                    '{"a":' * 5000, '"\\u001b[2J"', '"\\u202eabc"', "1e308", "-1e308", "5e-324", "0." + "1" * 100_000,
                ))  # fmt: skip
            case _:
                parent[name] = chance.choice((
                    None, True, False, 0, -1, 1, 2.5, 1e300, -1e-300, 10**15, "", "x", "\x1b]0;x\x07", "../../x", [],
                    {}, [1], [None], {"a": 1}, "2026-01-01", "9999-12-31T23:59:59+00:00", "0001-01-01T00:00:00+14:00",
                    "nan", "x" * 20_000, "é\u2028", 10**400, {"val_relative_loss": 1e150}, [{}], "<script>",
                    "/dev/zero",
                ))  # fmt: skip
    return json.dumps(data).replace('"RAW"', text or "0").encode()


def bruised(chance: random.Random, content: bytes) -> bytes:
    """Bytes cut off, flipped, repeated, put in or left out."""
    for _ in range(chance.choice((1, 1, 1, 2, 20))):
        if not content:
            break
        place = chance.randrange(len(content))
        kind = chance.choice(("cut", "flip", "flip", "flip", "put", "repeat", "hole", "zeros", "head"))
        if kind == "head":  # footers and headers lie at the ends
            place, kind = chance.choice((place % 200, len(content) - 1 - place % 2000)), "flip"
            place = min(max(place, 0), len(content) - 1)
        if kind == "cut":
            content = content[:place]
        elif kind == "flip":
            content = content[:place] + bytes([content[place] ^ chance.randint(1, 255)]) + content[place + 1 :]
        elif kind == "put":
            content = content[:place] + chance.randbytes(chance.randint(1, 9)) + content[place:]
        elif kind == "repeat":
            content = content[:place] + content[place : place + chance.randint(1, 400)] * 5 + content[place:]
        elif kind == "hole":
            content = content[:place] + content[place + chance.randint(1, 60) :]
        else:
            content = content[:place] + bytes(chance.randint(1, 60)) + content[place + 60 :]
    return content


def remade(chance: random.Random, content: bytes) -> bytes:
    """A Parquet file whose table or packing is another."""
    table = pq.read_table(pa.BufferReader(content))
    metadata = dict(table.schema.metadata or {})
    name = chance.choice(table.column_names)
    place = table.column_names.index(name)
    options: dict[str, Any] = {"compression": chance.choice(("zstd", "gzip", "none", "snappy"))}
    match chance.choice(("drop", "rename", "nulls", "text", "none", "wide", "facts", "packed", "values", "order")):
        case "drop":
            table = table.drop_columns([name])
        case "rename":
            table = table.rename_columns([chance.choice(("x", "date", "close", "\x1b[2J")) if one == name else one
                                          for one in table.column_names])  # fmt: skip
        case "nulls":
            mask = pa.array([chance.random() < 0.1 for _ in range(len(table))])
            column = table[name].combine_chunks()
            table = table.set_column(place, name, pa.compute.if_else(mask, pa.scalar(None, column.type), column))
        case "text":
            table = table.set_column(place, name, pa.array([chance.choice(("x", "\x1b[2J", "00000"))] * len(table)))
        case "none":
            table = table.slice(0, chance.choice((0, 1, 5)))
        case "wide":
            for number in range(300):
                table = table.append_column(f"more{number}", table[name])
        case "facts" if metadata.get(b"stockrnn"):
            metadata[b"stockrnn"] = retyped(chance, json.loads(metadata[b"stockrnn"]))
        case "values":
            values = table[name].to_pylist()
            chance.shuffle(values)
            table = table.set_column(place, name, pa.array(values, table.schema.field(name).type))
        case "order":
            table = table.take(pa.array(chance.sample(range(len(table)), len(table))))
        case _:
            options |= {"use_dictionary": False, "column_encoding": None, "data_page_version": "2.0"}
            options.pop("column_encoding")
    output = pa.BufferOutputStream()
    try:
        pq.write_table(table.replace_schema_metadata(metadata or None), output, **options)
    except (pa.ArrowException, UnicodeError):
        return content
    return output.getvalue().to_pybytes()


def headed(chance: random.Random, content: bytes) -> bytes:
    """A safetensors file with another header."""
    length = int.from_bytes(content[:8], "little")
    header = retyped(chance, json.loads(content[8 : 8 + length]))
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def lines(chance: random.Random, content: bytes) -> bytes:
    """Lines of JSON, one of them retyped, repeated, exchanged or left out."""
    known = content.splitlines()
    here, there = chance.randrange(len(known)), chance.randrange(len(known))
    match chance.choice(("retype", "retype", "retype", "double", "swap", "drop")):
        case "retype":
            known[here] = retyped(chance, json.loads(known[here]))
        case "double":
            known.insert(there, known[here])
        case "swap":
            known[here], known[there] = known[there], known[here]
        case _:
            del known[here]
    return b"\n".join(known) + b"\n"


def cells(chance: random.Random, content: bytes) -> bytes:
    """A CSV file with other cells."""
    rows = [line.split(b",") for line in content.splitlines()]
    for _ in range(chance.randint(1, 4)):
        row = chance.choice(rows)
        row[chance.randrange(len(row))] = chance.choice(
            (b"", b"nan", b"inf", b"1e999", b"x", b"-1", b"\x1b[2J", b'"', b"baseline", b"ensemble", b"0", b"9" * 5000,
             b"1e300", b"\xff", b"<b>", b"'=1", b"complete", b"00000", b"\x00")
        )  # fmt: skip
    return b"\n".join(b",".join(row) for row in rows) + b"\n"


def scalars(chance: random.Random, content: bytes) -> bytes:
    """A YAML file with another value."""
    known = content.decode().split("\n")
    here = chance.randrange(len(known))
    known[here] = known[here].partition(":")[0] + ": " + chance.choice(HOSTILE)
    return "\n".join(known).encode("utf-8", "surrogatepass")


MENDS = {
    ".json": lambda chance, content: retyped(chance, json.loads(content)),
    ".jsonl": lines, ".journal": lines, ".parquet": remade, ".safetensors": headed, ".csv": cells, ".yaml": scalars,
}  # fmt: skip


def damage(chance: random.Random, path: Path, name: str, folder: dict[str, bytes]) -> None:
    """Do something to a file of the folder."""
    target, content = path / name, folder[name]
    kind = chance.choice(("bruise", "bruise", "shape", "shape", "shape", "shape", "swap", "replace"))
    if kind == "shape" and (mend := MENDS.get(target.suffix)):
        target.write_bytes(mend(chance, content))
    elif kind == "swap":
        target.write_bytes(folder[chance.choice(sorted(folder))])
    elif kind == "replace":
        target.unlink()
        match chance.choice(("gone", "empty", "pipe", "folder", "link", "outside", "circle", "huge", "zero", "closed")):
            case "gone":
                pass
            case "empty":
                target.touch()
            case "pipe":
                os.mkfifo(target)
            case "folder":
                target.mkdir()
            case "link":
                target.symlink_to(path / chance.choice(sorted(folder)))
            case "outside":
                target.symlink_to("/etc/passwd")
            case "circle":
                target.symlink_to(target)
            case "huge":
                target.write_bytes(content)
                os.truncate(target, 10**11)
            case "zero":
                target.symlink_to("/dev/zero")
            case _:
                target.write_bytes(content)
                target.chmod(0)
    else:
        target.write_bytes(bruised(chance, content))


def tried(number: int, path: Path, folder: dict[str, bytes]) -> tuple[str, int, float]:
    """Damage the folder as the number says and run a command on it: the command, its exit code and seconds."""
    chance = random.Random(f"{SEED} {number}")
    shutil.rmtree(path.parent, ignore_errors=True)
    for name, content in folder.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    names = [chance.choice(sorted(folder)) for _ in range(chance.choice((1, 1, 1, 2)))]
    for name in set(names):
        damage(chance, path, name, folder)
    command = chance.choice(READERS.get(names[0].partition("/")[0], ("resume",)))
    out, err = io.StringIO(), io.StringIO()
    began = time.process_time()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = COMMANDS[command](str(path))
        spent = time.process_time() - began
        said = out.getvalue() + err.getvalue()
        assert code in (0, 2)
        assert all(line.isprintable() for line in said.split("\n")), said
        assert code == 0 or command in ("resume", "list") or err.getvalue().count("\n") == 1, said
        assert spent < MAX_CPU_SECONDS
    except Exception as error:
        error.add_note(f"input {number} of seed {SEED}: {command} of {names}")
        raise
    return command, code, spent


def test_any_results_folder_is_read_or_refused_in_single_lines(
    tmp_path: Path, folder: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    outcomes = Counter[tuple[str, int]]()
    slowest = 0.0
    for number in range(EXAMPLES):
        command, code, spent = tried(number, tmp_path / "studies" / "fuzzed", folder)
        slowest = max(slowest, spent)
        outcomes[command, code] += 1
    print(f"slowest {slowest:.2f} s", dict(outcomes))
    assert {code for _, code in outcomes} == {0, 2}


def test_the_untouched_folder_is_read_by_every_command(
    tmp_path: Path, folder: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in folder.items():
        (tmp_path / "fuzzed" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fuzzed" / name).write_bytes(content)
    for command, act in COMMANDS.items():
        assert act(str(tmp_path / "fuzzed")) == 0, (command, capsys.readouterr())
    assert pq.read_schema(tmp_path / "fuzzed" / "predictions.parquet" / "part-00000.parquet").equals(SCHEMA)
