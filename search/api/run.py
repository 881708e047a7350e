"""Run a study from Python, in a script, a notebook or a thread."""

import json
import logging
import warnings
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.api.process_state import preserve_process_state
from search.api.study import Study
from search.api.words import reworded_errors
from search.cli.launch import check_place, check_study, check_writable, results_folder, run_prepared
from search.cli.options import NICENESS, OUTPUT, OptionError, RunOptions
from search.cli.prepare import PreparedStudy, prepare_resumed, prepare_study
from search.common.errors import UserError
from search.common.messages import one_line, shorten
from search.space.space import load_space
from search.tracking.dispatcher import check_installed
from stockrnn.io.storage import is_url
from stockrnn.prices.readers.table import read_frame
from stockrnn.prices.request import Access
from stockrnn.prices.series import FRAME

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["StudyError", "resume_study", "run_study"]


class StudyError(UserError):
    """A study could not continue, for example because the disk is full. Its finished trials are saved."""


@reworded_errors()
def run_study(
    space: str | PathLike[str],
    *,
    prices: "pd.DataFrame | None" = None,
    overrides: Mapping[str, Any] | None = None,
    output: str | PathLike[str] = OUTPUT,
    workers: int | None = None,
    in_process: bool = False,
    time_budget: float | None = None,
    fit: bool = False,
    address: str | None = None,
    offline: bool = False,
    quiet: bool = False,
) -> Study:
    """Run a study to its end and return it, as `python -m search.run` does.

    Args:
        space: path of a space file, or the name of a built-in space such as `smoke.yaml`.
        prices: one row per session: dates in the index or a column, and the columns Open, High, Low, Close and Volume
            (optional); None: the prices are loaded from `data.source` of the space.
        overrides: values that replace those of the space by dotted key, as with `--set`; for example
            `{"search.num_samples": 10, "space.hidden_size": [8, 16]}`.
        output: folder or URL that holds the studies. The study's own folder in it has the name of the space.
        workers: number of trials that run side by side (`resources.workers`); None: as many as fit.
        in_process: run the trials in this process, without Ray. Small studies are faster this way.
        time_budget: seconds from the start of the first trial to the end of the search; None: no limit.
        fit: use smaller folds, a smaller test set and shorter windows if the series is too short for the space.
        address: address of a Ray cluster. None: the Ray that this process is connected to, otherwise a new one on this
            machine, which ends with the study.
        offline: use only downloads that are in the cache.
        quiet: show no progress and no notes about the prices.

    Returns:
        The study, also if no trial has a score; see its `verdict`.

    Raises:
        UserError: the space, the prices or an option is wrong, or the study exists already; the message has one line
            per error.
        StudyError: the study could not continue.
        KeyboardInterrupt: it was interrupted (Ctrl-C, or the stop button of a notebook). The finished trials are saved,
            and `open_study(...).resume()` continues.
    """
    given = None if prices is None else read_frame(prices)
    settings = _settings(overrides, workers)
    if given is not None:
        for key in ("data.source", "data.sources", "data.ticker", "data.tickers", "data.date_format"):
            if any(name == key for name, _, _ in settings):
                raise OptionError(f"overrides {key}: conflicts with prices, which is the series; remove one of them")
        values = {"source": FRAME, "date_format": None}
        settings += [(f"data.{key}", json.dumps(value), "prices") for key, value in values.items()]
    options = _options(
        space=fspath(space), overrides=settings, output=fspath(output), in_process=in_process,
        time_budget=time_budget, fit=fit, address=address, access=Access(offline=offline), quiet=quiet,
    )  # fmt: skip
    check_place("output", options.output)
    loaded = load_space(fspath(space), settings, has_prices=given is not None)
    check_installed(loaded)
    if len(names := loaded.studies()) > 1:
        raise OptionError(
            f"{fspath(space)}: names {len(names)} series; run_study runs one study; call it for each of them, with "
            'overrides={"data.source": ...} or overrides={"data.ticker": ...}'
        )
    study = prepare_study(options, names[0], given=given)
    if not is_url(options.output):
        check_writable(Path(options.output))
    shown = {
        "overrides": dict(overrides or {}) or None, "output": options.output if options.output != OUTPUT else None,
        "workers": workers, "in_process": in_process or None, "time_budget": time_budget, "fit": fit or None,
        "address": address,
    }  # fmt: skip
    arguments = [repr(fspath(space)), *(["prices=..."] if prices is not None else [])]
    arguments += [f"{name}={value!r}" for name, value in shown.items() if value is not None]
    return _run(study, options, f"search.run_study({', '.join(arguments)})")


