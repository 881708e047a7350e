"""The things that all parts of a running study share."""

from dataclasses import dataclass
from pathlib import Path

from search.results.event_log import Record
from search.results.folder.remote_lock import LeaseView
from search.results.folder.remote_sync import Mirror
from search.space.space import Space
from search.terminal.progress import Progress
from search.tune.stopper import Stop
from stockrnn.evaluation.walk_forward import WalkForward
from stockrnn.prices.series import Prices

__all__ = ["StudyContext"]


@dataclass(frozen=True, kw_only=True)
class StudyContext:
    """A study's inputs, its folder, and the objects that follow its course.

    Attributes:
        folder: on this machine.
        mirror: copies the folder to a URL; None: the study is stored in the folder alone.
        record: `trials.jsonl`.
        stop: tells whether the study must end early.
    """

    space: Space
    prices: Prices
    splits: WalkForward
    folder: Path
    mirror: Mirror | None
    record: Record
    progress: Progress
    stop: Stop

    @property
    def place(self) -> str:
        """The folder or URL of the results, as the user names it."""
        return self.mirror.url if self.mirror else str(self.folder)

    @property
    def checkpoints(self) -> str:
        """The folder or URL that holds a folder of checkpoints for each running trial."""
        return self.mirror.checkpoints if self.mirror else str(self.folder.resolve() / "checkpoints")

    @property
    def lease(self) -> LeaseView | None:
        """The lease on the URL that workers check before they write checkpoints."""
        return self.mirror.lease if self.mirror else None
