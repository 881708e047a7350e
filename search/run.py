"""The command line `python -m search.run SPACE.yaml`."""

import os
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from search.cli.options import RunOptions, read_options
from search.common.errors import UserError
from search.terminal.tty import ABORT_MESSAGE, INTERRUPTED
from stockrnn.io.terminal import escape_unencodable

if TYPE_CHECKING:
    from search.cli.prepare import PreparedStudy
    from search.results.folder.remote_sync import Mirror
    from search.study.restart import Restarter, RestartState

__all__ = ["main"]

DONE, NOTHING_FINISHED, WRONG_INPUT = 0, 1, 2  # and INTERRUPTED


@dataclass(frozen=True, kw_only=True)
class _Command:
    """One call of the command line.

    Attributes:
        restart: the state that it has left for itself when its Ray died.
        environment: of the process before Ray changed it; None: the process does not belong to this command alone and
            must not be replaced.
        command_line: for the manifest.
    """

    options: RunOptions
    restart: "RestartState"
    environment: Mapping[str, str] | None
    command_line: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    escape_unencodable()
    try:
        options = read_options(arguments)
        if options.json_schema:
            from search.space.json_schema import schema_text

            print(schema_text(), end="")
            return DONE
        from search.study.restart import read_restart_state

        restart = read_restart_state()
        environment = dict(os.environ) if arguments is None else None
        command_line = shlex.join(["python", "-m", "search.run", *(sys.argv[1:] if arguments is None else arguments)])
        return _run(_Command(options=options, restart=restart, environment=environment, command_line=command_line))
    except UserError as error:
        _print_error(error)
    except KeyboardInterrupt:  # before the study's own signal handlers
        print(ABORT_MESSAGE, file=sys.stderr)
        return INTERRUPTED
    return WRONG_INPUT


def _print_error(error: UserError) -> None:
    from search.common.credentials import strip_credentials
    from search.common.messages import one_line
    from stockrnn.io.storage import StorageError

    fix = "; results are stored there; check the URL, keys and network" if isinstance(error, StorageError) else ""
    lines = (one_line(strip_credentials(line)) + fix for line in str(error).split("\n"))
    print(*lines, sep="\n", file=sys.stderr)


def _run(command: _Command) -> int:
    from search.cli.launch import check_place, check_writable, is_study
    from search.cli.prepare import prepare_studies, show_plans
    from search.space.space import load_space
    from search.tracking.dispatcher import check_installed
    from stockrnn.io.storage import is_url

    options, restart = command.options, command.restart
    check_place("--output", options.output)
    if options.resume:
        check_place("--resume", options.resume)
    running = restart.running if restart.running and is_study(restart.running) else None
    if restart.budget is not None:
        options = replace(options, time_budget=restart.budget)
    if options.resume:
        return _resume(replace(command, options=options))
    if running and not restart.several:
        return _resume(replace(command, options=options.continuing(running)))
    assert options.space is not None
    space = load_space(options.space, options.overrides)
    check_installed(space)
    if options.dry_run:
        show_plans(options, space.studies())
        return DONE
    begun = len(restart.ended) + bool(running)
    studies = prepare_studies(options, space.studies()[begun:])
    if not is_url(options.output):
        check_writable(Path(options.output))
    if not begun and len(studies) == 1:
        return _start(command, studies[0])
    return _run_several(command, space.name, running, studies)


def _run_several(command: _Command, name: str, running: str | None, studies: Sequence["PreparedStudy"]) -> int:
    """Run several studies, one after another on one Ray, and compare them.

    Args:
        name: of the comparison's page.
        running: the place of the study that ran when Ray died, or None.
        studies: those that have not started.
    """
    from search.cluster.ray_session import connect_ray
    from search.common.messages import one_line
    from search.report.comparison import write_comparison
    from search.results.folder.remote_sync import work_folder
    from stockrnn.io.storage import RemoteFolder, is_url, join_path

    options, restart = command.options, command.restart
    places = [*restart.ended, *([running] if running else []), *(study.place for study in studies)]
    codes = [restart.code]
    ray = connect_ray(options.address, insecure=options.insecure, niceness=options.niceness)
    with nullcontext() if options.in_process else ray:
        for number in range(len(restart.ended), len(places)):
            place = places[number]
            state = replace(restart, ended=tuple(places[:number]), running=place, code=max(codes), several=True)
            this = replace(command, restart=state)
            if place == running:
                _show(f"Study {number + 1} of {len(places)}: continues")
                budget = options.time_budget if restart.budget is None else restart.budget
                codes.append(_resume(replace(this, options=replace(options.continuing(place), time_budget=budget))))
            else:
                study = studies[number - len(places)]
                series = one_line(study.space.data.ticker or study.space.data.source)
                _show(f"Study {number + 1} of {len(places)}: {study.space.name}, {series}")
                codes.append(_start(this, study))
            _show("")
            if codes[-1] == INTERRUPTED:
                break
    folders = [work_folder(place) if is_url(place) else Path(place) for place in places]
    begun = [folder for folder in folders if (folder / "manifest.json").exists()]
    page = f"{name}.html"
    if is_url(options.output):
        written = write_comparison(begun, folders[0].parent / page)
        RemoteFolder(options.output).write(page, written.read_bytes())
    else:
        write_comparison(begun, Path(options.output) / page)
    _show(f"{len(begun)} studies, compared: {join_path(options.output, page)}")
    return max(codes)


def _start(command: _Command, study: "PreparedStudy") -> int:
    """Run a new study, in a folder or behind a URL."""
    from search.cli.launch import results_folder

    with results_folder(study.place, _show, resume=False) as (folder, mirror):
        return _run_study(command, study, folder, mirror)


def _resume(command: _Command) -> int:
    """Continue a study, in a folder or behind a URL."""
    from search.cli.launch import check_study, check_writable, results_folder
    from search.cli.prepare import prepare_resumed

    place = command.options.resume
    assert place is not None
    check_study("--resume", place)
    with results_folder(place, _show, resume=True) as (folder, mirror):
        study = prepare_resumed(command.options, folder)
        if command.options.dry_run:
            print(study.plan())
            return DONE
        check_writable(folder)
        return _run_study(command, study, folder, mirror)


def _run_study(command: _Command, study: "PreparedStudy", folder: Path, mirror: "Mirror | None" = None) -> int:
    from search.cli.launch import run_prepared
    from search.cli.summary import summary
    from search.common.messages import one_line

    signal.signal(signal.SIGTERM, _interrupt)  # like Ctrl-C while Ray starts; the study sets its own handlers later
    options = command.options
    place = mirror.url if mirror else str(folder)
    restarter = _restarter(command, place, folder)
    outcome = run_prepared(study, folder, mirror, options, command=command.command_line, restarter=restarter)
    _show(summary(study.space, outcome, folder, place, options.language))
    if outcome.failure:
        print(one_line(outcome.failure), file=sys.stderr)
    if outcome.interrupted:
        return INTERRUPTED
    succeeded = any(end.status in ("default", "complete", "stopped", "diverged") for end in outcome.ends)
    return DONE if succeeded and not outcome.failure else NOTHING_FINISHED


def _restarter(command: _Command, place: str, folder: Path) -> "Restarter | None":
    from search.study.restart import Restarter

    if command.environment is None:
        return None
    options = command.options
    return Restarter(
        state=replace(command.restart, running=place), environment=command.environment, address=options.address,
        quiet=options.quiet, folder=folder,
    )  # fmt: skip


def _show(text: str) -> None:
    try:
        print(text, flush=True)
    except OSError:  # nobody reads the output any more; without this, Python would print an error when it exits
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
