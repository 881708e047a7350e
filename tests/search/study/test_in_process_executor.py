"""Run trials in the process of the study: same results as Ray Tune with one worker, retries, signals, resume."""

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from search.cli.summary import summary
from search.compare import find_difference
from search.results.event_log import read_events, read_log
from search.results.predictions import read_validation_forecasts
from search.results.reader import read_study
from search.run import main
from search.space.parameters import effective_point
from search.study.in_process_executor import in_process_executor
from search.study.ray_executor import ray_executor
from search.study.study import Options, run_study
from search.tune.trial import train_trial
from stockrnn.dataset.alignment import prepare

ROOT = Path(__file__).parents[3]
MEASURED = ("time", "seconds", "worker")  # differ between any two runs


def run(space, folder, executor=in_process_executor, **options):
    prices = prepare(space.data)
    return run_study(
        space, prices, space.split(prices),
        Options(folder=folder, command="test", executor=executor, quiet=True, **options),
    )  # fmt: skip


def events(folder):
    return [
        {name: value for name, value in event.items() if name not in MEASURED}
        for event in read_events(folder / "trials.jsonl")
    ]


def journal(folder):
    storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    return [
        (trial.number, trial.state, trial.values, trial.params, trial.intermediate_values)
        for trial in optuna.load_study(study_name="small", storage=storage).trials
    ]


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def formula(space, prices, folds, point, checkpoints=None, **options):
    """Report a score that is computed from the point, without any training."""
    days = sum(len(fold.validation) for fold in folds)
    for epoch in range(1, space.scheduler.max_epochs + 1):
        score = 1 + point["hidden_size"] / 100 + 0.1 / epoch
        done = epoch == space.scheduler.max_epochs
        scores = {space.search.metric: score}
        yield {
            "epoch": epoch, "status": "complete" if done else "running", "done": done, "score": score,
            "best_epoch": epoch, "best": scores, "forecast": np.full(days, score, np.float32), "scores": scores,
            "loss": score, "form": "batched", "parameters": 1, "seconds": 0.0, "worker": os.getpid(),
            "resumed_from": None, "checkpoint_error": None,
        }  # fmt: skip


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(
    ("sampler", "workers"),
    [("tpe", 3), *(pytest.param(sampler, 1, marks=pytest.mark.nightly) for sampler in ("random", "tpe"))],
)
def test_a_study_is_the_same_as_on_ray(small_space, tmp_path, sampler, workers):
    space = small_space(
        search={"sampler": sampler, "num_samples": 14, "finalists": 1}, resources={"workers": workers},
        scheduler={"max_epochs": 4, "grace_period": 1, "reduction_factor": 2, "patience": 2},
    )  # fmt: skip
    ours = run(space, tmp_path / "here" / "small")
    theirs = run(space, tmp_path / "ray" / "small", ray_executor)
    assert not ours.failure
    assert not theirs.failure
    here, ray = tmp_path / "here" / "small", tmp_path / "ray" / "small"
    assert {"stopped", "complete"} <= {end.status for end in ours.ends}
    if workers == 1:
        assert events(here) == events(ray)
        assert journal(here) == journal(ray)
    assert find_difference(read_study(here), read_study(ray)) is None
    names, forecasts = read_validation_forecasts(here / "predictions.parquet")
    ray_names, ray_forecasts = read_validation_forecasts(ray / "predictions.parquet")
    assert names == ray_names
    assert np.array_equal(forecasts, ray_forecasts)
    assert manifest(here)["trials_sha256"] == manifest(ray)["trials_sha256"]
    timeless = [
        [{name: value for name, value in row.items() if name not in MEASURED} for row in outcome.rows]
        for outcome in (ours, theirs)
    ]
    assert repr(timeless[0]) == repr(timeless[1])  # NaN is NaN
    assert ours.verdict == theirs.verdict


def test_a_formula_stands_for_a_training_without_pytorch(space_file, tmp_path):
    code = f"""
import sys
from functools import partial
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from search.space.space import load_space
from search.study.in_process_executor import in_process_executor
from test_in_process_executor import formula, run
space = load_space({str(space_file(search={"finalists": 0}))!r})
outcome = run(space, Path({str(tmp_path / "small")!r}), partial(in_process_executor, train=formula))
print(len(outcome.ends), "torch" in sys.modules)
"""
    # `train_trial` is imported for the other tests and imports PyTorch only when it trains.
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == ["6", "False"]


