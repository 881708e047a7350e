"""The spaces that come with the project: `spaces/` in the repository, `search/spaces/` where it is installed."""

import os
from pathlib import Path

__all__ = ["located", "shipped"]

HERE = Path(__file__).parents[1]


def shipped() -> dict[str, Path]:
    """Their files by what a user calls them, as in `spaces/smoke.yaml`."""
    folder = next((each for each in (HERE / "spaces", HERE.parent / "spaces") if each.is_dir()), HERE)
    return {f"spaces/{path.name}": path for path in sorted(folder.glob("*.yaml"))}


def located(path: str) -> str:
    """The file that a user means: their own or, where there is none, the shipped one of that name.

    Args:
        path: as the user wrote it; `smoke.yaml` and `spaces/smoke.yaml` name the same shipped space.

    Returns:
        The path as it was where it names neither.
    """
    if os.path.lexists(path):
        return path
    known = shipped()
    return str(known.get(path) or known.get(f"spaces/{path}") or path)
