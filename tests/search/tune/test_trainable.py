"""Train trials without Ray: reports, resumes, finalists, and independence from the test set."""

import gc
import json
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from search.results.event_log import TrialEnd
from search.study.finalists import choose_finalists, refit, validation_days
from search.tune.trainable import TrialTrainable
from search.tune.trial import GpuMemoryError, next_report, train_trial
from stockrnn.evaluation.metrics import theils_u
from stockrnn.prices.loading import load

pytestmark = pytest.mark.slow

POINT = {"architecture": "gru", "hidden_size": 4, "sequence_length": 3, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def prices():
    whole = load("nasdaq")
    return whole.rows(np.arange(600))


def told(space, prices, point=POINT):
    splits = space.split(prices)
    return [
        {key: value for key, value in report.items() if key not in ("seconds", "worker", "forecast")}
        | {"forecast": None if report["forecast"] is None else report["forecast"].tolist()}
        for report in train_trial(space, prices, splits.folds, point)
    ]


def test_one_report_an_epoch_and_the_best_epoch_is_kept(small_space, prices):
    space = small_space(scheduler={"max_epochs": 5, "grace_period": 5})
    reported = told(space, prices)
    assert [report["epoch"] for report in reported] == [1, 2, 3, 4, 5]
    assert [report["status"] for report in reported] == ["running"] * 4 + ["complete"]
    scores = [report["scores"]["val_relative_loss"] for report in reported]
    for report in reported:
        past = scores[: report["epoch"]]
        assert report["score"] == min(past)
        assert report["best_epoch"] == past.index(min(past)) + 1
        assert report["best"]["val_relative_loss"] == report["score"]
        assert set(report["best"]) == {
            "val_relative_loss", "val_relative_loss_sd", "val_worst_fold", "val_rmse", "val_mae",
            "val_direction_accuracy",
        }  # fmt: skip


def test_patience_completes_a_trial_that_no_longer_improves(small_space, prices):
    space = small_space(scheduler={"max_epochs": 60, "grace_period": 60, "patience": 2})
    last = told(space, prices)[-1]
    assert (last["status"], last["done"]) == ("complete", True)
    assert last["epoch"] == last["best_epoch"] + 2


def test_a_diverged_trial_says_so_and_stops(small_space, prices):
    space = small_space(
        space={"architecture": "rnn", "optimizer": "sgd", "learning_rate": 10.0, "output_init": "uniform"},
        scheduler={"max_epochs": 300, "grace_period": 300},
    )
    point = {"architecture": "rnn", "optimizer": "sgd", "learning_rate": 10.0, "output_init": "uniform"}
    last = told(space, prices, point)[-1]
    assert (last["status"], last["done"]) == ("diverged", True)


def test_the_same_point_gets_the_same_scores_whatever_its_number(small_space, prices):
    space = small_space()
    first = told(space, prices)
    told(space, prices, {**POINT, "architecture": "lstm"})
    assert told(space, prices) == first
    assert told(small_space(seed=5), prices) != first


@pytest.mark.parametrize("architecture", ["rnn", "gru", "lstm"])
def test_the_form_that_is_asked_for_is_used_and_recorded_and_changes_no_score(small_space, prices, architecture):
    point = {**POINT, "architecture": architecture}
    batched, looped = (told(small_space(training={"lockstep": form}), prices, point) for form in ("batched", "looped"))
    assert {report["form"] for report in batched} == {"batched"}
    assert {report["form"] for report in looped} == {"looped"}
    for one, other in zip(batched, looped, strict=True):
        assert one["scores"]["val_relative_loss"] == pytest.approx(other["scores"]["val_relative_loss"], abs=1e-4)


def test_an_exception_ends_its_trial_alone_with_its_message():
    def failing():
        yield {"epoch": 1}
        raise RuntimeError("out of luck")

    reports = failing()
    assert next_report(reports, 0) == {"epoch": 1}
    report = next_report(reports, 0)
    assert (report["status"], report["done"], report["message"]) == ("failed", True, "RuntimeError: out of luck")
    assert "failing" in report["traceback"]


def poisoned(prices, first):
    values = prices.values.copy()
    values[first:] *= np.random.default_rng(0).uniform(1, 1000, values[first:].shape)
    return replace(prices, values=values)


def test_the_test_block_tells_the_search_nothing_and_the_finalists_only_their_test_columns(small_space, prices):
    space = small_space()
    splits = space.split(prices)
    other = poisoned(prices, splits.test.start)
    assert told(space, prices) == told(space, other)
    clean, spoilt = (refitted(space, series) for series in (prices, other))
    assert not np.array_equal(clean.forecasts, spoilt.forecasts)  # the poison is there
    for name, weights in clean.forecaster.weights.items():
        assert torch.equal(weights, spoilt.forecaster.weights[name])
    assert clean.forecaster.intervals == spoilt.forecaster.intervals
    assert clean.forecaster.scaling == spoilt.forecaster.scaling


def test_training_of_a_finalist_never_sees_the_test_block(small_space, prices):
    space = small_space(data={"source": "nasdaq", "test_size": 1})
    other = poisoned(prices, space.split(prices).test.start)  # one session: only the actual close changes
    np.testing.assert_array_equal(refitted(space, prices).forecasts, refitted(space, other).forecasts)


def refitted(space, prices):
    """The finalist of the point, with what its trial forecast on validation."""
    splits = space.split(prices)
    told_best = [report["forecast"] for report in train_trial(space, prices, splits.folds, POINT)]
    validation = [forecast for forecast in told_best if forecast is not None][-1]
    return refit(choose_finalists([ended(0, 0.99, 2)], space)[0], space, prices, splits, validation)


def ended(number, score, best_epoch, **point):
    return TrialEnd(
        trial_id=f"{number:05d}", status="complete", point={**POINT, **point}, epochs=5, best_epoch=best_epoch,
        scores={"val_relative_loss": score, "val_direction_accuracy": score / 2} if score else {},
    )  # fmt: skip


def test_finalists_are_the_best_distinct_configurations_for_their_best_epochs(small_space):
    ends = [
        ended(0, 0.99, 4), ended(1, 0.97, 2, hidden_size=6), ended(2, 0.97, 3, hidden_size=6),
        ended(3, None, None, hidden_size=5), ended(4, 0.98, 1, hidden_size=8),
    ]  # fmt: skip
    chosen = choose_finalists(ends, small_space(search={"finalists": 3}))
    assert [(finalist.rank, finalist.trial_id, finalist.epochs) for finalist in chosen] == [
        (1, "00001", 2), (2, "00004", 1), (3, "00000", 4),
    ]  # fmt: skip
    by_direction = choose_finalists(ends, small_space(search={"finalists": 1, "metric": "val_direction_accuracy"}))
    assert by_direction[0].trial_id == "00000"
    assert choose_finalists(ends, small_space(search={"finalists": 0})) == []


def test_a_trial_reports_the_forecasts_of_its_best_epoch(small_space, prices):
    space = small_space()
    splits = space.split(prices)
    actual, previous = validation_days(prices, splits.folds, 1)
    for report in train_trial(space, prices, splits.folds, POINT):
        assert (report["forecast"] is not None) == (report["best_epoch"] == report["epoch"])
        if report["forecast"] is not None:
            assert theils_u(report["forecast"], actual, previous) == pytest.approx(report["score"], rel=1e-5)


def test_a_finalist_is_trained_for_its_epochs_on_its_seeds_and_leaves_its_forecaster(small_space, prices):
    space = small_space()
    splits = space.split(prices)
    one = refitted(space, prices)
    facts, block = one.forecaster.facts, splits.test
    assert one.forecasts.shape == (2, 40)
    assert (facts.rank, facts.trial_id, facts.epochs) == (1, "00000", 2)
    assert (facts.trained_from, facts.trained_to) == (
        str(prices.dates[splits.before_test.start]),
        str(prices.dates[block.start - 1]),
    )
    origins = range(block.start - 1, block.stop - 1)
    np.testing.assert_allclose(one.forecaster.forecast(prices, origins), one.forecasts, rtol=1e-6)
    closes = prices.column("close")
    assert 0.5 < theils_u(one.forecasts.mean(axis=0), closes[block.start :], closes[block.start - 1 : -1]) < 2


LONG = {"max_epochs": 8, "grace_period": 8, "patience": None}
RESUMED = ("resumed_from", "checkpoint_error", "seconds", "worker", "forecast")


def stopped_after(epochs, space, prices, folder, point=POINT, every=0.0):
    """The reports of a trial whose worker dies when the driver has taken these many."""
    trial = train_trial(space, prices, space.split(prices).folds, point, folder, every)
    return [next(trial) for _ in range(epochs)]


def resumed(space, prices, folder, point=POINT):
    return list(train_trial(space, prices, space.split(prices).folds, point, folder, 0.0))


def assert_goes_on(before, after, straight, stop):
    """Reports from a checkpoint after epoch `stop` are those of a trial that was never stopped."""
    assert [report["epoch"] for report in after] == list(range(stop + 1, len(straight) + 1))
    for found, expected in zip(after, straight[stop:], strict=True):
        assert {key: found[key] for key in found if key not in RESUMED} == {
            key: expected[key] for key in expected if key not in RESUMED
        }
    assert [report["resumed_from"] for report in after] == [stop] + [None] * (len(after) - 1)
    best = [report["forecast"] for report in straight[: stop + 1] if report["forecast"] is not None][-1]
    np.testing.assert_array_equal(after[0]["forecast"], best)  # the driver may have lost it
    for found, expected in zip(after[1:], straight[stop + 1 :], strict=True):
        np.testing.assert_array_equal(found["forecast"], expected["forecast"])
    seconds = [report["seconds"] for report in [*before[:stop], *after]]
    assert seconds == sorted(seconds)


DROPOUT = {"num_layers": 2, "dropout": 0.3}


@pytest.mark.parametrize("stop", [1, 4, 7])
@pytest.mark.parametrize("dropout", [{}, DROPOUT])
@pytest.mark.parametrize("form", ["batched", "looped"])
@pytest.mark.parametrize("architecture", ["rnn", "gru", "lstm"])
def test_a_trial_goes_on_from_its_checkpoint(small_space, prices, tmp_path, architecture, form, dropout, stop):
    space = small_space(training={"lockstep": form}, scheduler=LONG)
    point = {**POINT, **dropout, "architecture": architecture}
    straight = resumed(space, prices, None, point)
    before = stopped_after(stop + 1, space, prices, tmp_path / "00000", point)  # the checkpoint is of the epoch before
    assert_goes_on(before, resumed(space, prices, tmp_path / "00000", point), straight, stop)


OTHER_PROCESS = """
import json, sys
from pathlib import Path
import numpy as np, torch
torch.set_num_threads(1)
from search.space.space import load_space
from search.tune.trial import train_trial
from stockrnn.prices.loading import load
space, prices = load_space(sys.argv[1]), load("nasdaq").rows(np.arange(600))
splits = space.split(prices)
for report in train_trial(space, prices, splits.folds, json.loads(sys.argv[2]), Path(sys.argv[3]), 0.0):
    kept = report | {"forecast": None if report["forecast"] is None else report["forecast"].tolist()}
    print(json.dumps(kept), flush=True)
"""


@pytest.mark.parametrize(
    "architecture", ["gru", *(pytest.param(name, marks=pytest.mark.nightly) for name in ("rnn", "lstm"))]
)
def test_another_process_goes_on_where_a_killed_one_was(small_space, space_file, prices, tmp_path, architecture):
    space = small_space(scheduler=LONG)
    point = {**POINT, **DROPOUT, "architecture": architecture}
    straight = resumed(space, prices, None, point)
    command = [sys.executable, "-c", OTHER_PROCESS, str(space_file(scheduler=LONG)), json.dumps(point)]
    root = Path(__file__).parents[3]
    folder = str(tmp_path / "00000")
    with subprocess.Popen([*command, folder], stdout=subprocess.PIPE, text=True, cwd=root) as first:
        before = [json.loads(next(first.stdout)) for _ in range(4)]
        first.kill()
    second = subprocess.run([*command, folder], stdout=subprocess.PIPE, text=True, cwd=root, check=True)
    after = [json.loads(line) for line in second.stdout.splitlines()]
    assert {report["worker"] for report in after} != {before[0]["worker"]}
    stop = after[0]["resumed_from"]
    assert stop >= 3  # it may have got further before it died, its reports unread
    for report in after:
        if report["forecast"] is not None:
            report["forecast"] = np.array(report["forecast"], dtype=np.float32)
    assert_goes_on(before, after, straight, stop)


def test_a_trial_that_improves_no_more_is_tired_at_the_same_epoch(small_space, prices, tmp_path):
    space = small_space(scheduler={"max_epochs": 60, "grace_period": 60, "patience": 2})
    straight = resumed(space, prices, None)
    stopped_after(len(straight) - 1, space, prices, tmp_path / "t")
    after = resumed(space, prices, tmp_path / "t")
    assert (after[0]["resumed_from"], after[-1]["epoch"]) == (len(straight) - 2, len(straight))
    assert after[-1]["status"] == "complete"
    assert after[0]["best_epoch"] < after[0]["epoch"]
    np.testing.assert_array_equal(
        after[0]["forecast"], [report["forecast"] for report in straight if report["forecast"] is not None][-1]
    )


def test_a_trial_restored_behind_its_last_epoch_ends_at_once_with_what_it_reached(small_space, prices, tmp_path):
    before = stopped_after(6, small_space(scheduler=LONG), prices, tmp_path / "t")
    (report,) = resumed(small_space(scheduler={"max_epochs": 4, "grace_period": 4}), prices, tmp_path / "t")
    assert (report["epoch"], report["status"], report["done"]) == (5, "complete", True)
    for key in ("score", "best", "best_epoch", "scores", "loss"):
        assert report[key] == before[4][key]
    assert report["forecast"] is not None


def test_more_epochs_than_before_are_no_other_trial(small_space, prices, tmp_path):
    stopped_after(3, small_space(scheduler=LONG), prices, tmp_path / "t")
    space = small_space(scheduler={**LONG, "max_epochs": 10, "grace_period": 10})
    assert [report["epoch"] for report in resumed(space, prices, tmp_path / "t")] == list(range(3, 11))


@pytest.mark.parametrize(
    ("changed", "point", "said"),
    [
        ({"seed": 4}, POINT, "seed"),
        ({}, {**POINT, "learning_rate": 0.005}, "learning_rate"),
        ({"training": {"lockstep": "looped"}}, POINT, "form"),
        ({"validation": {"fold_size": 31}}, POINT, "folds"),
        ({"search": {"metric": "val_rmse"}}, POINT, "metric"),
    ],
)
def test_a_checkpoint_of_another_trial_is_refused_and_says_so(small_space, prices, tmp_path, changed, point, said):
    stopped_after(3, small_space(), prices, tmp_path / "t")
    space = small_space(**changed)
    first = resumed(space, prices, tmp_path / "t", point)[0]
    assert (first["epoch"], first["resumed_from"]) == (1, None)
    assert f"other {said}" in first["checkpoint_error"]
    assert first["checkpoint_error"].endswith("the trial starts again")


def test_other_prices_are_another_trial(small_space, prices, tmp_path):
    stopped_after(3, small_space(), prices, tmp_path / "t")
    first = resumed(small_space(), poisoned(prices, 599), tmp_path / "t")[0]
    assert "other prices" in first["checkpoint_error"]


def test_a_torn_checkpoint_falls_back_to_the_one_before_and_says_so(small_space, prices, tmp_path):
    space = small_space(scheduler=LONG)
    straight = resumed(space, prices, None)
    before = stopped_after(5, space, prices, tmp_path / "t")
    newest = max((tmp_path / "t").iterdir())
    newest.write_bytes(newest.read_bytes()[:-1])
    after = resumed(space, prices, tmp_path / "t")
    assert after[0]["checkpoint_error"].startswith("000000004.safetensors: ")
    assert after[0]["checkpoint_error"].endswith("the trial continues from epoch 3")
    assert after[1]["checkpoint_error"] is None
    assert_goes_on(before, after, straight, 3)


def test_a_full_disk_costs_a_trial_its_checkpoints_and_nothing_else(small_space, prices, tmp_path):
    space = small_space()
    straight = resumed(space, prices, None)
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, former[1]))
    try:
        found = resumed(space, prices, tmp_path / "t")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
        signal.signal(signal.SIGXFSZ, ignored)
    assert [report["scores"] for report in found] == [report["scores"] for report in straight]
    assert found[0]["checkpoint_error"] is None
    for number, report in enumerate(found[1:], start=1):
        assert report["checkpoint_error"] == (
            f"{tmp_path / 't'}: the checkpoint of epoch {number} could not be written (File too large); "
            "the trial continues"
        )
    assert list((tmp_path / "t").iterdir()) == []


