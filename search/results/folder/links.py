"""Refuse links and special files in a results folder: writing through one would change files outside of it.

A folder may come from a stranger, and `--resume` deletes and overwrites files in it by their known names.
"""

import errno
import os
import re
import stat
from pathlib import Path

from search.common.errors import DamagedError
from search.common.messages import one_line

__all__ = ["check_folder"]

FILES = (
    "leaderboard.csv", "lock", "lock.json", "manifest.json", "prices.parquet", "report.html", "space.yaml",
    "study.journal", "trials.jsonl",
)  # fmt: skip
FOLDERS = ("checkpoints", "forecasters", "predictions.parquet", "ray", "tensorboard", "wandb")
IN_PLACE = ("lock", "study.journal", "trials.jsonl")  # all other files are replaced, which leaves a hard link as it is
FLAT = ("predictions.parquet",)  # it holds files only
CACHE = "ray"  # Ray Tune's own: removed unread when the study is resumed
OPTUNAS_LOCK = re.compile(r"study\.journal\.lock[0-9a-z.-]*")  # a link by design, and removed without following it
WANDB = "wandb"  # Weights & Biases makes links to its newest run
MAX_ENTRIES = 200_000
MAX_DEPTH = 16
RULE = "a study's files lie in its own folder, or writing them would change others"


def check_folder(folder: Path) -> None:
    """Check that a results folder holds only folders and plain files. The folder itself may be a link.

    No link is followed and no file is opened. A folder that does not exist passes.

    Raises:
        DamagedError: it holds anything else, or more than a study leaves; one line.
    """
    waiting, count = [(folder, 0)], 0
    while waiting:
        place, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise _error(place, f"is nested too deeply; a study makes at most {MAX_DEPTH} levels; remove it")
        for entry in _entries(place):
            count += 1
            if count > MAX_ENTRIES:
                raise _error(folder, f"holds over {MAX_ENTRIES:,} files; no study makes so many; remove the others")
            path = Path(entry.path)
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # a study that runs has removed it
                continue
            _check(path, path.relative_to(folder), status)
            if stat.S_ISDIR(status.st_mode) and path != folder / CACHE:
                waiting.append((path, depth + 1))


def _entries(place: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(place) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        why = os.strerror(error.errno or errno.EIO)
        raise _error(place, f"cannot be read ({why}); a study's files are its user's; change its permissions") from None


def _check(path: Path, inside: Path, status: os.stat_result) -> None:
    top = inside.parts[0]
    mode, at_top = status.st_mode, len(inside.parts) == 1
    if stat.S_ISLNK(mode):
        if (at_top and OPTUNAS_LOCK.fullmatch(top)) or (top == WANDB and not at_top and _leads_down(path)):
            return
        raise _error(path, f"is a link to {_target(path)}; {RULE}; put the file or folder itself there")
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise _error(path, f"is a {_kind(mode)}; {RULE}; remove it")
    folder = stat.S_ISDIR(mode)
    if at_top and not folder and top in FOLDERS:
        raise _error(path, "is a file; in a study's folder it is a folder; put that there, or remove it")
    if folder and ((at_top and (top in FILES or OPTUNAS_LOCK.fullmatch(top))) or (not at_top and top in FLAT)):
        raise _error(path, "is a folder; in a study's folder it is a file; put that there, or remove it")
    if at_top and top in IN_PLACE and status.st_nlink > 1:
        raise _error(path, f"has {status.st_nlink} names (hard links); {RULE}; replace it by a copy of itself")


def _leads_down(path: Path) -> bool:
    """Whether a link leads only to what is beside it or below, so that it stays in its folder."""
    target = os.readlink(path)
    return not os.path.isabs(target) and ".." not in Path(target).parts


def _target(path: Path) -> str:
    try:
        return one_line(os.readlink(path))
    except OSError:
        return "somewhere"


def _kind(mode: int) -> str:
    names = ((stat.S_ISFIFO, "pipe"), (stat.S_ISSOCK, "socket"), (stat.S_ISBLK, "device"), (stat.S_ISCHR, "device"))
    return next((name for test, name in names if test(mode)), "special file")


def _error(path: Path, text: str) -> DamagedError:
    return DamagedError(one_line(f"{path}: {text}"))
