"""Fuzz space files, options and results folders: each is read or refused in single lines, within a time limit.

STOCKRNN_EXAMPLES sets the number of space files; options and folders are a quarter of it.
"""

import contextlib
import copy
import io
import json
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiers import count, is_nightly

from search.common.errors import DamagedError
from search.leaderboard import main
from search.results.event_log import Record
from search.results.manifest import write_manifest
from search.results.reader import read_study
from search.space.document import MAX_PROBLEMS, SpaceError
from search.space.space import load_space

pytestmark = [pytest.mark.slow, pytest.mark.campaign]

EXAMPLES = count("EXAMPLES", 500)
MAX_CPU_SECONDS = 20.0  # for one input; usually a hundredth of a second
SPACES = sorted((Path(__file__).parents[2] / "spaces").glob("*.yaml"))
TEXTS = [path.read_text(encoding="utf-8") for path in SPACES]
FOLDER_FILES = ("space.yaml", "manifest.json", "trials.jsonl")
HOSTILE = [
    "!!python/object/apply:os.system [ls]", "!!set {a}", "!!binary YQ==", "!!omap [a: 1]", "!local x", "*nowhere",
    "&a", "&a [*a]", "<<: {a: 1}", "{<<: *a}", "? [a]\n: b", ".nan", ".inf", "-.inf", "1e999", "-1e-999", "9" * 19,
    "9" * 5000, "1" + "0" * 100_000, "0x1F", "0o17", "1_000", "1:30", "2024-01-31", "2024-01-31T10:00:00Z", "~",
    "null", "yes", "''", "'", '"', '"\\x00"', '"\\ud800"', '"\\U00110000"', '"\\e[2J"', "|", ">-", "%YAML 9.9", "---",
    "...", "\t", "\x00", "\x07", "\x1b[31m", "\u2028", "\u0085", "\ufeff", "\U0001f600", "a\u0301", "\u202eabc",
    "../x", "/etc/passwd", "/dev/zero", "~root", "=cmd|' /C calc'!A0", "+1", "-1", "@x", "x" * 5000, "[" * 50,
    "{" * 50, "- " * 50, "[]", "{}", "[[]]", "{a: {}}", "[1, 1]", "[x, y]", "{int: [1, 2]}", "{int: [2, 1]}",
    "{int: [1, 1.5]}", "{float: [0, 1], log: true}", "{float: [.nan, .inf]}", "{float: [0, 1], step: 1.0e-300}",
    "{int: [0, 999999999999999999], step: 7}", "{choice: []}", "{choice: [[close], close]}",
    "{choice: [1, 2], when: {num_layers: 2}}", "{choice: [8], when: {architecture: []}}",
    "{int: [1, 9], when: {nothing: 1}}", "true", "0", "-0.0", "1.5", "grid", "cmaes", "sliding", "yahoo", "sp500",
    "http://u:p@h/?token=x", "://@" * 300,
]  # fmt: skip
SIGNS = list("\t\r\n :-#&*!|>%@`'\"{}[],?~<\\\x00\x1b\x7f\ud800\ufffe0a")


class Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


def places(data: Any, key: tuple = ()) -> list[tuple]:
    """Where every value of nested data stands."""
    found = [key] if key else []
    entries = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return found + [place for name, value in entries for place in places(value, (*key, name))]


def at(data: Any, place: tuple) -> Any:
    for name in place:
        data = data[name]
    return data


def rearranged(draw: Callable, text: str) -> str:
    """The file with keys deleted, moved, renamed, and values exchanged for others."""
    data = yaml.safe_load(text)
    for _ in range(draw(st.integers(1, 4))):
        known = places(data)
        if not known:
            break
        place = draw(st.sampled_from(known))
        parent, name = at(data, place[:-1]), place[-1]
        match draw(st.sampled_from(("delete", "move", "rename", "retype", "exchange", "wrap", "hostile"))):
            case "delete":
                del parent[name]
            case "move":
                value = parent.pop(name)
                holders = [
                    one
                    for other in ((), *places(data))
                    if isinstance(one := at(data, other), dict) and one is not value
                ]
                draw(st.sampled_from(holders))[str(name)] = value
            case "rename" if isinstance(parent, dict):
                new = draw(st.sampled_from([str(other[-1]) for other in known]) | st.text(max_size=8))
                parent[new] = parent.pop(name)
            case "retype":
                parent[name] = draw(
                    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
                    | st.lists(st.integers(-3, 70), max_size=3)
                    | st.dictionaries(st.text(max_size=5), st.none(), max_size=2)
                )  # fmt: skip
            case "exchange":
                parent[name] = copy.deepcopy(at(data, draw(st.sampled_from(known))))
            case "wrap":
                parent[name] = [parent[name]] if draw(st.booleans()) else {"choice": parent[name]}
            case _:
                parent[name] = "HOSTILE"
    written = yaml.dump(data, Dumper=Plain, allow_unicode=True, sort_keys=False)
    return written.replace("HOSTILE", draw(st.sampled_from(HOSTILE)))


