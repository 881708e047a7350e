"""Generate docs/space.md, the reference of the space file, from the configuration classes that check the file.

python -m search.space.reference > docs/space.md
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jinja2

from search.space.json_schema import schema
from search.space.parameters import FIELDS
from search.space.sections import SECTIONS, WarmStartConfig, WhenConfig
from stockrnn.configuration import Configuration
from stockrnn.dataset.config import FEATURE_SETS, OtherConfig, WindowConfig
from stockrnn.networks.config import NetworkConfig
from stockrnn.training.config import TrainingConfig

__all__ = ["EXAMPLES", "Entry", "entries", "reference_text"]

EXAMPLES = {  # one line of YAML per key, as written in its section
    "name": "name: kospi",
    "seed": "seed: 1",
    "data.task": "task: volatility",
    "data.estimator": "estimator: garman_klass",
    "data.source": "source: prices.csv",
    "data.ticker": "ticker: ^KS11",
    "data.start": "start: 2005-01-01",
    "data.end": "end: 2019-12-31",
    "data.adjust": "adjust: false",
    "data.date_format": 'source: prices.csv, date_format: "%d/%m/%Y"',
    "data.tickers": 'tickers: ["^KS11", "^GSPC", "^N225"]',
    "data.sources": 'sources: [prices.csv, "won*.csv"]',
    "data.features": "features: [returns, volume_change, volatility_20]",
    "data.also": "also: [^GSPC, {source: won.csv, lag: 0}]",
    "data.horizon": "horizon: 5",
    "data.test_size": "test_size: 125",
    "validation.folds": "folds: 5",
    "validation.fold_size": "fold_size: 125",
    "validation.window": "window: sliding, train_size: 2000",
    "validation.train_size": "window: sliding, train_size: 2000",
    "validation.seeds": "seeds: 3",
    "search.sampler": "sampler: random",
    "search.num_samples": "num_samples: 100",
    "search.metric": "metric: val_worst_fold",
    "search.mode": "mode: min",
    "search.finalists": "finalists: 5",
    "search.replay": "replay: false",
    "search.max_failures": "max_failures: 5",
    "search.stall_timeout": "stall_timeout: 1800",
    "search.finalist_seeds": "finalist_seeds: 10",
    "search.initial": "initial: [{architecture: gru, hidden_size: 16}]",
    "search.warm_start": "warm_start: results/old",
    "search.warm_start.study": "warm_start: {study: results/old}",
    "search.warm_start.top": "warm_start: {study: results/old, top: 10}",
    "search.warm_start.points": "warm_start: {study: results/old, points: [{architecture: gru, hidden_size: 16}]}",
    "scheduler.max_epochs": "max_epochs: 81",
    "scheduler.grace_period": "grace_period: 5",
    "scheduler.reduction_factor": "reduction_factor: 4",
    "scheduler.patience": "patience: null",
    "training.lockstep": "lockstep: batched",
    "resources.workers": "workers: 4",
    "resources.cpu": "cpu: 2",
    "resources.gpu": "gpu: 0.25",
    "resources.when": "when: [{if: {hidden_size: {min: 64}}, gpu: 0.5}]",
    "tracking.mlflow": "mlflow: sqlite:///mlflow.db",
    "tracking.tensorboard": "tensorboard: true",
    "tracking.wandb": "wandb: true",
    "data.also.lag": "also: [{source: won.csv, lag: 0}]",
    "resources.when.if": "when: [{if: {architecture: [gru, lstm], hidden_size: {min: 64, max: 128}}, gpu: 0.5}]",
    "resources.when.cpu": "when: [{if: {hidden_size: {min: 64}}, cpu: 2}]",
    "resources.when.gpu": "when: [{if: {architecture: rnn}, gpu: 0}]",
    "space.architecture": "architecture: [rnn, gru, lstm]",
    "space.head": "head: [last, mean]",
    "space.hidden_size": "hidden_size: {int: [4, 64], log: true}",
    "space.num_layers": "num_layers: {int: [1, 3]}",
    "space.dropout": "dropout: {float: [0.0, 0.4], when: {num_layers: [2, 3]}}",
    "space.bidirectional": "bidirectional: [false, true]",
    "space.output": "output: [linear, sigmoid]",
    "space.output_init": "output_init: uniform",
    "space.features": "features: [ohlc, [returns, volatility_20]]",
    "space.target": "target: [close, log_return]",
    "space.scaling": "scaling: [standard, relative]",
    "space.sequence_length": "sequence_length: [5, 20, 60]",
    "space.learning_rate": "learning_rate: {float: [1e-4, 1e-2], log: true}",
    "space.weight_decay": "weight_decay: {float: [1e-6, 1e-2], log: true}",
    "space.batch_size": "batch_size: [32, 64, 128]",
    "space.optimizer": "optimizer: [adam, adamw]",
    "space.loss": "loss: [mse, huber]",
    "space.gradient_clip": "gradient_clip: [null, 1.0]",
}
VALUES = {  # for keys with rules that their type does not express
    "name": "1 to 100 letters, digits, dots, dashes and underscores; the first is a letter or digit",
    "data.tickers": "a list of different Yahoo symbols",
    "data.sources": "a list of paths and patterns",
    "data.features": "a list of features and sets, or the name of one set",
    "data.also": "a list of names, paths, tickers and mappings",
    "search.initial": "a list of mappings from parameters to values of their domains",
    "search.warm_start": "the path or URL of a study's folder, a mapping with the keys below, or `null`",
    "search.warm_start.points": "a list of mappings from parameters to values of their domains, or `null`",
    "resources.when": "a list of entries, at most 8",
    "resources.when.if": "a mapping from parameters to a value, a list of values, or `min` and `max`",
    "space.features": "the name of a set, or a list of features and sets",
}
DEFAULTS = {
    "data.features": "by `data.task`: `ohlcv` for price, without the columns that the series lacks and a volume that "
    "is not usable; `volatility` for volatility, `returns` for direction, and `volatility_close` for both where a "
    "column is missing",
    "search.initial": "`[]`",
    "resources.when": "`[]`",
    "space.features": "the value of `data.features`",
    "space.target": "by `data.task`: `log_return`, `log_variance`, `up`",
    "space.scaling": "by `data.task`: `relative` for price and direction, `standard` for volatility",
    "space.loss": "by `data.task`: `mse`, `qlike`, `log_loss`",
}
GROUPS: tuple[tuple[str, type[Configuration]], ...] = (
    ("The network", NetworkConfig), ("The window", WindowConfig), ("The training", TrainingConfig),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Key of a space file: its dotted name, and its meaning, valid values, default and example, in Markdown."""

    key: str
    meaning: str
    values: str
    default: str
    example: str


