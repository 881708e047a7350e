"""The command line: `python -m search.run SPACE.yaml`."""

import argparse
import json
import os
import re
import shlex
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from search.cli.options import OUTPUT, OptionError, access, niceness, overrides, parser, resuming, seconds
from search.terminal.tty import AT_ONCE, INTERRUPTED

if TYPE_CHECKING:
    from search.cli.prepare import Plan
    from search.results.remote_sync import Mirror
    from search.space.space import Space
    from search.study.restart import Restart
    from stockrnn.dataset.walk_forward import WalkForward
    from stockrnn.prices.series import Prices


__all__ = ["main"]

DONE, NOTHING_FINISHED, WRONG_INPUT = 0, 1, 2  # and INTERRUPTED


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = parser().parse_args(arguments)
    if options.json_schema:
        from search.space.json_schema import schema_text

        print(schema_text(), end="")
        return DONE
    if options.space is None and options.resume is None:
        print(
            "python -m search.run: a space file is missing; name one, as in spaces/smoke.yaml",
            file=sys.stderr,
        )
        return WRONG_INPUT
    from search.common.credentials import strip_credentials
    from search.common.errors import UserError
    from search.common.messages import one_line
    from search.space.document import SpaceError
    from search.study.restart import restarted
    from stockrnn.io.storage import StorageError

    try:
        return _run(options, restarted(alone=arguments is None))
    except SpaceError as error:
        print(*map(strip_credentials, error.problems), sep="\n", file=sys.stderr)
    except StorageError as error:
        print(
            f"{one_line(str(error))}; results are kept there; check the URL, its keys and the way to it",
            file=sys.stderr,
        )
    except UserError as error:
        print(*(one_line(strip_credentials(line)) for line in str(error).split("\n")), sep="\n", file=sys.stderr)
    except KeyboardInterrupt:  # before the study took over
        print(AT_ONCE, file=sys.stderr)
        return INTERRUPTED
    return WRONG_INPUT


def _run(options: argparse.Namespace, restart: "Restart") -> int:
    from search.cli.prepare import planned, show_plans
    from search.space.space import load_space
    from search.tracking.dispatcher import check_installed
    from stockrnn.io.storage import check_url, is_url

    budget = seconds(options.time_budget, "--time-budget")
    most = options.max_concurrent
    if most is not None and not re.fullmatch(r"0*[1-9]\d{0,5}", most):
        raise OptionError(f"--max-concurrent {most}: is no number of trials; it is a whole number, at least 1; write 1")
    if options.insecure and options.address is None:
        raise OptionError("--insecure: stands without --address; it is about joining a cluster; drop it")
    for option, place in (("--output", options.output), ("--resume", options.resume)):
        if place and is_url(place):
            try:
                check_url(place)
            except ValueError as error:
                raise OptionError(f"{option} {place}: {error}") from None
    niceness(options)
    prices_by = access(options)
    options.restart, options.environment = restart, dict(os.environ)
    going = restart.running if restart.running and _is_study(restart.running) else None
    left = budget if restart.budget is None else restart.budget
    if going and not restart.several and not options.resume:
        return _go_on(resuming(options, going), left, most)
    if options.resume:
        return _go_on(options, left, most)
    space = load_space(options.space, overrides(options))
    check_installed(space)
    if options.dry_run:
        show_plans(options, space.studies(), prices_by)
        return DONE
    begun = len(restart.ended) + bool(going)
    plans = [planned(options, each, prices_by) for each in space.studies()[begun:]]
    if not is_url(options.output):
        _check_writable(Path(options.output))
    if not begun and len(plans) == 1:
        return _begin(options, *plans[0], budget, most)
    return _studies(options, space, going, plans, budget, most)


def _studies(
    options: argparse.Namespace, space: "Space", going: str | None, plans: Sequence["Plan"], budget: float | None,
    most: str | None,
) -> int:  # fmt: skip
    """Several studies, one after another on one Ray, and their comparison.

    Args:
        going: the place of the one that ran when Ray died, or None.
    """
    from search.cluster.ray_session import connect_ray
    from search.report.comparison import write_comparison
    from search.results.remote_sync import work_folder
    from stockrnn.io.storage import RemoteFolder, is_url, join_path

    restart = options.restart
    places = [*restart.ended, *([going] if going else []), *(place for *_, place in plans)]
    codes = [restart.code]
    with connect_ray(options.address, insecure=options.insecure, niceness=niceness(options)):
        for number in range(len(restart.ended), len(places)):
            options.restart = replace(
                restart, ended=tuple(places[:number]), running=places[number], code=max(codes), several=True
            )
            if going and places[number] == going:
                _show(f"Study {number + 1} of {len(places)}: goes on")
                left = budget if restart.budget is None else restart.budget
                codes.append(_go_on(resuming(options, going), left, most))
            else:
                plan = plans[number - len(places)]
                _show(f"Study {number + 1} of {len(places)}: {plan[0].name}, {plan[0].data.ticker}")
                codes.append(_begin(options, *plan, budget, most))
            _show("")
            if codes[-1] == INTERRUPTED:
                break
    folders = [work_folder(place) if is_url(place) else Path(place) for place in places]
    begun = [folder for folder in folders if (folder / "manifest.json").exists()]
    name = f"{space.name}.html"
    if is_url(options.output):
        page = write_comparison(begun, folders[0].parent / name)
        RemoteFolder(options.output).write(name, page.read_bytes())
    else:
        write_comparison(begun, Path(options.output) / name)
    _show(f"{len(begun)} studies, side by side: {join_path(options.output, name)}")
    return max(codes)