def test_the_best_formula_ranks_first_and_asha_stops_the_weak(small_space, tmp_path):
    space = small_space(
        search={"sampler": "random", "num_samples": 20, "finalists": 0},
        scheduler={"max_epochs": 9, "grace_period": 1, "reduction_factor": 3, "patience": None},
    )
    outcome = run(space, tmp_path / "small", partial(in_process_executor, train=formula))
    trials = [row for row in outcome.rows if row["status"] in ("complete", "stopped")]
    assert trials[0]["hidden_size"] == min(row["hidden_size"] for row in trials)
    assert {row["status"] for row in trials} == {"complete", "stopped"}


def test_a_trial_that_is_stopped_frees_its_networks_before_the_next_one_starts(small_space, tmp_path):
    started, freed = [], []

    def watched(space, prices, folds, point, checkpoints=None, **options):
        assert len(started) == len(freed)
        started.append(point)
        try:
            yield from formula(space, prices, folds, point)
        finally:
            freed.append(point)

    space = small_space(
        search={"sampler": "random", "num_samples": 20, "finalists": 0},
        scheduler={"max_epochs": 9, "grace_period": 1, "reduction_factor": 3, "patience": None},
    )
    outcome = run(space, tmp_path / "small", partial(in_process_executor, train=watched))
    assert {end.status for end in outcome.ends} == {"default", "complete", "stopped"}
    assert freed == started
    assert len(freed) == 20


def test_a_transient_error_costs_a_retry_and_a_lasting_one_the_trial(small_space, tmp_path):
    attempts = {}

    def unreliable(space, prices, folds, point, checkpoints=None, **options):
        name = Path(checkpoints).name
        attempts[name] = attempts.get(name, 0) + 1
        if name == "00001" and attempts[name] == 1:
            raise MemoryError("no memory for a moment")
        if name == "00002":
            raise OSError("the disk is away")
        if name == "00003":
            raise ZeroDivisionError("a bug")
        yield from formula(space, prices, folds, point)

    space = small_space(search={"finalists": 0, "max_failures": 2})
    run(space, tmp_path / "small", partial(in_process_executor, train=unreliable))
    ends = {end.trial_id: end for end in read_log(tmp_path / "small" / "trials.jsonl").ends}
    assert attempts == {"00000": 1, "00001": 2, "00002": 3, "00003": 1, "00004": 1, "00005": 1}
    assert ends["00001"].status == "complete"
    assert (ends["00002"].status, ends["00002"].message) == ("failed", "OSError: the disk is away (3 times)")
    assert (ends["00003"].status, ends["00003"].message) == ("failed", "ZeroDivisionError: a bug")
    retries = [event for event in read_events(tmp_path / "small" / "trials.jsonl") if event["event"] == "retry"]
    assert [event["trial_id"] for event in retries] == ["00001", "00002", "00002"]


def test_a_signal_ends_it_and_a_resume_runs_no_ended_trial_again(small_space, tmp_path):
    def interrupted(space, prices, folds, point, checkpoints=None, **options):
        for report in formula(space, prices, folds, point):
            if checkpoints.endswith("00003") and report["epoch"] == 2:
                os.kill(os.getpid(), signal.SIGINT)
            yield report

    space = small_space(search={"finalists": 0})
    before = signal.getsignal(signal.SIGINT)
    outcome = run(space, tmp_path / "small", partial(in_process_executor, train=interrupted))
    assert outcome.interrupted
    assert signal.getsignal(signal.SIGINT) is before
    assert [end.status for end in outcome.ends] == ["default", "complete", "complete", "interrupted"]
    resumed = run(space, tmp_path / "small", partial(in_process_executor, train=formula), resume=True)
    assert resumed.ends[:3] == outcome.ends[:3]
    assert resumed.ends[3].point == outcome.ends[3].point
    assert [end.status for end in resumed.ends] == ["default"] + ["complete"] * 5
    lines = read_events(tmp_path / "small" / "trials.jsonl")
    starts = [event["trial_id"] for event in lines if event["event"] == "start"]
    assert starts == [f"{number:05d}" for number in range(6)]