@reworded_errors()
def resume_study(
    place: str, *, overrides: Mapping[str, Any] | None = None, workers: int | None = None, in_process: bool = False,
    time_budget: float | None = None, address: str | None = None, force: bool = False, reopen_test: bool = False,
    quiet: bool = False,
) -> Study:  # fmt: skip
    """Continue a study; see `search.Study.resume`."""
    settings = _settings(overrides, workers)
    options = _options(
        space=None, overrides=settings, resume=place, in_process=in_process,
        time_budget=time_budget, address=address, force=force, reopen_test=reopen_test, quiet=quiet,
    )  # fmt: skip
    check_study("resume", place)
    return _run(
        None, options, f"search.open_study({place!r}).resume({f'overrides={dict(overrides)}' if overrides else ''})"
    )


def _run(study: PreparedStudy | None, options: RunOptions, command: str) -> Study:
    """Run a new study, or the one that the options resume if `study` is None."""
    place = study.place if study else options.resume
    assert place is not None
    _import_study()
    if options.in_process:
        import torch  # noqa: F401  # before its number of threads is looked up
    elif options.address is None:
        from search.cluster.ray_session import connected_address

        options = replace(options, address=connected_address())

    def note(text: str) -> None:
        if not options.quiet:
            print(one_line(text))

    with preserve_process_state(), results_folder(place, note, resume=study is None) as (folder, mirror):
        prepared = study or prepare_resumed(options, folder)
        outcome = run_prepared(prepared, folder, mirror, options, command=command, embedded=True)
    if outcome.interrupted:
        raise KeyboardInterrupt
    if outcome.failure:
        raise StudyError(one_line(outcome.failure))
    return Study(folder, place)


def _import_study() -> None:
    """Import what a study needs, without the remarks of Ray and tqdm about widgets that a notebook lacks.

    Ray changes the environment when it is imported, so this comes before `preserve_process_state`.
    """
    logger = logging.getLogger("ray.widgets")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "IProgress not found")
            import search.study.study  # noqa: F401
    finally:
        logger.setLevel(level)


def _options(**given: Any) -> RunOptions:
    """Return the options after checks of those that a command line checks when it parses them."""
    budget = given["time_budget"]
    if budget is not None and not (isinstance(budget, int | float) and budget > 0):
        raise OptionError(
            f"time_budget={shorten(repr(budget))}: must be a number of seconds above 0; write for example 600"
        )
    if given["in_process"] and given["address"] is not None:
        raise OptionError(
            "in_process=True: conflicts with address; it runs all trials in this process; remove one of them"
        )
    return RunOptions(**given, niceness=NICENESS)


def _settings(overrides: Mapping[str, Any] | None, workers: int | None) -> list[tuple[str, str, str]]:
    """Return overrides of a space as (dotted key, YAML text, the argument as the user wrote it)."""
    settings = [(key, _yaml(key, value), f"overrides {key}={value}") for key, value in (overrides or {}).items()]
    if workers is not None:
        settings.append(("resources.workers", _yaml("resources.workers", workers), f"workers={workers}"))
    return settings


def _yaml(key: str, value: Any) -> str:
    """Return a value as JSON, which is YAML."""
    try:
        return json.dumps(value, default=lambda item: item.item())  # of NumPy
    except (TypeError, AttributeError, ValueError):
        raise OptionError(
            f"overrides {key}: {shorten(repr(value))}: cannot be written as YAML; use numbers, texts, lists and "
            "mappings"
        ) from None