def disturbed(draw: Callable, text: str) -> bytes:
    """The file's lines doubled, swapped, indented otherwise; hostile scalars in place of values; bytes of any kind."""
    lines = text.split("\n")
    for _ in range(draw(st.integers(1, 5))):
        here, there = (draw(st.integers(0, max(0, len(lines) - 1))) for _ in range(2))
        if not lines:
            break
        match draw(st.sampled_from(("double", "swap", "indent", "value", "line", "sign", "drop", "flow"))):
            case "double":
                lines.insert(there, lines[here])
            case "swap":
                lines[here], lines[there] = lines[there], lines[here]
            case "indent":
                lines[here] = (
                    draw(st.sampled_from(["", " ", "   ", "\t", " \t", "- ", "\u00a0"])) + lines[here].lstrip()
                )
            case "value":
                lines[here] = lines[here].partition(":")[0] + ": " + draw(st.sampled_from(HOSTILE))
            case "line":
                lines.insert(here, draw(st.sampled_from(HOSTILE)))
            case "sign":
                cut = draw(st.integers(0, len(lines[here])))
                lines[here] = lines[here][:cut] + draw(st.sampled_from(SIGNS) | st.characters()) + lines[here][cut:]
            case "drop":
                del lines[here]
            case _:
                lines[here] = lines[here].replace("[", "{").replace("]", "}")
    end = draw(st.sampled_from(("\n", "\n", "\n", "\r\n", "\r", "\u2028")))
    return bruised(draw, end.join(lines).encode("utf-8", "surrogatepass"), often=4)


def bruised(draw: Callable, content: bytes, often: int = 1) -> bytes:
    """Bytes cut off, flipped, repeated, or put in; one time in `often`."""
    if draw(st.integers(1, often)) > 1 or not content:
        return content
    place = draw(st.integers(0, len(content) - 1))
    match draw(st.sampled_from(("cut", "flip", "put", "repeat", "hole"))):
        case "cut":
            return content[:place]
        case "flip":
            return content[:place] + bytes([content[place] ^ draw(st.integers(1, 255))]) + content[place + 1 :]
        case "put":
            return content[:place] + draw(st.binary(min_size=1, max_size=8)) + content[place:]
        case "repeat":
            return content[:place] + content[place : place + draw(st.integers(1, 40))] * 5 + content[place:]
        case _:
            return content[:place] + content[place + draw(st.integers(1, 60)) :]


@st.composite
def spaces(draw: Callable) -> bytes:
    """A space file, more or less."""
    text = draw(st.sampled_from(TEXTS))
    kind = draw(st.integers(0, 9))
    if kind < 4:
        return rearranged(draw, text).encode("utf-8", "surrogatepass")
    return draw(st.binary(max_size=200)) if kind == 9 else disturbed(draw, text)


def outcome(act: Callable[[], Any]) -> Any:
    """What an act gives, or how it refuses to; any other exception is a mistake of ours."""
    try:
        return act()
    except (SpaceError, DamagedError) as error:
        return error


def quick(act: Callable[[], Any]) -> Any:
    """Return the result of a function that may use MAX_CPU_SECONDS."""
    start = time.process_time()
    found = act()
    assert time.process_time() - start < MAX_CPU_SECONDS
    return found


