"""The JSON Schema of space files, for editors: of the configurations and the forms a parameter may take."""

import json
from typing import Any

from search.space.parameters import FIELDS
from search.space.sections import NAME, SECTIONS, WhenConfig
from stockrnn.dataset.config import FEATURE_NAMES, FEATURE_SETS, DataConfig, OtherConfig
from stockrnn.dataset.features import ROLLING

__all__ = ["schema", "schema_text"]

FEATURE_SET = {"enum": list(FEATURE_SETS)}
SESSIONS = "([2-9]|[1-9][0-9]|[1-4][0-9][0-9]|500)"  # from MIN_ROLLING_SESSIONS to MAX_ROLLING_SESSIONS
FEATURE = {
    "anyOf": [
        {"enum": [*FEATURE_NAMES, *FEATURE_SETS]},
        {"type": "string", "pattern": f"^({'|'.join(ROLLING)})_{SESSIONS}$"},
    ]
}
FEATURE_LIST = {"type": "array", "items": FEATURE, "minItems": 1, "uniqueItems": True}

CONDITION = {
    "type": "object",
    "minProperties": 1,
    "description": "earlier parameters and the values of theirs beside which this parameter exists",
    "propertyNames": {"enum": list(FIELDS)},
}

BOUNDS = {
    "type": "object",
    "properties": {"min": {"type": "number"}, "max": {"type": "number"}},
    "minProperties": 1,
    "additionalProperties": False,
}
CONDITIONS = {
    "minProperties": 1,
    "propertyNames": {"enum": list(FIELDS)},
    "additionalProperties": {
        "anyOf": [BOUNDS, {"type": "array", "minItems": 1}, {"not": {"type": ["object", "array"]}}]
    },
}


def schema() -> dict[str, Any]:
    """The schema as data."""
    properties: dict[str, Any] = {
        "name": {
            "type": "string",
            "pattern": f"^{NAME}$",
            "default": "study",
            "description": "the study, and its folder",
        },
        "seed": {
            "type": "integer",
            "minimum": 0,
            "maximum": 2**32 - 1,
            "default": 0,
            "description": "what sampler and networks draw their random numbers from",
        },
    }
    for name, config in SECTIONS.items():
        properties[name] = _tidy(config.model_json_schema())
    properties["data"]["properties"]["features"] = {
        "description": DataConfig.model_fields["features"].description,
        "anyOf": [FEATURE_SET, FEATURE_LIST],
        "default": "ohlcv",
    }
    other = _tidy(OtherConfig.model_json_schema())
    del properties["data"]["$defs"], other["description"]
    properties["data"]["properties"]["also"]["items"] = {"anyOf": [{"type": "string", "minLength": 1}, other]}
    entry = _tidy(WhenConfig.model_json_schema())
    entry["properties"]["if"] |= CONDITIONS
    del properties["resources"]["$defs"]
    properties["resources"]["properties"]["when"]["items"] = entry
    properties["search"]["properties"]["initial"]["items"]["propertyNames"] = {"enum": list(FIELDS)}
    properties["space"] = {
        "type": "object",
        "description": "the parameters: a list is a choice, {int: [lo, hi]} and {float: [lo, hi]} are "
        "ranges, a scalar is a constant",
        "properties": {name: _parameter(name) for name in FIELDS},
        "required": ["architecture"],
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A space of recurrent networks to search",
        "type": "object",
        "properties": properties,
        "required": ["space"],
        "additionalProperties": False,
    }


def schema_text() -> str:
    """The schema as indented JSON, ending in a newline."""
    return json.dumps(schema(), indent=2) + "\n"


def _parameter(name: str) -> dict[str, Any]:
    value = _tidy(FIELDS[name].model_json_schema())["properties"][name]
    description = value.pop("description")
    default = {"default": value.pop("default")} if "default" in value else {}
    item = value
    if name == "features":  # a list is a choice, so features stand in a list of lists
        value, item, default = FEATURE_SET, {"anyOf": [FEATURE_SET, FEATURE_LIST]}, {"default": "ohlcv"}
    choice = {"type": "array", "items": item, "minItems": 1, "uniqueItems": True}
    forms: list[dict[str, Any]] = [value, choice, _domain({"choice": choice}, ["choice"])]
    types = {form.get("type") for form in (value, *value.get("anyOf", []))}
    for kind, python in (("integer", "int"), ("number", "float")):
        if kind in types:
            ends = {"type": "array", "items": {"type": kind}, "minItems": 2, "maxItems": 2}
            step = {"type": kind, "exclusiveMinimum": 0}
            forms.append(_domain({python: ends, "log": {"type": "boolean"}, "step": step}, [python]))
    return {"description": description, **default, "anyOf": forms}


def _domain(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**properties, "when": CONDITION},
        "required": required,
        "additionalProperties": False,
    }


def _tidy(schema: Any) -> Any:
    """Without pydantic's titles, which repeat the names."""
    if isinstance(schema, dict):
        return {key: _tidy(value) for key, value in schema.items() if not (key == "title" and isinstance(value, str))}
    return [_tidy(item) for item in schema] if isinstance(schema, list) else schema
