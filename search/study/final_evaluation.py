"""What follows the search: the finalists, the test block they open, and whether the best is only lucky."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from search.cluster.demands import ResourceDemands
from search.results.event_log import Record, now
from search.results.manifest import Openings, interrupted
from search.results.predictions import Predictions, validation_forecasts
from search.space.space import Space
from search.study.finalists import Finalist, Refitted, choose, chosen_before
from search.study.multiple_testing import prove
from search.study.refit import train_afresh
from search.study.test_block import Opening, open_block
from search.terminal.progress import Progress
from search.tune.callback import Board
from search.tune.stopper import Stop
from stockrnn.dataset.walk_forward import WalkForward
from stockrnn.prices.series import Prices

__all__ = ["Conclusion"]


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """What a study concludes with.

    Attributes:
        folder: the study's.
        needs: what the trial of a point asks for; None where no finalist is left to train.
    """

    space: Space
    prices: Prices
    splits: WalkForward
    folder: Path
    record: Record
    predictions: Predictions
    board: Board
    progress: Progress
    stop: Stop
    needs: ResourceDemands | None

    def prove(
        self, openings: Openings, announce: Callable[[Openings], bool], *, reopen: bool = False
    ) -> dict[str, Any]:  # fmt: skip
        """Open the test block with the finalists, and test over the whole study whether its best trial is only lucky.

        An opening that has no scores yet was interrupted: it goes on with the finalists that it named, unless `reopen`.

        Args:
            openings: the earlier ones.
            announce: writes all openings durably, before anything of the block is read; False: they cannot be kept,
                and the block must stay shut.

        Returns:
            The manifest's entries about both; empty where the study was interrupted.
        """
        validation = self._validation()
        opened: Mapping[str, Any]
        if interrupted(openings) and not reopen:
            *openings, opened = openings
            finalists = chosen_before(opened, self.record.ends)
        else:
            finalists = choose(self.record.ends, self.space)
            opened = {
                "time": now(), "ranked_by": self.space.search.metric, "trials": len(self.record.ends),
                "finalist_seeds": self.space.search.finalist_seeds,
                "finalists": [asdict(finalist) for finalist in finalists],
            }  # fmt: skip
        if finalists and not announce([*openings, opened]):
            return {}
        refitted, failed = self._refitted(finalists, validation)
        opening = self._open_test(refitted, validation) if refitted else None
        if self.stop.requested and opening is None:
            return {}
        self.progress.wait_for("the tests of luck")
        proof = prove(
            validation, opening, [one.finalist.trial_id for one in refitted], self.prices, self.splits,
            self.space.data.horizon,
        )  # fmt: skip
        found = {"proof": proof, "failed_finalists": failed}
        if not finalists:
            return found
        scored = opening or Opening(forecasts={}, scores={})  # none of them could be trained
        said = {"scores": scored.scores, "ensemble": scored.ensemble, "reasons": scored.reasons}
        return found | {"test_openings": [*openings, {**opened, **said}]}

    def prove_again(self, proof: Mapping[str, Any]) -> dict[str, Any]:
        """Ask again, of more trials, whether the best is only lucky; the test block says what it said."""
        self.progress.wait_for("the tests of luck")
        again = prove(self._validation(), None, [], self.prices, self.splits, self.space.data.horizon)
        said = {name: why for name, why in (proof.get("reasons") or {}).items() if name == "test_spa_p"}
        reasons = {name: why for name, why in again["reasons"].items() if name != "test_spa_p"} | said
        return {"proof": again | {"test_spa_p": proof.get("test_spa_p"), "reasons": reasons}}

    def _validation(self) -> dict[str, np.ndarray]:
        """What every trial forecast on the validation days of all folds, each (days,), by its id."""
        self.predictions.flush()
        names, forecasts = validation_forecasts(self.folder / "predictions.parquet")
        return dict(zip(names, forecasts, strict=True))

    def _refitted(
        self, finalists: Sequence[Finalist], validation: Mapping[str, np.ndarray]
    ) -> tuple[list[Refitted], dict[str, str]]:
        """The finalists, trained side by side, and why some could not be; neither where interrupted meanwhile."""
        if not finalists:
            return [], {}
        self.progress.wait_for(f"{len(finalists)} finalists, trained afresh for the test block")
        assert self.needs

        def go_on() -> bool:
            self.progress.look()
            return not self.stop.requested

        return train_afresh(
            finalists, self.needs.at, validation, self.space, self.prices, self.splits, go_on=go_on,
            say=self.progress.say,
        )  # fmt: skip

    def _open_test(self, refitted: Sequence[Refitted], validation: Mapping[str, np.ndarray]) -> Opening:
        """Score the test block and write what it was forecast by."""
        opening = open_block(refitted, validation, self.prices, self.splits, self.space.data.horizon)
        self.board.test, self.board.ensemble = opening.scores, opening.ensemble
        self.predictions.forget_test()  # of an earlier opening
        for name, forecast in opening.forecasts.items():
            self.predictions.test(name, self.splits.test, forecast)
        self.predictions.flush()
        shutil.rmtree(self.folder / "forecasters", ignore_errors=True)
        for one in refitted:
            one.forecaster.save(self.folder / "forecasters" / str(one.finalist.rank))
        return opening
