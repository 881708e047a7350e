"""Choose the first points of a study from the best trials of an earlier one, and count what was learned from them.

The configurations of the earlier study are compared with the space of the new one, parameter by parameter. If both
studies forecast the same days of the same market, the trials of the earlier one have tried their luck on these days
too: their forecasts are copied, so that the significance tests include them. Days are the same if the market had the
same returns, so other names, sources and adjustments of a series do not matter.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from search.common.messages import format_value, shorten
from search.results.event_log import INTERRUPTED
from search.results.folder.links import check_folder
from search.results.predictions import EARLIER, MAX_ROWS, MAX_TEXT, read_forecasts
from search.results.reader import read_study
from search.space.parameters import DEFAULTS, Parameter, Value, effective_point
from search.space.sections import WarmStartConfig
from search.space.space import Space
from stockrnn.dataset.config import features_label
from stockrnn.evaluation.walk_forward import WalkForward
from stockrnn.io.storage import check_url, is_url, local_copy
from stockrnn.prices.series import Prices
from stockrnn.tasks.price import PRICE

__all__ = ["WarmStart", "read_warm_start"]

FILES = ("manifest.json", "space.yaml", "trials.jsonl")
FORECASTS = "predictions.parquet"
KEY = ("search", "warm_start")
MAX_LISTED = 3  # trials that a message names
MAX_RECORDED = 100  # trials whose misfits the manifest records
TOLERANCE = 1e-5  # between equal prices or returns: forecasts are stored with 32 bits, adjusted prices with few digits


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """What a new study takes from an earlier one.

    Attributes:
        points: the values of the varying parameters of its first trials, after the default configuration.
        note: one line for the user.
        entry: of the manifest.
        forecasts: forecasts of the earlier trials on validation days of the new study, by the name of the earlier study
            and trial: positions of the targets in the prices, and forecasts in the task's unit, each (days,).
    """

    points: Sequence[dict[str, Value]]
    note: str
    entry: Mapping[str, Any]
    forecasts: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(repr=False)


def read_warm_start(space: Space, prices: Prices, splits: WalkForward) -> WarmStart | None:
    """Return what `search.warm_start` of a new study's space asks for; None if it has no such key.

    If the key has points already, because the space is that of another study's folder, these are the points, and the
    earlier study need not exist any more.

    Raises:
        SpaceError: there is no earlier study, none of its configurations fits the space, or its validation days are in
            the test set.
        DamagedError: a file of the earlier study is damaged.
        StorageError: the URL of the earlier study cannot be read.
    """
    wanted = space.search.warm_start
    if wanted is None:
        return None
    if is_url(wanted.study):
        try:
            check_url(wanted.study)
        except ValueError as error:
            raise space.error(KEY, f"{wanted.study}: {error}") from None
    with local_copy(wanted.study, lambda name: name in FILES or name.startswith(f"{FORECASTS}/")) as folder:
        if (folder / "manifest.json").exists():
            check_folder(folder)
            return _Earlier(space, prices, splits, wanted, folder).read()
    if wanted.points is None:
        raise space.error(
            KEY, f"{wanted.study}: not a study, because manifest.json is missing; a study is a folder, for example "
            "results/all; check the path",
        )  # fmt: skip
    return WarmStart(
        points=wanted.points, forecasts={}, entry={"study": wanted.study, "found": False},
        note=f"warm start: {wanted.study} is not there, so the significance tests do not include its trials; its "
        f"{len(wanted.points)} configurations are tried first",
    )  # fmt: skip


class _Earlier:
    """The earlier study of a warm start.

    Args:
        space, prices, splits: of the new study.
        wanted: `search.warm_start` of the space.
        folder: of the earlier study, on this machine.
    """

    def __init__(
        self, space: Space, prices: Prices, splits: WalkForward, wanted: WarmStartConfig, folder: Path
    ) -> None:
        self._space, self._prices, self._splits, self._wanted, self._folder = space, prices, splits, wanted, folder
        self._study = read_study(folder)
        self._dates = prices.dates.astype("datetime64[D]")
        self._actual = self._study.task.actual(space.series(prices))

    def read(self) -> WarmStart:
        tried, left_out = ({}, {}) if self._wanted.points is not None else self._choose()
        points = self._wanted.points if self._wanted.points is not None else list(tried.values())
        forecasts, days = self._count()
        trials = [end.trial_id for end in self._study.log.finished]
        entry = {
            "study": self._wanted.study, "name": self._study.manifest["name"], "found": True, "trials": trials,
            "counted": len(forecasts), "days": days, "tried": list(tried),
            "left_out": dict(list(left_out.items())[:MAX_RECORDED]),
        }  # fmt: skip
        return WarmStart(
            points=points, note=self._describe(entry, len(points), left_out), entry=entry, forecasts=forecasts
        )

    def _choose(self) -> tuple[dict[str, dict[str, Value]], dict[str, str]]:
        """Return the points to try and the misfits of better trials in words, each by trial id, best first."""
        space, place = self._space, self._wanted.study
        limit = min(self._wanted.top, max(0, space.requested_samples - 1 - len(space.initial)))
        scored = [trial for trial in self._study.scored if trial.status != INTERRUPTED]
        if not scored:
            raise space.error(KEY, f"{place}: no trial has a score yet; a warm start needs one; name another study")
        seen: set[frozenset[tuple[str, Any]]] = set()
        tried: dict[str, dict[str, Value]] = {}
        left_out: dict[str, str] = {}
        fits = False
        for trial in scored:
            if len(tried) == limit:
                break
            values = self._complete(trial.point)
            if space.is_default(values):  # it is tried in any case
                fits = True
                continue
            point, problems = fit_point(space, values)
            if problems:
                left_out[trial.trial_id] = ", ".join(problems)
                continue
            fits = True
            if (effective := effective_point(point)) not in seen:
                seen.add(effective)
                tried[trial.trial_id] = {one.name: point[one.name] for one in space.varying if one.name in point}
        if not fits and limit:
            raise space.error(
                KEY, f"{place}: none of its {len(scored)} configurations fits this space: {_list_misfits(left_out)}; "
                "change the domains of these parameters, or remove warm_start",
            )  # fmt: skip
        return tried, left_out

    def _complete(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of all parameters of an earlier trial."""
        known, space = self._study.known_space, self._space
        varies = any(parameter.name == "features" for parameter in space.parameters)
        # Features that neither study varies belong to the market.
        features = features_label(known.data.features if varies and known else space.data.features)
        return {**DEFAULTS, "features": features, **(self._study.manifest.get("defaults") or {}), **point}

    def _count(self) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], int]:
        """Return the forecasts of the earlier trials on the same days, and the number of these days.

        Raises:
            SpaceError: the earlier study has chosen its configurations on days of the test set.
        """
        validation = np.concatenate(
            [np.arange(one.validation.start, one.validation.stop) for one in self._splits.folds]
        )
        block = np.arange(self._splits.test.start, self._splits.test.stop)
        found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        counted: set[int] = set()
        for name, days in self._forecasts():
            if (leaked := self._match(days, block)[0]).size:
                first, last = self._dates[leaked[0]], self._dates[leaked[-1]]
                raise self._space.error(
                    KEY, f"{self._wanted.study}: has ranked its configurations on {leaked.size} days of this study's "
                    f"test set ({first} to {last}); nothing may be learned from the test set; use a study that was "
                    "validated on earlier days, or a smaller data.test_size",
                )  # fmt: skip
            targets, own = self._match(days, validation)
            if not targets.size or not self._counts:
                continue
            counted |= set(targets.tolist())
            forecast = days["forecast"][own]
            if self._study.task is PRICE:  # another adjustment for dividends and splits
                forecast = forecast * (self._actual[targets] / days["actual"][own])
            found[f"{self._study.manifest['name']}/{name}"[-MAX_TEXT:]] = targets, forecast
        return found, len(counted)

    @property
    def _counts(self) -> bool:
        """Whether both studies forecast the same quantity."""
        study, space = self._study, self._space
        estimator = study.sections.get("data", {}).get("estimator", "parkinson")
        same = study.horizon == space.data.horizon and study.task is space.task
        return same and (space.task.name != "volatility" or estimator == space.data.estimator)

    def _forecasts(self) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        """Yield name and days of all trials of the earlier study, and of those that it has counted itself."""
        for split in ("validation", EARLIER):
            yield from read_forecasts(self._folder / FORECASTS, split, max_days=MAX_ROWS).items()

    def _match(self, days: Mapping[str, np.ndarray], targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions in the prices of the targets that are the same days of the same market, and in `days`.

        Both are empty if fewer than half of the days with the same date have the same return.
        """
        _, own, mine = np.intersect1d(days["date"].astype("datetime64[D]"), self._dates[targets], return_indices=True)
        mine = targets[mine]
        actual, rival = days["actual"][own].astype(float), days["rival"][own].astype(float)
        horizon = self._study.horizon
        same = np.isclose(actual, self._actual[mine], rtol=TOLERANCE, atol=0)
        if self._study.task is PRICE:  # the rival's forecast is the last close
            with np.errstate(divide="ignore", invalid="ignore"):
                returns = self._actual[mine] / self._actual[mine - horizon]
                same |= np.isclose(actual / rival, returns, rtol=TOLERANCE, atol=0)
        if not same.size or same.mean() < 0.5:
            same[:] = False
        return mine[same], own[same]

    def _describe(self, entry: Mapping[str, Any], points: int, left_out: Mapping[str, str]) -> str:
        named = f" ({', '.join(entry['tried'])})" if entry["tried"] else ""
        parts = [f"warm start: {points} configurations of {self._wanted.study}{named} are tried first"]
        if left_out:
            parts.append(f"left out: {_list_misfits(left_out)}")
        if entry["days"]:
            parts.append(
                f"the significance tests include {entry['counted']} earlier trials, which have tried their luck on "
                f"{entry['days']} validation days of this study"
            )
        else:
            parts.append(
                "it forecasts other days or another market, so the significance tests do not include its trials"
            )
        return "; ".join(parts)


def fit_point(space: Space, values: Mapping[str, Any]) -> tuple[dict[str, Value], list[str]]:
    """Return the complete point of a space with the values of another space's trial.

    Args:
        values: of all parameters.

    Returns:
        The point, and the parameters that do not fit, in words. The point is complete only if all parameters fit.
    """
    effective = dict(effective_point(values))
    point: dict[str, Value] = {}
    problems: list[str] = []
    for parameter in space.parameters:
        if not parameter.applies(point):
            continue
        name = parameter.name
        # A value without effect may be outside: the one that replaces it is tried as well.
        inside = [value for value in (values[name], effective[name]) if parameter.contains(value)]
        point[name] = _convert(parameter, inside[0]) if inside else values[name]
        if not inside:
            problems.append(f"{name} is {format_value(values[name])}, outside of its domain")
    if problems:
        return point, problems
    mine = dict(effective_point({"features": features_label(space.data.features), **point}))
    named = {parameter.name for parameter in space.parameters}
    for name, value in effective.items():
        if name not in mine:
            problems.append(f"{name} is {format_value(value)}, which this space does not have")
        elif mine[name] != value:
            where = "at such a point" if name in named else "in this space"
            problems.append(f"{name} is {format_value(value)}, and {format_value(mine[name])} {where}")
    return point, problems


def _convert(parameter: Parameter, value: Any) -> Value:
    """Return a value as a sampler of the space would propose it."""
    if parameter.kind in ("constant", "choice"):
        return next(known for known in parameter.values if known == value)
    return int(value) if parameter.kind == "int" else float(value)


def _list_misfits(left_out: Mapping[str, str]) -> str:
    listed = [f"{trial_id} ({shorten(text, 200)})" for trial_id, text in list(left_out.items())[:MAX_LISTED]]
    return ", ".join(listed) + (f" and {len(left_out) - MAX_LISTED} more" if len(left_out) > MAX_LISTED else "")