def fuzzed(examples: int) -> Callable:
    return settings(
        max_examples=examples, deadline=None, database=None, derandomize=not is_nightly(),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip


@pytest.mark.timeout(3600)
@fuzzed(EXAMPLES)
@given(spaces())
def test_any_space_file_is_read_or_refused_in_single_lines(
    tmp_path_factory: pytest.TempPathFactory, text: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text)

    space = quick(lambda: outcome(lambda: load_space(str(path))))
    if isinstance(space, SpaceError):
        assert 1 <= len(space.problems) <= MAX_PROBLEMS + 1
        for problem in space.problems:
            assert problem.isprintable(), problem
            assert problem.startswith((f"{path}:", "there are more mistakes")), problem
    else:
        again = path.with_name("again.yaml")
        again.write_text(space.as_yaml(), encoding="utf-8", newline="")
        assert load_space(str(again)) == space


@pytest.mark.timeout(3600)
@fuzzed(EXAMPLES // 4)
@given(st.sampled_from(HOSTILE) | st.text(max_size=30), st.data())
def test_any_option_is_laid_over_or_refused_in_single_lines(value: str, data: st.DataObject) -> None:
    known = [
        "name",
        "seed",
        "data.source",
        "data.ticker",
        "space.hidden_size",
        "search.initial",
        "validation",
        "a.b.c",
        ".",
    ]
    name = data.draw(st.sampled_from(known) | st.text(max_size=10))

    option = (name, value, f"--set {name}={value}")
    space = quick(lambda: outcome(lambda: load_space(str(SPACES[0]), [option])))
    assert not isinstance(space, SpaceError) or all(problem.isprintable() for problem in space.problems)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a small study, by name."""
    made = tmp_path_factory.mktemp("study")
    record = Record(made / "trials.jsonl")
    best = {"val_relative_loss": 0.97, "val_rmse": 9.5}
    for number in range(3):
        trial_id = f"{number:05d}"
        record.start(trial_id, {"architecture": "gru", "hidden_size": 4 + number, "learning_rate": 0.01})
        record.epoch(trial_id, {
            "epoch": 1, "done": True, "score": 0.97, "best_epoch": 1, "best": best, "scores": best, "loss": 1.0,
            "seconds": 2.5, "worker": 1, "parameters": 100, "form": "batched",
        })  # fmt: skip
        record.end(trial_id, "complete")
    record.close()
    space = load_space(str(SPACES[0]))
    (made / "space.yaml").write_text(space.as_yaml(), encoding="utf-8")
    write_manifest(made, {
        "name": "all", "start": "2026-01-02T03:04:05+00:00", "end": "2026-01-02T03:05:05+00:00", "versions": {"a": "1"},
        "baselines": {"persistence": {"val_relative_loss": 1.0}}, "data": {"source": "nasdaq", "start": "1999-01-04"},
        "folds": [{"train": ["1999-01-04", "2015-01-09"], "validation": ["2015-01-12", "2016-01-07"]}],
        "test": ["2018-01-03", "2018-12-31"], "seconds": 60.0, "interrupted": False, "verdict": "Nothing beats it.",
        "proof": {"trials": 3, "spa_p": 0.5},
        "test_openings": [{"finalists": [{"trial_id": "00001"}], "scores": {"00001": {"test_relative_loss": 1.01}}}],
    })  # fmt: skip
    return {name: (made / name).read_bytes() for name in FOLDER_FILES}


def reshaped(draw: Callable, line: bytes) -> bytes:
    """A JSON document with values deleted, renamed or exchanged for others; not always JSON any more."""
    data = json.loads(line)
    known = places(data)
    place = draw(st.sampled_from(known))
    parent, name = at(data, place[:-1]), place[-1]
    match draw(st.sampled_from(("delete", "rename", "retype", "deep", "raw"))):
        case "delete":
            del parent[name]
        case "rename" if isinstance(parent, dict):
            parent[draw(st.sampled_from([str(other[-1]) for other in known]) | st.text(max_size=8))] = parent.pop(name)
        case "deep":
            return json.dumps(data).encode().replace(b":", b":" + b"[" * draw(st.integers(1, 100_000)), 1)
        case "raw":
            raw = ["NaN", "1e999", "9" * 5000, "-Infinity", "[" * 2000, '"\\ud800"', '"\\u001b[2J"', "9" * 400, "-1"]
            parent[name] = "RAW"
            return json.dumps(data).replace('"RAW"', draw(st.sampled_from(raw)), 1).encode()
        case _:
            parent[name] = draw(
                st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
                | st.text(max_size=9) | st.lists(st.integers(), max_size=2)
                | st.dictionaries(st.text(max_size=5), st.none())
            )  # fmt: skip
    return json.dumps(data).encode()


@pytest.mark.timeout(3600)
@fuzzed(EXAMPLES // 4)
@given(st.data())
def test_any_results_folder_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, folder: dict[str, bytes], data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "folders" / "fuzzed"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    contents = dict(folder)
    for _ in range(data.draw(st.integers(1, 2))):
        name = data.draw(st.sampled_from(FOLDER_FILES))
        if name != "space.yaml" and data.draw(st.booleans()):
            lines = folder[name].splitlines() if name == "trials.jsonl" else [folder[name]]
            here = data.draw(st.integers(0, len(lines) - 1))
            lines[here] = reshaped(data.draw, lines[here])
            contents[name] = b"\n".join(lines) + b"\n"
        else:
            contents[name] = bruised(data.draw, contents[name])
    for name, content in contents.items():
        (path / name).write_bytes(content)

    form = random.Random(len(contents["manifest.json"])).choice(("table", "csv", "json", "markdown"))
    said = io.StringIO()

    def printed() -> int:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            assert main([str(path.parent), "--format", form]) in (0, 2)
            return main([str(path), "--format", form])

    code = quick(printed)
    assert all(line.isprintable() for line in said.getvalue().split("\n"))
    study = outcome(lambda: read_study(path).rows)
    assert code == (2 if isinstance(study, DamagedError) else 0)
    assert not isinstance(study, DamagedError) or str(study).isprintable()