def test_a_short_trial_writes_no_checkpoint(small_space, prices, tmp_path):
    splits = small_space().split(prices)
    list(train_trial(small_space(), prices, splits.folds, POINT, tmp_path / "t"))
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        MemoryError(),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_what_another_worker_may_get_over_is_raised(error):
    def failing():
        yield {"epoch": 1}
        raise error

    reports = failing()
    next_report(reports, 0)
    with pytest.raises(type(error)) as raised:
        next_report(reports, 0)
    assert raised.value is error


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_share_of_a_gpu_that_is_too_small_is_raised_as_such(share):
    with pytest.raises(GpuMemoryError, match=r"CUDA out of memory. Tried to allocate 2.00 GiB"):
        report_on(share)


def test_a_whole_gpu_that_is_too_small_ends_the_trial():
    report = report_on(1.0)
    assert (report["status"], report["done"]) == ("failed", True)
    assert report["message"] == "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"


def report_on(share):
    """The next report of a trial for which its share of a GPU is too small."""

    def failing():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        yield

    return next_report(failing(), share)


def test_memory_that_cannot_be_had_is_raised_as_pytorch_does():
    def failing():
        torch.empty(2**60)
        yield {}

    with pytest.raises(RuntimeError, match="allocate"):
        next_report(failing(), 0)


def tensors():
    gc.collect()
    return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())


def test_a_warm_worker_keeps_nothing_of_the_trial_before(small_space, prices, tmp_path):
    space = small_space(scheduler=LONG)
    folds = space.split(prices).folds
    trial = TrialTrainable.__new__(TrialTrainable)
    trial._trial_info = None
    before = tensors()
    trial.setup({"trial_id": "00000", "point": POINT}, prices, folds, space, str(tmp_path), 0.0)
    assert tensors() == before  # nothing is built before the first step
    for number in range(2):
        for _ in range(3):
            trial.step()
        assert tensors() > before
        assert trial.reset_config({"trial_id": f"{number + 1:05d}", "point": POINT})
        assert tensors() == before
    while not trial.step()["done"]:
        pass
    assert tensors() == before
