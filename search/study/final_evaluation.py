"""Evaluate the finalists on the test block, and test whether the best of all trials is only lucky."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from search.results.event_log import now
from search.results.manifest import Openings, is_interrupted
from search.results.predictions import EARLIER, MAX_ROWS, Predictions, read_forecasts, read_validation_forecasts
from search.study.context import StudyContext
from search.study.executor import TrialExecutor
from search.study.finalists import Finalist, RefittedFinalist, choose_finalists, recorded_finalists
from search.study.multiple_testing import remove_repeats, selection_tests
from search.study.test_block import TestBlockResult, score_test_block
from search.study.trial_recorder import LeaderboardFile
from stockrnn.prices.series import count

__all__ = ["FinalEvaluation"]

TESTS_RUNNING = "the significance tests"


@dataclass(frozen=True, kw_only=True)
class FinalEvaluation:
    """The end of a study, after its trials.

    Attributes:
        context: the study.
        predictions: forecasts on disk.
        leaderboard: `leaderboard.csv`.
        executor: trains the finalists; None if none are left to train.
    """

    context: StudyContext
    predictions: Predictions
    leaderboard: LeaderboardFile
    executor: TrialExecutor | None

    def evaluate_test_block(
        self, openings: Openings, write_openings: Callable[[Openings], bool], *, reopen: bool = False
    ) -> dict[str, Any]:
        """Score the finalists on the test block, and test over the whole study whether its best trial is only lucky.

        If the last opening has no scores, it was interrupted: the same finalists are evaluated, unless `reopen`.

        Args:
            openings: the earlier ones, as in the manifest's `test_openings`.
            write_openings: writes all openings durably; called before anything of the block is read. It returns False
                if they cannot be written, and then the block is not read.
            reopen: evaluate the current finalists, although the block was opened before.

        Returns:
            The entries of the manifest about finalists and tests; empty if the study was stopped.
        """
        context, search = self.context, self.context.space.search
        ends = context.record.ends
        validation = self._validation_forecasts()
        opening: Mapping[str, Any]
        if is_interrupted(openings) and not reopen:
            *openings, opening = openings
            finalists = recorded_finalists(opening, ends)
        else:
            finalists = choose_finalists(ends, context.space)
            opening = {
                "time": now(), "ranked_by": search.metric, "trials": len(ends),
                "finalist_seeds": search.finalist_seeds, "finalists": [asdict(finalist) for finalist in finalists],
            }  # fmt: skip
        if finalists and not write_openings([*openings, opening]):
            return {}
        refitted, failed = self._refit(finalists, validation)
        result = self._score(refitted, validation) if refitted else None
        if context.stop.requested and result is None:
            return {}
        context.progress.show_waiting(TESTS_RUNNING)
        proof = selection_tests(
            remove_repeats(validation, ends), result, [one.finalist.trial_id for one in refitted], context.space,
            context.prices, context.splits, self._earlier_forecasts(),
        )  # fmt: skip
        found = {"proof": proof, "failed_finalists": failed}
        if not finalists:
            return found
        scored = result or TestBlockResult(forecasts={}, scores={})  # all finalists failed
        scores = {"scores": scored.scores, "ensemble": scored.ensemble, "reasons": scored.reasons}
        return found | {"test_openings": [*openings, {**opening, **scores}]}

    def rerun_selection_tests(self, proof: Mapping[str, Any]) -> dict[str, Any]:
        """Repeat the tests over all trials, of which there are more now; the test block's results stay as they are.

        Args:
            proof: of the manifest.

        Returns:
            The entry of the manifest about the tests.
        """
        context = self.context
        context.progress.show_waiting(TESTS_RUNNING)
        repeated = selection_tests(
            remove_repeats(self._validation_forecasts(), context.record.ends), None, [], context.space,
            context.prices, context.splits, self._earlier_forecasts(),
        )  # fmt: skip
        of_test = {name: why for name, why in (proof.get("reasons") or {}).items() if name == "test_spa_p"}
        reasons = {name: why for name, why in repeated["reasons"].items() if name != "test_spa_p"} | of_test
        return {"proof": repeated | {"test_spa_p": proof.get("test_spa_p"), "reasons": reasons}}

    def _validation_forecasts(self) -> dict[str, np.ndarray]:
        """Return the forecasts of every trial on the validation days of all folds, (days,), by trial ID."""
        self.predictions.flush()
        names, forecasts = read_validation_forecasts(self.context.folder / "predictions.parquet")
        return dict(zip(names, forecasts, strict=True))

    def _earlier_forecasts(self) -> dict[str, np.ndarray]:
        """Return the forecasts of another study's trials on the validation days, (days,), NaN where there is none."""
        context = self.context
        blocks = [fold.validation for fold in context.splits.folds]
        days = np.concatenate([context.prices.dates[block.start : block.stop] for block in blocks])
        days = days.astype("datetime64[D]")
        found = read_forecasts(context.folder / "predictions.parquet", EARLIER, max_days=MAX_ROWS)
        forecasts = {name: np.full(len(days), np.nan) for name in found}
        for name, own in found.items():
            _, here, there = np.intersect1d(days, own["date"].astype("datetime64[D]"), return_indices=True)
            forecasts[name][here] = own["forecast"][there]
        return forecasts

    def _refit(
        self, finalists: Sequence[Finalist], validation: Mapping[str, np.ndarray]
    ) -> tuple[list[RefittedFinalist], dict[str, str]]:
        if not finalists:
            return [], {}
        self.context.progress.show_waiting(f"{count(len(finalists), 'finalist')} to be retrained")
        assert self.executor
        return self.executor.refit_finalists(finalists, validation)

    def _score(self, refitted: Sequence[RefittedFinalist], validation: Mapping[str, np.ndarray]) -> TestBlockResult:
        """Score the test block and write its forecasts and the forecasters."""
        context = self.context
        result = score_test_block(refitted, validation, context.space, context.prices, context.splits)
        for name, reason in result.unfitted.items():
            context.progress.print_note(f"baseline {name}: {reason}; its row has no scores of the test set")
        self.leaderboard.set_test_scores(result.scores, result.ensemble)
        self.predictions.remove_test()  # of an earlier opening
        for name, forecast in result.forecasts.items():
            self.predictions.test(name, context.splits.final, forecast)
        self.predictions.flush()
        forecasters = context.folder / "forecasters"
        shutil.rmtree(forecasters, ignore_errors=True)
        for one in refitted:
            one.forecaster.save(forecasters / str(one.finalist.rank))
        return result