def entries(section: str) -> list[Entry]:
    """Return the keys of a section in the order of its configuration; `top` stands for the top-level keys."""
    match section:
        case "top":
            properties = {name: schema()["properties"][name] for name in ("name", "seed")}
            return [_entry(name, form) for name, form in properties.items()]
        case "space":
            return [_parameter(name) for name in FIELDS]
        case "data.also":
            return [_entry("data.also.lag", OtherConfig.model_json_schema()["properties"]["lag"])]
        case "resources.when":
            properties = WhenConfig.model_json_schema()["properties"]
        case "search.warm_start":
            properties = WarmStartConfig.model_json_schema()["properties"]
        case _:
            properties = SECTIONS[section].model_json_schema()["properties"]
    return [_entry(f"{section}.{name}", form) for name, form in properties.items()]


def reference_text() -> str:
    """Return the page as Markdown that ends in a newline."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("search.space", "."), undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True, autoescape=False,
    )  # fmt: skip
    parameters = {entry.key.removeprefix("space."): entry for entry in entries("space")}
    return environment.get_template("reference.md.j2").render(
        entries=entries,
        sections={name: (config.__doc__ or "").partition("\n")[0] for name, config in SECTIONS.items()},
        groups=[
            (title, [entry for name, entry in parameters.items() if FIELDS[name] is owner]) for title, owner in GROUPS
        ],
        sets=FEATURE_SETS,
    )


def _parameter(name: str) -> Entry:
    form = FIELDS[name].model_json_schema()["properties"][name]
    entry = _entry(f"space.{name}", form)
    kinds = {each.get("type") for each in (form, *form.get("anyOf", []))}
    more = " or an int range" if "integer" in kinds else " or a float range" if "number" in kinds else ""
    return replace(entry, values=f"{entry.values}; a list for a choice{more}")


def _entry(key: str, form: Mapping[str, Any]) -> Entry:
    default = f"`{_yaml(form['default'])}`" if "default" in form else "none, the key is required"
    default = DEFAULTS.get(key, default)
    return Entry(
        key=key,
        meaning=_sentence(str(form["description"])),
        values=VALUES.get(key) or " or ".join(_valid_values(form)),
        default=default,
        example=_example(key),
    )


def _example(key: str) -> str:
    section, _, name = key.partition(".")
    return f"{section}: {{{EXAMPLES[key]}}}" if name and section != "space" else EXAMPLES[key]


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:].rstrip(".") + "."


def _valid_values(form: Mapping[str, Any]) -> Iterator[str]:
    """Yield the valid values of a JSON Schema in words, one text per alternative."""
    if "anyOf" in form:
        for each in form["anyOf"]:
            yield from _valid_values(each)
        return
    if "enum" in form:
        yield "one of " + ", ".join(f"`{value}`" for value in form["enum"])
        return
    if "const" in form:
        yield f"`{form['const']}`"
        return
    match form["type"]:
        case "null":
            yield "`null`"
        case "boolean":
            yield "`true` or `false`"
        case "string" if form.get("format") == "date":
            yield "a day, YYYY-MM-DD"
        case "string":
            yield f"text of at most {form['maxLength']} characters" if "maxLength" in form else "text"
        case "integer" | "number" as kind:
            yield f"a {'whole ' if kind == 'integer' else ''}number{_bounds(form)}"
        case kind:
            raise ValueError(f"{kind}: no text for this type; keys of other types need an entry in VALUES; add one")


def _bounds(form: Mapping[str, Any]) -> str:
    low, above = form.get("minimum"), form.get("exclusiveMinimum")
    high, below = form.get("maximum"), form.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f" from {low:,} to {high:,}"
    bounds = (("of at least", low), ("above", above), ("at most", high), ("below", below))
    texts = [f"{words} {int(end) if end == int(end) else end:,}" for words, end in bounds if end is not None]
    return " " + " and ".join(texts) if texts else ""


def _yaml(value: Any) -> str:
    """Return a default as written in a space file."""
    return json.dumps(list(value) if isinstance(value, tuple) else value).strip('"')


if __name__ == "__main__":
    print(reference_text(), end="")
