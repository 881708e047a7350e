"""Store the versions of a finalist: version 1 is that of the study, and each `--refit` adds one beside it.

Version 1 of rank 1 is the folder `forecasters/1`, version 2 is `forecasters/1-v2`.
"""

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from stockrnn.forecaster.files import DOCUMENT

if TYPE_CHECKING:
    from stockrnn.forecaster.forecaster import Forecaster

__all__ = ["VERSION", "find_versions", "save_version"]

VERSION = re.compile(r"([1-9][0-9]{0,8})-v([2-9]|[1-9][0-9]{1,8})")  # name of the folder of a refitted finalist


def find_versions(forecasters: Path, rank: int) -> dict[int, Path]:
    """Return the folders of the versions of a finalist by number, oldest first.

    Args:
        forecasters: the folder `forecasters` of a study.
        rank: of the finalist.
    """
    found = {1: forecasters / str(rank)}
    for entry in forecasters.iterdir():
        match = VERSION.fullmatch(entry.name)
        if match and int(match[1]) == rank and (entry / DOCUMENT).exists():  # an upload may have been cut short
            found[int(match[2])] = entry
    return dict(sorted(found.items()))


def save_version(forecaster: "Forecaster", forecasters: Path) -> Path:
    """Save a refitted finalist as its next version and return the version's folder. No existing version is changed.

    Raises:
        OSError: the folder cannot be written.
    """
    rank = forecaster.facts.rank
    folder = Path(tempfile.mkdtemp(prefix=".refit-", dir=forecasters))  # a killed process leaves no incomplete version
    try:
        forecaster.save(folder)
        folder.chmod(forecasters.stat().st_mode)  # mkdtemp makes it private
        taken = [int(match[2]) for entry in forecasters.iterdir() if (match := VERSION.fullmatch(entry.name))]
        number = max(taken, default=1) + 1
        while True:
            target = forecasters / f"{rank}-v{number}"
            try:
                os.rename(folder, target)  # fails if another process has just saved this version
            except OSError:
                if not target.exists():
                    raise
                number += 1
            else:
                return target
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
