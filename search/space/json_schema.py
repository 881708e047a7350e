"""Generate the JSON Schema of space files, which editors use to check and complete them."""

import json
from typing import Any

from search.space.parameters import FIELDS
from search.space.sections import NAME, SECTIONS, WarmStartConfig, WhenConfig
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
    "description": "earlier parameters and their values for which this parameter exists",
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
    """Return the schema as data."""
    properties: dict[str, Any] = {
        "name": {
            "type": "string",
            "pattern": f"^{NAME}$",
            "default": "study",
            "description": "name of the study and of its folder",
        },
        "seed": {
            "type": "integer",
            "minimum": 0,
            "maximum": 2**32 - 1,
            "default": 0,
            "description": "seed of the sampler and the networks",
        },
    }
    for name, config in SECTIONS.items():
        properties[name] = _drop_titles(config.model_json_schema())
    properties["data"]["properties"]["features"] = {
        "description": DataConfig.model_fields["features"].description,
        "anyOf": [FEATURE_SET, FEATURE_LIST],
        "default": "ohlcv",
    }
    other = _drop_titles(OtherConfig.model_json_schema())
    del properties["data"]["$defs"], other["description"]
    properties["data"]["properties"]["also"]["items"] = {"anyOf": [{"type": "string", "minLength": 1}, other]}
    entry = _drop_titles(WhenConfig.model_json_schema())
    entry["properties"]["if"] |= CONDITIONS
    del properties["resources"]["$defs"]
    properties["resources"]["properties"]["when"]["items"] = entry
    warm_start = _drop_titles(WarmStartConfig.model_json_schema())
    del properties["search"]["$defs"], warm_start["description"]
    points = [properties["search"]["properties"]["initial"]["items"], *_list_items(warm_start["properties"]["points"])]
    for point in points:
        point["propertyNames"] = {"enum": list(FIELDS)}
    form = properties["search"]["properties"]["warm_start"]
    form["anyOf"] = [{"type": "string", "minLength": 1}, warm_start, {"type": "null"}]
    properties["space"] = {
        "type": "object",
        "description": "parameters; a list is a choice, {int: [low, high]} and {float: [low, high]} are "
        "ranges, a scalar is a constant",
        "properties": {name: _parameter(name) for name in FIELDS},
        "required": ["architecture"],
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Search space of recurrent networks",
        "type": "object",
        "properties": properties,
        "required": ["space"],
        "additionalProperties": False,
    }


def schema_text() -> str:
    """Return the schema as indented JSON that ends in a newline."""
    return json.dumps(schema(), indent=2) + "\n"


def _list_items(form: dict[str, Any]) -> list[dict[str, Any]]:
    return [each["items"] for each in form["anyOf"] if "items" in each]


def _parameter(name: str) -> dict[str, Any]:
    value = _drop_titles(FIELDS[name].model_json_schema())["properties"][name]
    description = value.pop("description")
    default = {"default": value.pop("default")} if "default" in value else {}
    item = value
    if name == "features":  # a list is a choice, so a choice of features is a list of lists
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


def _drop_titles(schema: Any) -> Any:
    """Return a schema without pydantic's titles, which repeat the names."""
    if isinstance(schema, dict):
        return {
            key: _drop_titles(value) for key, value in schema.items() if not (key == "title" and isinstance(value, str))
        }
    return [_drop_titles(item) for item in schema] if isinstance(schema, list) else schema
