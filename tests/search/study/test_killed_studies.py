"""Cut the event log of a study at every line, as kills do, and resume: the study is the one that was not killed."""

import math
import shutil
from functools import partial
from random import Random

import numpy as np
import pytest
from tiers import is_nightly

from search.compare import find_difference
from search.results.reader import read_study
from search.study.in_process_executor import in_process_executor
from tests.search.study.test_in_process_executor import events, manifest, run

CUTS = 8  # in the daily tier


def curve(space, prices, folds, point, checkpoints=None, **options):
    """Report scores drawn at random for the point; patience, divergence, an unknown score and an error end trials."""
    rng, metric = Random(repr(sorted(point.items()))), space.search.metric
    fate, fatal = rng.choice(["fine", "fine", "fine", "fine", "diverges", "fails", "unknown"]), rng.randint(1, 5)
    level, days = rng.uniform(0.9, 1.1), sum(len(fold.validation) for fold in folds)
    best, best_epoch = math.inf, 0
    for epoch in range(1, space.scheduler.max_epochs + 1):
        value = level + 0.3 / epoch + rng.uniform(0, 0.1)
        hit = epoch == fatal and not space.is_default(point)
        if hit and fate == "fails":
            raise ValueError(f"no epoch {epoch}")
        status = "diverged" if hit and fate == "diverges" else "running"
        if fate == "unknown" and fatal < 3 and epoch <= fatal and not space.is_default(point):
            value = math.nan  # as a metric that is not defined for the forecasts of the first epochs
        elif status == "running" and value < best:
            best, best_epoch = value, epoch
        exhausted = epoch - best_epoch >= space.scheduler.patience or epoch == space.scheduler.max_epochs
        if status == "running" and exhausted:
            status = "complete"
        yield {
            "epoch": epoch, "status": status, "done": status != "running", "score": best if best_epoch else math.nan,
            "best_epoch": best_epoch, "best": {metric: best} if best_epoch else {},
            "forecast": np.full(days, value, np.float32) if best_epoch == epoch else None,
            "scores": {} if status == "diverged" else {metric: value},
            "loss": value, "form": "batched", "parameters": 1, "seconds": 0.0, "worker": 1,
            "resumed_from": None, "checkpoint_error": None,
        }  # fmt: skip
        if status != "running":
            return


def study(small_space, folder):
    """Run a study in which trials end in every way; return its space."""
    space = small_space(
        space={"architecture": ["rnn", "gru", "lstm"], "hidden_size": {"int": [4, 32]}, "dropout": {"float": [0, 0.5]}},
        search={"sampler": "tpe", "finalists": 0, "num_samples": 24}, resources={"workers": 3},
        scheduler={"max_epochs": 9, "grace_period": 2, "reduction_factor": 2, "patience": 2},
    )  # fmt: skip
    run(space, folder, partial(in_process_executor, train=curve))
    return space


@pytest.mark.campaign
@pytest.mark.timeout(1200)
def test_a_study_that_is_killed_after_any_line_of_its_log_is_the_same(small_space, tmp_path):
    """The nightly tier cuts after every line; the daily one after the last epochs of some trials, and elsewhere."""
    whole = tmp_path / "whole"
    space = study(small_space, whole)
    log, lines = (whole / "trials.jsonl").read_bytes().splitlines(keepends=True), events(whole)
    assert {line.get("status") for line in lines} >= {"default", "complete", "stopped", "diverged", "failed"}
    cuts = list(range(len(log)))
    if not is_nightly():
        rng = Random(0)
        last = [number for number, line in enumerate(lines, start=1) if line.get("last")]
        cuts = rng.sample(last, CUTS // 2) + rng.sample(cuts, CUTS // 2)
    for cut in cuts:
        killed = shutil.copytree(whole, tmp_path / f"{cut}")
        (killed / "trials.jsonl").write_bytes(b"".join(log[:cut]))
        run(space, killed, partial(in_process_executor, train=curve), resume=True)
        assert find_difference(read_study(whole), read_study(killed)) is None, f"after line {cut}"
        assert events(killed) == lines, f"after line {cut}"
        assert manifest(killed)["trials_sha256"] == manifest(whole)["trials_sha256"]
        assert manifest(killed)["verdict"] == manifest(whole)["verdict"]
        shutil.rmtree(killed)
