"""Open a study and look at its results: leaderboard, forecasts, verdict and forecasters."""

import weakref
from collections.abc import Mapping
from contextlib import ExitStack
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.api.html import study_html
from search.api.words import in_python_words
from search.common.errors import UserError
from search.results.ranking import BASELINE, ENSEMBLE
from search.results.reader import read_study
from stockrnn.io.storage import check_url, is_url, local_copy

if TYPE_CHECKING:
    import pandas as pd

    from stockrnn.forecaster.forecaster import Forecaster

__all__ = ["Study", "open_study"]


class Study:
    """The results of a study, as they were when this object was made.

    Attributes:
        folder: results folder on this machine; it has `report.html`, `leaderboard.csv` and `trials.jsonl`.
        place: folder or URL of the study, as the user named it.
    """

    def __init__(self, folder: Path, place: str) -> None:
        self.folder, self.place = folder, place
        self._data = read_study(folder)

    @property
    def name(self) -> str:
        """Name of the study."""
        return str(self._data.manifest["name"])

    @property
    def state(self) -> str:
        """`done`, `interrupted`, `timed out` or `running`; a study whose process was killed is `running` as well."""
        return self._data.state

    @property
    def verdict(self) -> str:
        """Whether a trial beats the task's rival on validation and on the test set; for prices it is persistence."""
        return in_python_words(self._data.verdict)

    def leaderboard(self, *, baselines: bool = True) -> "pd.DataFrame":
        """Return the leaderboard, best row first.

        Args:
            baselines: with the rows that are no trials: the baselines and the average of the finalists. `baselines()`
                returns these rows alone.

        Returns:
            The columns of `leaderboard.csv`, which docs/reading.md explains. Counts and whole-number parameters are
            Int64, other numbers float64, truth values boolean, and the others text. A value that is not known is NA or
            NaN.
        """
        rows = [row for row in self._data.rows if baselines or row["status"] not in (BASELINE, ENSEMBLE)]
        return self._frame(rows)

    def baselines(self) -> "pd.DataFrame":
        """Return the rows of the leaderboard that are no trials: the baselines and the average of the finalists."""
        return self._frame([row for row in self._data.rows if row["status"] in (BASELINE, ENSEMBLE)])

    def predictions(self, split: str | None = None) -> "pd.DataFrame":
        """Return the daily forecasts of trials on validation, and of finalists and baselines on the test set.

        Args:
            split: `validation` or `test`; None: both.

        Returns:
            One row per trial and day, sorted: `trial_id` (for a baseline its name), `split`, `fold` (0: test set),
            `date` of the target (datetime64), and in price points (float64, rounded to 32 bits) `forecast`, `actual`
            and `rival`, the rival's forecast, for prices the close on the day of the forecast.

        Raises:
            UserError: the split is unknown, or a file is damaged.
        """
        from search.api.frames import predictions_frame

        if split not in (None, "validation", "test"):
            raise UserError(f"split={split!r}: is no split; splits are validation and test; write one of them")
        return predictions_frame(self.folder / "predictions.parquet", split)

    def prices(self) -> "pd.DataFrame":
        """Return the study's own copy of its prices, checked and repaired; the columns are those of `load_prices`.

        Raises:
            UserError: the file is missing or damaged.
        """
        from stockrnn.prices.frame import to_frame
        from stockrnn.prices.snapshot import read_prices

        try:
            return to_frame(read_prices(self.folder / "prices.parquet")[0])
        except FileNotFoundError:
            raise UserError(f"{self.place}: prices.parquet is missing; copy the study's folder again") from None

    def forecaster(self, rank: int = 1, *, version: int | None = None) -> "Forecaster":
        """Return a trained finalist; its method `predict` forecasts from a DataFrame of prices.

        Args:
            rank: rank among the finalists, starting at 1, the best one on validation.
            version: 1: as the study trained it; others: added by `stockrnn.forecast --refit`; None: the newest.

        Raises:
            UserError: there is no such finalist or version, or its files are damaged.
        """
        from stockrnn.forecaster.forecaster import Forecaster
        from stockrnn.forecaster.versions import find_versions

        folders = [] if (self.folder / "forecasters").is_symlink() else self.folder.glob("forecasters/*")
        ranks = sorted(int(path.name) for path in folders if path.name.isdecimal() and not path.is_symlink())
        if not ranks:
            raise UserError(
                f"{self.place}: has no forecasters; a study saves them when it ends with at least one finalist; finish "
                "it with resume()"
            )
        if rank not in ranks:
            known = ", ".join(map(str, ranks))
            raise UserError(f"rank={rank!r}: is not a rank of {self.place}; its ranks are {known}; choose one of them")
        versions = find_versions(self.folder / "forecasters", rank)
        versions = {number: path for number, path in versions.items() if not path.is_symlink()}
        if version is not None and version not in versions:
            known = ", ".join(map(str, versions))
            raise UserError(
                f"version={version!r}: is not a version of rank {rank} of {self.place}; its versions are {known}; "
                "choose one of them"
            )
        return Forecaster.load(versions[max(versions) if version is None else version])

    def resume(
        self, *, overrides: Mapping[str, Any] | None = None, workers: int | None = None, in_process: bool = False,
        time_budget: float | None = None, address: str | None = None, force: bool = False, reopen_test: bool = False,
        quiet: bool = False,
    ) -> "Study":  # fmt: skip
        """Continue an interrupted study, or extend one with `overrides={"search.num_samples": ...}`.

        Args:
            overrides, workers, in_process, time_budget, address, quiet: see `search.run_study`.
            force: continue although the space, the prices or versions have changed.
            reopen_test: evaluate the test set once more, with the current finalists. Otherwise it keeps its results.

        Returns:
            The study with its new results.

        Raises:
            UserError, StudyError, KeyboardInterrupt: see `search.run_study`.
        """
        from search.api.run import resume_study

        return resume_study(
            self.place, overrides=overrides, workers=workers, in_process=in_process, time_budget=time_budget,
            address=address, force=force, reopen_test=reopen_test, quiet=quiet,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<Study {self.place}: {self.state}, {len(self._data.ends)} trials>"

    def _repr_html_(self) -> str:
        """Return the verdict and the best rows of the leaderboard, for notebooks."""
        return study_html(self._data, self.place)

    def _frame(self, rows: list[dict[str, Any]]) -> "pd.DataFrame":
        from search.api.frames import leaderboard_frame

        return leaderboard_frame(rows, self._data.columns)


def open_study(place: str | PathLike[str]) -> Study:
    """Return the study in a folder or behind a URL; it may be running.

    Args:
        place: for example `results/all`. The files of a URL are copied to a temporary folder, which is removed with
            the returned object.

    Raises:
        UserError: there is no study, or its files are damaged.
    """
    name = fspath(place)
    with ExitStack() as stack:
        if is_url(name):
            try:
                check_url(name)
            except ValueError as error:
                raise UserError(f"{name}: {error}") from None
        study = Study(stack.enter_context(local_copy(name)), name)
        weakref.finalize(study, stack.pop_all().close)
    return study
