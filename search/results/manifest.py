"""Write `manifest.json`: versions, data, folds, openings of the test set, and the verdict of a study."""

import errno
import importlib.metadata
import platform
import shutil
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import yaml

from search.results.folder.lock import locked
from search.results.predictions import Predictions
from search.results.schemas import MANIFEST, MAX_MANIFEST_BYTES, to_json
from search.space.parameters import FIELDS
from search.space.plugins import used_plugins
from search.space.space import Space
from stockrnn.evaluation.walk_forward import WalkForward
from stockrnn.io.files import fsync_path, write_atomic
from stockrnn.prices.series import Prices
from stockrnn.prices.snapshot import write_prices

__all__ = [
    "Openings",
    "find_scored_opening",
    "is_interrupted",
    "make_folder",
    "read_processor",
    "read_versions",
    "start_manifest",
    "write_manifest",
    "write_space",
]  # fmt: skip

Openings = Sequence[Mapping[str, Any]]  # of the test block, as `test_openings` holds them

PACKAGES = ("stockrnn-search", "torch", "ray", "optuna", "numpy")


def start_manifest(
    space: Space,
    prices: Prices,
    splits: WalkForward,
    command: str,
    start: str,
    baselines: Mapping[str, Mapping[str, float]],
    warm_start: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the manifest at the start of a study; dates are those of targets, in ISO 8601.

    `defaults` are the values of the parameters that the space does not name.
    """
    named = {parameter.name for parameter in space.parameters}
    defaults = {
        name: owner.model_fields[name].default
        for name, owner in FIELDS.items()
        if name not in named and name not in ("architecture", "features")
    }

    def dates(block: range) -> list[str]:
        return [str(prices.dates[block.start]), str(prices.dates[block.stop - 1])]

    return {
        "name": space.name,
        "command": command,
        "host": platform.node(),
        "platform": platform.platform(),
        "processor": read_processor(),
        "start": start,
        "end": None,
        "versions": read_versions(),
        "plugins": [asdict(plugin) for plugin in used_plugins(space)],
        "seed": space.seed,
        "space": yaml.safe_load(space.as_yaml()),
        "defaults": defaults,
        "data": asdict(prices.provenance),
        "folds": [{"train": dates(fold.train), "validation": dates(fold.validation)} for fold in splits.folds],
        "test": dates(splits.test),
        "replay": True,
        "test_openings": [],
        "resumes": [],
        "baselines": baselines,
        **({"warm_start": warm_start} if warm_start else {}),
    }


def read_processor() -> str:
    """Return the name of the processor: PyTorch chooses its kernels, which may round otherwise, by its instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


def is_interrupted(openings: Openings) -> bool:
    """Return whether the last opening of the test set has no scores, because the process was killed."""
    return bool(openings) and openings[-1].get("scores") is None


def find_scored_opening(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the last opening of the test set that has scores; empty if there is none."""
    scored = (opening for opening in reversed(manifest.get("test_openings") or []) if opening.get("scores") is not None)
    return next(scored, {})


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write `manifest.json`; a reader sees the old one or the new one. Unknown numbers are null."""
    content = to_json(MANIFEST, manifest, indent=2) + b"\n"
    if len(content) > MAX_MANIFEST_BYTES:
        content = to_json(MANIFEST, _short(manifest), indent=2) + b"\n"
    write_atomic(folder / "manifest.json", content, durable=True)


def _short(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest without the details of earlier openings and resumes; their number stays."""
    *earlier, last = manifest.get("test_openings") or [{}]
    return {
        **manifest,
        "test_openings": [*({"time": one.get("time"), "trials": one.get("trials")} for one in earlier), last],
        "resumes": [{"time": one.get("time"), "trials": one.get("trials")} for one in manifest.get("resumes") or []],
    }


def write_space(folder: Path, space: Space) -> None:
    """Write `space.yaml`, the space as resolved; a reader sees the old one or the new one."""
    write_atomic(folder / "space.yaml", space.as_yaml().encode(), durable=True)


def read_versions() -> dict[str, str | None]:
    """Python's version and those of the packages that decide results; None for a checkout that was not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def make_folder(
    folder: Path, space: Space, prices: Prices, manifest: Mapping[str, Any],
    earlier: Mapping[str, tuple[np.ndarray, np.ndarray]] = MappingProxyType({}),
) -> ExitStack:  # fmt: skip
    """Create the results folder atomically, and return the lock on it.

    Args:
        folder: of the study; its parents are created too.
        space, prices, manifest: written into it.
        earlier: forecasts of another study's trials, see `search.results.warm_start.WarmStart`.

    Raises:
        SpaceError: it exists.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".{uuid.uuid4().hex}")  # nobody guesses it and puts a link there
    part.mkdir()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, part, ignore_errors=True)
        stack.enter_context(locked(part, becomes=folder))
        write_prices(part / "prices.parquet", prices)
        write_space(part, space)
        write_manifest(part, manifest)
        predictions = Predictions(part / "predictions.parquet", space.task, space.series(prices))
        for name, (targets, forecast) in earlier.items():
            predictions.earlier(name, targets, forecast)
        predictions.flush()
        fsync_path(part / "prices.parquet")
        try:
            part.rename(folder)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
            raise space.error(("name",), f"{folder} was made meanwhile; choose another name") from None
        fsync_path(folder.parent)
        return stack.pop_all()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that was not installed
        return None
