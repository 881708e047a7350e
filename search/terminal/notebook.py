"""Show the progress of a study in the output of a notebook cell."""

import sys
from html import escape
from typing import Any

from rich.text import Text

__all__ = ["NotebookView", "in_notebook"]


class NotebookView:
    """A progress bar and lines of text that replace each other; it has the methods of `rich.live.Live`.

    Args:
        total: number of trials.
    """

    def __init__(self, total: int) -> None:
        self._total, self._ended = total, 0
        self._handle: Any = None

    def start(self) -> None:
        """Show an empty bar."""
        from IPython.display import display

        self._handle = display(self._bundle(""), raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def count(self, ended: int) -> None:
        """Set the number of trials that have ended, for the next update."""
        self._ended = ended

    def update(self, text: Text, *, refresh: bool = True) -> None:
        """Replace the lines."""
        self._handle.update(self._bundle(text.plain), raw=True)

    def stop(self) -> None:
        """Leave what is shown in the notebook."""

    def _bundle(self, text: str) -> dict[str, str]:
        bar = f'<progress value="{self._ended}" max="{self._total}" style="width: 20em"></progress>'
        return {"text/plain": text or "starting", "text/html": f"<div>{bar}<pre>{escape(text)}</pre></div>"}


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module else None
    return hasattr(shell, "kernel")