def _begin(
    options: argparse.Namespace, space: "Space", prices: "Prices", splits: "WalkForward", place: str,
    budget: float | None, most: str | None,
) -> int:  # fmt: skip
    """A study that is new, in a folder or behind a URL."""
    from search.results.remote_sync import mirrored
    from stockrnn.io.storage import is_url

    if not is_url(place):
        return _study(options, space, prices, splits, Path(place), budget, most)
    with mirrored(place, _show) as mirror:
        mirror.clear()
        return _study(options, space, prices, splits, mirror.folder, budget, most, mirror)


def _go_on(options: argparse.Namespace, budget: float | None, most: str | None) -> int:
    """Resume a study, in a folder or behind a URL."""
    from search.results.remote_sync import mirrored
    from stockrnn.io.storage import is_url

    place = options.resume
    if options.output != OUTPUT or options.name is not None:
        raise OptionError(f"--resume {place}: stands beside --output or --name; a study stays where it is; drop them")
    if not _is_study(place):
        raise OptionError(
            f"--resume {place}: is no study, it has no manifest.json; a study is named by its folder, as in "
            f"results/all; check the path, or start it anew"
        )
    if not is_url(place):
        return _resume(options, Path(place), budget, most)
    with mirrored(place, _show) as mirror:
        mirror.fetch()
        return _resume(options, mirror.folder, budget, most, mirror)


def _is_study(place: str) -> bool:
    from search.results.remote_sync import MANIFEST
    from stockrnn.io.storage import RemoteFolder, is_url

    return MANIFEST in RemoteFolder(place).names() if is_url(place) else os.path.exists(Path(place, MANIFEST))


def _resume(
    options: argparse.Namespace, folder: Path, budget: float | None, most: str | None, mirror: "Mirror | None" = None
) -> int:
    from search.cli.dry_run import plan
    from search.results.links import check_folder
    from search.results.resume import changes
    from search.results.schemas import NEEDED, read_manifest
    from search.space.space import load_space
    from search.tracking.dispatcher import check_installed
    from stockrnn.prices.snapshot import read_prices

    check_folder(folder)
    manifest = read_manifest(folder / "manifest.json", NEEDED)
    laid = [*overrides(options), ("name", json.dumps(manifest.get("name")), "--resume")]
    space = load_space(options.space or str(folder / "space.yaml"), laid)
    check_installed(space)
    try:
        prices, _ = read_prices(folder / "prices.parquet")
    except FileNotFoundError:
        raise OptionError(f"{folder}: has no prices.parquet; a study keeps its prices there; copy it back") from None
    if (different := changes(manifest, space, prices)) and not options.force:
        raise OptionError(
            "\n".join(f"--resume {options.resume}: {what}" for what in different)
            + f"\n--resume {options.resume}: a study goes on as it began, or its trials cannot be compared; "
            "undo this, begin another study, or add --force"
        )
    splits = space.split(prices)
    if options.dry_run:
        print(plan(space, prices, splits))
        return DONE
    _check_writable(folder)
    return _study(options, space, prices, splits, folder, budget, most, mirror)


def _study(
    options: argparse.Namespace, space: "Space", prices: "Prices", splits: "WalkForward", folder: Path,
    budget: float | None, most: str | None, mirror: "Mirror | None" = None,
) -> int:  # fmt: skip
    from search.cli.summary import summary
    from search.common.credentials import strip_credentials
    from search.common.messages import one_line
    from search.study.restart import Restarter

    signal.signal(signal.SIGTERM, _interrupt)  # while Ray starts, as Ctrl-C does; then the study's own handlers stand
    import search.study.study as study

    place = mirror.url if mirror else str(folder)
    restarter = Restarter(
        now=replace(options.restart, running=place), environment=options.environment, address=options.address,
        quiet=options.quiet, folder=folder,
    ) if options.restart.alone else None  # fmt: skip
    outcome = study.run_study(
        space, prices, splits,
        study.Options(
            folder=folder, mirror=mirror,
            command=strip_credentials(shlex.join(["python", "-m", "search.run", *sys.argv[1:]])),
            max_concurrent=None if most is None else int(most), time_budget=budget, address=options.address,
            insecure=options.insecure, niceness=niceness(options), restarter=restarter, quiet=options.quiet,
            resume=bool(options.resume), reopen_test=options.reopen_test,
        ),
    )  # fmt: skip
    _show(summary(space, outcome, folder, place))
    if outcome.failure:
        print(one_line(outcome.failure), file=sys.stderr)
    if outcome.interrupted:
        return INTERRUPTED
    succeeded = any(end.status in ("complete", "stopped", "diverged") for end in outcome.ends)
    return DONE if succeeded and not outcome.failure else NOTHING_FINISHED


def _show(text: str) -> None:
    try:
        print(text, flush=True)
    except OSError:  # whoever read has gone; the study's folder holds it all, and Python would complain as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _check_writable(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise OptionError(f"--output {output}: cannot be written ({error.strerror}); choose another folder") from None


if __name__ == "__main__":
    sys.exit(main())
