"""Check that the JSON Schema of the package is up to date and agrees with the parser."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

import search.space.json_schema
from search.space.json_schema import schema, schema_text
from search.space.parameters import FIELDS
from search.space.sections import SECTIONS, TOP_LEVEL
from search.space.space import load_space

SPACES = sorted((Path(__file__).parents[3] / "spaces").glob("*.yaml"))


def accepts(space: object) -> bool:
    return bool(Draft202012Validator(schema()).is_valid(space))


def with_parameter(name: str, domain: object) -> dict[str, Any]:
    return {"space": {"architecture": "lstm", name: domain}}


def test_the_schema_of_the_package_is_up_to_date() -> None:
    shipped = (Path(search.space.json_schema.__file__).parents[1] / ("space.schema.json")).read_text(encoding="utf-8")
    assert shipped == schema_text(), "run: python -m search.run --json-schema > search/space.schema.json"


def test_the_schema_is_valid() -> None:
    Draft202012Validator.check_schema(json.loads(schema_text()))


def test_every_key_has_a_description() -> None:
    sections = schema()["properties"]
    assert set(sections) == set(TOP_LEVEL)
    assert list(sections["space"]["properties"]) == list(FIELDS)
    for name, config in SECTIONS.items():
        assert list(sections[name]["properties"]) == list(config.model_fields)
    for section in sections.values():
        for key in section.get("properties", {}).values():
            assert key["description"]


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.name)
def test_the_spaces_of_the_repository_validate(path: Path) -> None:
    assert accepts(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert accepts(yaml.safe_load(load_space(str(path)).as_yaml()))


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("hidden_size", 8),
        ("hidden_size", [4, 8]),
        ("hidden_size", {"int": [4, 8], "log": True}),
        ("hidden_size", {"choice": [4, 8], "when": {"architecture": ["lstm"]}}),
        ("hidden_size", {"int": [4, 8], "step": 2, "when": {"architecture": "lstm"}}),
        ("learning_rate", {"float": [1e-4, 1], "log": True}),
        ("gradient_clip", [None, 1.0]),
        ("gradient_clip", {"float": [0.1, 1]}),
        ("bidirectional", [True, False]),
        ("features", "ohlc"),
        ("features", ["ohlc", ["open", "close"]]),
        ("features", ["returns", ["technical", "day_of_week", "volatility_500"], ["ma_ratio_2"]]),
    ],
)
def test_a_domain_that_the_parser_accepts(tmp_path: Path, name: str, domain: object) -> None:
    space = with_parameter(name, domain)
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump(space, sort_keys=False), encoding="utf-8")
    resolved = load_space(str(path)).as_yaml()
    assert accepts(space)
    assert accepts(yaml.safe_load(resolved))


def test_other_series_that_the_parser_accepts(tmp_path: Path) -> None:
    also = ["sp500", "^GSPC", "data/kospi.csv", {"source": "yahoo", "ticker": "KRW=X", "lag": 0}]
    space = {"data": {"also": also, "features": ["returns", "volume_change"]}, "space": {"architecture": "lstm"}}
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump(space), encoding="utf-8")
    assert accepts(space)
    assert accepts(yaml.safe_load(load_space(str(path)).as_yaml()))


@pytest.mark.parametrize(
    "space",
    [
        {},
        {"space": {}},
        {"space": {"head": "last"}},
        {"space": {"architecture": "transformer"}},
        {"space": {"architecture": "lstm"}, "serach": {}},
        {"space": {"architecture": "lstm"}, "seed": -1},
        {"space": {"architecture": "lstm"}, "name": "a/b"},
        {"space": {"architecture": "lstm"}, "data": {"features": ["opne"]}},
        {"space": {"architecture": "lstm"}, "search": {"sampler": "tpee"}},
        {"space": {"architecture": "lstm"}, "search": {"num_samples": 0}},
        {"space": {"architecture": "lstm"}, "search": {"initial": [{"haed": "last"}]}},
        {"space": {"architecture": "lstm"}, "scheduler": {"max_epochs": "9"}},
        with_parameter("hidden_sise", 8),
        with_parameter("hidden_size", "8"),
        with_parameter("hidden_size", []),
        with_parameter("hidden_size", [4, 4]),
        with_parameter("hidden_size", {"int": [4]}),
        with_parameter("hidden_size", {"float": [4, 8]}),
        with_parameter("hidden_size", {"int": [4, 8], "lgo": True}),
        with_parameter("hidden_size", {"int": [4, 8], "step": 0}),
        with_parameter("hidden_size", {"int": [4, 8], "when": {}}),
        with_parameter("hidden_size", {"int": [4, 8], "when": {"haed": ["last"]}}),
        with_parameter("dropout", {"int": [0, 1]}),
        with_parameter("dropout", 1.0),
        with_parameter("head", {"int": [0, 1]}),
        with_parameter("features", ["open", "close"]),
        with_parameter("features", [["volatility_501"]]),
        with_parameter("features", [["ma_ratio_1"]]),
        with_parameter("features", [["volatility_"]]),
        with_parameter("others", ["sp500"]),
        {"space": {"architecture": "lstm"}, "data": {"also": "sp500"}},
        {"space": {"architecture": "lstm"}, "data": {"also": [3]}},
        {"space": {"architecture": "lstm"}, "data": {"also": [{"lag": 1}]}},
        {"space": {"architecture": "lstm"}, "data": {"also": [{"source": "sp500", "lag": 11}]}},
        {"space": {"architecture": "lstm"}, "data": {"also": [{"source": "sp500", "lga": 1}]}},
    ],
)
def test_an_invalid_space_is_rejected(space: object) -> None:
    assert not accepts(space)
