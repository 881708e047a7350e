"""A small finished study, made without Ray, for tests that damage or attack a results folder."""

import numpy as np
import pytest
import studies
import yaml

from search.results.event_log import Record
from search.results.manifest import make_folder, start_manifest
from search.results.predictions import Predictions
from search.space.space import load_space
from stockrnn.dataset.alignment import prepare
from stockrnn.tasks.scoring import fold_days, score_baselines

SPACE = {
    "name": "s", "data": studies.DATA, "validation": studies.VALIDATION, "space": {"architecture": ["rnn", "gru"]},
    "search": {"sampler": "random", "num_samples": 1, "finalists": 0},
}  # fmt: skip


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A whole study of one trial, which starts no Ray when it is resumed."""
    place = tmp_path_factory.mktemp("finished")
    (place / "s.yaml").write_text(yaml.safe_dump(SPACE), encoding="utf-8")
    space = load_space(str(place / "s.yaml"))
    prices = prepare(space.data)
    splits = space.split(prices)
    series = space.series(prices)
    scores, _ = score_baselines(space.task, series, splits.folds, fold_days(space.task, series, splits.folds))
    folder = place / "s"
    with make_folder(
        folder, space, prices, start_manifest(space, prices, splits, "", "2026-01-01T00:00:00+00:00", scores)
    ):
        predictions = Predictions(folder / "predictions.parquet", space.task, series)
        predictions.validation("00000", splits.folds, np.full(200, 5000.0))
        predictions.flush()
        record = Record(folder / "trials.jsonl")
        record.start("00000", {"architecture": "rnn"})
        best = scores["mean_change"] if "mean_change" in scores else next(iter(scores.values()))
        record.epoch("00000", {
            "epoch": 1, "done": True, "score": 1.5, "best_epoch": 1, "scores": best, "loss": 1.0, "seconds": 1.0,
            "worker": 1, "best": best, "parameters": 1, "form": "batched",
        })  # fmt: skip
        record.end("00000", "complete")
        record.close()
    return folder