EIGHT = {  # points, and the default configuration

    "architecture": ["rnn", "gru"], "learning_rate": [0.05, 0.01], "scaling": ["minmax", "standard"], "hidden_size": 4,
}  # fmt: skip


@pytest.mark.parametrize("interrupted_at", [None, "00002", "00007"])
def test_a_finite_space_is_covered_once_and_then_the_study_ends_and_says_so(small_space, tmp_path, interrupted_at):
    def train(space, prices, folds, point, checkpoints=None, **options):
        for report in formula(space, prices, folds, point):
            if interrupted_at and checkpoints.endswith(interrupted_at) and report["epoch"] == 2:
                os.kill(os.getpid(), signal.SIGINT)
            yield report

    space = small_space(space=EIGHT, search={"sampler": "tpe", "num_samples": 20, "finalists": 0})
    folder = tmp_path / "small"
    outcome = run(space, folder, partial(in_process_executor, train=train))
    if interrupted_at:
        assert outcome.interrupted
        (folder / "study.journal").unlink()  # as after a crash of the disk: the event log is enough
        outcome = run(space, folder, partial(in_process_executor, train=formula), resume=True)
    assert len({effective_point(end.point) for end in outcome.ends}) == len(outcome.ends) == 9
    assert (read_study(folder).state, read_study(folder).planned) == ("done", 9)
    assert "The time budget ended" not in (folder / "report.html").read_text()
    text = summary(space, outcome, folder, str(folder))
    assert "All 9 different points of the space were tried, so the search ended before search.num_samples, 20." in text
    again = run(space, folder, pytest.fail, resume=True)  # nothing is left: no executor starts
    assert again.ends == outcome.ends


def test_the_summary_and_the_report_in_korean(space_file, tmp_path, capsys):
    space = space_file(search={"num_samples": 1, "finalists": 0})
    assert main([str(space), "--output", str(tmp_path), "--in-process", "--quiet", "--language", "ko"]) == 0
    out = capsys.readouterr().out
    assert "아직 판정할 수 없습니다. 테스트 세트를 열지" in out
    assert "\ntrial 1개, " in out
    assert f"\n보고서       {tmp_path / 'small' / 'report.html'}\n" in out
    assert '<html lang="ko">' in (tmp_path / "small" / "report.html").read_text(encoding="utf-8")
    assert "Undecided: " in json.loads((tmp_path / "small" / "manifest.json").read_text())["verdict"]


def test_the_command_line_runs_in_process_and_leaves_a_whole_study(space_file, tmp_path, capsys):
    space = space_file(search={"num_samples": 2, "finalists": 1})
    assert main([str(space), "--in-process", "--quiet", "--output", str(tmp_path)]) == 0
    assert "2 trials in" in capsys.readouterr().out
    folder = tmp_path / "small"
    assert (folder / "report.html").exists()
    assert (folder / "forecasters" / "1" / "model.safetensors").exists()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert list(manifest["test_openings"][0]["scores"])
    assert "--in-process" in manifest["command"]
    assert {end.worker for end in read_log(folder / "trials.jsonl").ends} == {os.getpid()}


@pytest.mark.parametrize("option", [("--address", "auto"), ("--niceness", "3")])
def test_options_of_ray_conflict_with_it(space_file, capsys, option):
    assert main([str(space_file()), "--in-process", *option]) == 2
    assert capsys.readouterr().err.startswith(f"--in-process: conflicts with {option[0]}; ")


def test_a_gpu_that_is_not_there_is_refused(space_file, tmp_path, capsys):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    space = space_file(resources={"gpu": 1})
    assert main([str(space), "--in-process", "--output", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "resources.gpu: 1 a trial, but PyTorch finds no GPU here; write 0" in error
    assert not (tmp_path / "small").exists()


def test_its_training_is_the_one_of_ray_workers(small_space, tmp_path):
    """A guard for the test above: the default training is `train_trial`, which Ray's workers call too."""
    space = small_space(search={"num_samples": 1, "finalists": 0})
    outcome = run(space, tmp_path / "small")
    prices = prepare(space.data)
    *_, last = train_trial(space, prices, space.split(prices).folds, outcome.ends[0].point)
    assert outcome.ends[0].scores == pytest.approx(last["best"], rel=1e-12, nan_ok=True)
