"""Run prepared studies in their folders or behind URLs: for the command line and for Python."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from search.cli.options import OptionError, RunOptions
from search.cli.prepare import PreparedStudy
from search.common.credentials import strip_credentials
from search.results.folder.remote_sync import MANIFEST, Mirror, mirrored
from stockrnn.io.files import suggest_folder
from stockrnn.io.storage import RemoteFolder, check_url, is_url

if TYPE_CHECKING:
    from search.study.executor import ExecutorFactory
    from search.study.restart import Restarter
    from search.study.study import Outcome

__all__ = ["check_place", "check_study", "check_writable", "is_study", "results_folder", "run_prepared"]


def check_place(option: str, place: str) -> None:
    """Raise OptionError if a place is a URL that cannot be used."""
    if is_url(place):
        try:
            check_url(place)
        except ValueError as error:
            raise OptionError(f"{option} {place}: {error}") from None


def is_study(place: str) -> bool:
    """Return whether a study was begun in a folder or behind a URL."""
    return MANIFEST in RemoteFolder(place).names() if is_url(place) else os.path.exists(Path(place, MANIFEST))


def check_study(option: str, place: str) -> None:
    """Raise OptionError if there is no study in a folder or behind a URL."""
    if not is_study(place):
        near = "check the path" if is_url(place) else suggest_folder(place, MANIFEST)
        fix = near if near.startswith("did") else f"{near}, or start a new study"
        raise OptionError(
            f"{option} {place}: not a study, because manifest.json is missing; a study is a folder, for example "
            f"results/all; {fix}"
        )


def check_writable(output: Path) -> None:
    """Raise OptionError if files cannot be written in a folder, which is created if it does not exist."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise OptionError(f"--output {output}: cannot be written ({error.strerror}); choose another folder") from None


@contextmanager
def results_folder(place: str, note: Callable[[str], None], *, resume: bool) -> Iterator[tuple[Path, Mirror | None]]:
    """Provide the results folder of a study on this machine, and its mirror if the study is stored behind a URL.

    Args:
        place: folder or URL of the study, as the user names it.
        note: shows a line to the user.
        resume: copy the study's files from the URL.
    """
    if not is_url(place):
        yield Path(place), None
        return
    with mirrored(place, note) as mirror:
        mirror.fetch() if resume else mirror.clear()
        yield mirror.folder, mirror


def run_prepared(
    study: PreparedStudy, folder: Path, mirror: Mirror | None, options: RunOptions, *, command: str,
    restarter: "Restarter | None" = None, embedded: bool = False,
) -> "Outcome":  # fmt: skip
    """Run a new study, or continue the one of `options.resume`.

    Args:
        study: checked.
        folder, mirror: of `results_folder`.
        options: of the call.
        command: the call, for the manifest.
        restarter: restarts the command if Ray dies, or None.
        embedded: this process is not the study's own; see `search.study.study.Options`.

    Raises:
        UserError: see `search.study.study.run_study`.
    """
    from search.study.study import Options, run_study

    return run_study(
        study.space, study.prices, study.splits,
        Options(
            folder=folder, command=strip_credentials(command), mirror=mirror,
            executor=_executor(options, restarter), time_budget=options.time_budget, quiet=options.quiet,
            resume=options.resume is not None, reopen_test=options.reopen_test, embedded=embedded,
            language=options.language, warm_start=study.warm_start,
        ),
    )  # fmt: skip


def _executor(options: RunOptions, restarter: "Restarter | None") -> "ExecutorFactory":
    if options.in_process:
        from search.study.in_process_executor import in_process_executor

        return in_process_executor
    from search.study.ray_executor import ray_executor

    return partial(
        ray_executor, address=options.address, insecure=options.insecure, niceness=options.niceness,
        restarter=restarter,
    )  # fmt: skip
