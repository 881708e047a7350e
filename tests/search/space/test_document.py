"""Test the line of each key, the limits of plain YAML, `--set` values, and YAML that is read back equal."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.space.document import SpaceDocument, SpaceError
from search.space.yaml_reader import yaml_text


def document(tmp_path: Path, text: str) -> SpaceDocument:
    path = tmp_path / "space.yaml"
    path.write_text(text, encoding="utf-8")
    return SpaceDocument(str(path))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1e-4", 1e-4), ("1.0e-4", 1e-4), ("-.5", -0.5), ("1.", 1.0), (".inf", float("inf")),
        ("7", 7), ("-7", -7), ("010", 10), ("0x10", "0x10"), ("1:30", "1:30"), ("1_000", "1_000"),
        ("2024-01-31", "2024-01-31"), ("'7'", "7"), ("~", None), ("", None), ("null", None),
        ("yes", True), ("off", False), ("lstm", "lstm"), ("e5", "e5"), ("=", "="),
        ("[1, a, [2]]", [1, "a", [2]]), ("{a: {b: 1}}", {"a": {"b": 1}}),
    ],
)  # fmt: skip
def test_a_scalar_has_the_expected_type(tmp_path: Path, written: str, read: object) -> None:
    value = document(tmp_path, f"key: {written}\n").data["key"]
    assert (value, type(value)) == (read, type(read))


def test_keys_are_text(tmp_path: Path) -> None:
    assert document(tmp_path, "on: 1\nnull: 2\n3: 4\n").data == {"on": 1, "null": 2, "3": 4}


def test_anchors_are_copied(tmp_path: Path) -> None:
    space = document(tmp_path, "a: &sizes [4, 8]\nb: *sizes\n")
    space.override("a", "1")
    assert space.data == {"a": 1, "b": [4, 8]}


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb:\r\n  c: 2\r\n")
    space = SpaceDocument(str(path))
    assert space.data == {"a": 1, "b": {"c": 2}}
    assert space.location(("b", "c")) == f"{path}:3"


def test_every_key_has_its_line(tmp_path: Path) -> None:
    space = document(tmp_path, "a: 1\n\nb:\n  c:\n  - x\n  - {d: 2,\n     e: 3}\n")
    lines = {key: int(space.location(key).rsplit(":", 1)[1]) for key in [
        ("a",), ("b",), ("b", "c"), ("b", "c", 0), ("b", "c", 1, "d"), ("b", "c", 1, "e")
    ]}  # fmt: skip
    assert list(lines.values()) == [1, 3, 4, 5, 6, 7]


def test_the_location_of_a_default_is_that_of_its_section(tmp_path: Path) -> None:
    space = document(tmp_path, "a: 1\nb:\n  c: 1\n")
    assert space.location(("b", "d")) == f"{space.path}:2"
    assert space.location(("z", "d")) == f"{space.path}:1"


def test_override_replaces_values_of_the_file(tmp_path: Path) -> None:
    space = document(tmp_path, "a: 1\nb: {c: 1, d: {e: 1}}\nn:\n")
    for name, text in (("a", "[1, x]"), ("b.c", "2.5"), ("b.d", "{f: 1}"), ("n.o.p", "''"), ("q", "")):
        space.override(name, text)
    assert space.data == {"a": [1, "x"], "b": {"c": 2.5, "d": {"f": 1}}, "n": {"o": {"p": ""}}, "q": None}


def test_the_location_of_a_section_that_an_option_adds_is_the_option(tmp_path: Path) -> None:
    space = document(tmp_path, "b: 1\nn:\n")
    space.override("c.d", "1", "first")
    space.override("c.e", "1", "second")
    space.override("n.o", "1", "third")
    assert [space.location(key) for key in [("c",), ("c", "d"), ("c", "e"), ("n",)]] == [
        "first",
        "first",
        "second",
        "third",
    ]


def test_the_location_of_an_overridden_key_is_its_option(tmp_path: Path) -> None:
    space = document(tmp_path, "b: {c: 1, d: {e: 1}}\n")
    space.override("b.d", "{e: 2}", "--set b.d={e: 2}")
    assert space.location(("b", "d", "e")) == "--set b.d={e: 2}"
    assert space.location(("b", "c")) == f"{space.path}:1"


def test_the_location_is_the_last_option_that_sets_the_key(tmp_path: Path) -> None:
    space = document(tmp_path, "b: 1\n")
    space.override("b", "{c: 1}", "first")
    space.override("b.c", "2", "second")
    assert space.location(("b", "c")) == "second"
    space.override("b", "{c: 3}", "third")
    assert space.location(("b", "c")) == "third"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("b.c.d", "1", "b.c: 1 is a value without keys; set b.c as a whole"),
        ("b..c", "1", "'b..c' is not a key; a key has 1 to 20 words, joined by dots"),
        ("", "1", "'' is not a key"),
        ("b", "[1", "b: is not YAML (while parsing a flow sequence"),
        ("b", "{c: 1, c: 2}", "c: is set twice"),
        ("b", "!!set {a}", "the tag !!set"),
        ("b", "[" * 99, "nested too deeply"),
        ("b", "\x00", "the character #x0000 is not allowed"),
    ],
)
def test_an_invalid_option_is_one_line(tmp_path: Path, name: str, text: str, words: str) -> None:
    space = document(tmp_path, "b: {c: 1}\n")
    with pytest.raises(SpaceError) as caught:
        space.override(name, text)
    (problem,) = caught.value.problems
    assert problem.startswith(f"--set {name}={text}: ".replace("\x00", "\\x00"))
    assert words in problem


def test_a_problem_is_one_printable_line(tmp_path: Path) -> None:
    error = SpaceError([document(tmp_path, "a: 1").format_problem(("x\ny", "\x1b[31m"), "is\twrong\r\n")])
    assert str(error) == f"{tmp_path / 'space.yaml'}:1: x y.\\x1b[31m: is wrong"


def test_an_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(SpaceError(["one", "two"])))
    assert error.problems == ("one", "two")
    assert str(error) == "one\ntwo"


SCALARS = st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.floats(allow_nan=False) | st.text()
WORDS = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)


@settings(deadline=None, database=None, max_examples=300)
@given(st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4)))
def test_written_yaml_reads_back_equal(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.yaml"
    path.write_text(yaml_text({"key": value, "section": {"inner": value}}), encoding="utf-8", newline="")
    assert SpaceDocument(str(path)).data == {"key": value, "section": {"inner": value}}
