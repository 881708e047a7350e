"""Run GPU trials on a real Ray that is configured with a GPU that does not exist: demands, fractions, failures.

Ray assigns its resources as always, but PyTorch finds no GPU.
"""

import json
import threading
import time
from functools import partial

import pytest
import ray
import torch
import yaml
from ray import tune

from search.cluster.autoscaler import read_node_types
from search.cluster.demands import ResourceDemands
from search.cluster.gpus import query_gpu_memory
from search.cost.stalls import StallLimits, StallWatch
from search.run import main
from search.study.finalists import Finalist
from search.study.ray_executor import resource_request
from search.study.refit import refit_finalists
from search.tune.asha import FiniteASHA
from search.tune.callback import failure_message
from search.tune.patches.actors import patch_tune
from search.tune.trainable import TrialTrainable
from search.tune.trial import GpuMemoryError, is_out_of_gpu_memory
from stockrnn.prices.cleaning import clean
from stockrnn.prices.loading import load

SMALL, LARGE = 4, 8  # hidden sizes: of trials on the CPU and of those on the GPU
WHEN = [{"if": {"hidden_size": {"min": LARGE}}, "gpu": 0.25}]
FULL = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB"

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("local_ray"),
    pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU, on which one is counted"),
]


class Greedy(TrialTrainable):
    """A trial on the GPU needs half of it, with any demand; a trial on the CPU trains as always."""

    def _start(self, config):
        super()._start(config)
        share = self._share
        if share:
            self._reports = greedy(share)


def greedy(share):
    if share < 0.5:
        raise torch.OutOfMemoryError(FULL)
    time.sleep(1)
    yield {"epoch": 1, "score": 1.0, "status": "complete", "done": True, "best": {}, "share": share}


class Insatiable(Greedy):
    """A trial that needs more than a whole GPU."""

    def _start(self, config):
        TrialTrainable._start(self, config)
        self._reports = insatiable()


def insatiable():
    raise torch.OutOfMemoryError(FULL)
    yield


class Watching(tune.Callback):
    """Stores the resources, times and results of trials."""

    def __init__(self):
        self.given, self.recovered, self.results, self.times = {}, [], {}, {}

    def on_trial_start(self, iteration, trials, trial, **info):
        asked = trial.placement_group_factory.required_resources.get("GPU", 0)
        self.given.setdefault(trial.config["trial_id"], []).append(asked)
        self.times[trial.config["trial_id"]] = [time.monotonic()]

    def on_trial_result(self, iteration, trials, trial, result, **info):
        self.results[trial.config["trial_id"]] = result
        self.times[trial.config["trial_id"]][1:] = [time.monotonic()]

    def on_trial_recover(self, iteration, trials, trial, **info):
        self.recovered.append((trial.config["trial_id"], failure_message(trial)))


@pytest.fixture
def mixed(small_space):
    return small_space(
        space={"architecture": ["gru"], "hidden_size": [SMALL, LARGE], "sequence_length": 3},
        scheduler={"max_epochs": 3, "grace_period": 3}, resources={"when": WHEN},
    )  # fmt: skip


@pytest.fixture(scope="module")
def prices():
    return clean(load("nasdaq"))


def searched(trainable, sizes, space, prices, folder, max_failures=0):
    """Run a trial for each hidden size; the ids follow their order."""
    splits = space.split(prices)
    needs = ResourceDemands(space, splits, len(prices), None)
    watching = Watching()
    points = [
        {"trial_id": f"{number:05d}", "point": {"architecture": "gru", "hidden_size": size, "sequence_length": 3}}
        for number, size in enumerate(sizes)
    ]
    with patch_tune(StallLimits(space, splits), StallWatch()):
        tune.Tuner(
            tune.with_resources(
                tune.with_parameters(trainable, prices=prices, folds=splits.folds, space=space),
                partial(resource_request, needs),
            ),
            param_space=tune.grid_search(points),
            tune_config=tune.TuneConfig(scheduler=FiniteASHA(space), reuse_actors=True),
            run_config=tune.RunConfig(
                name="ray", storage_path=str(folder), callbacks=[watching], verbose=0,
                failure_config=tune.FailureConfig(max_failures=max_failures),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            ),
        ).fit()  # fmt: skip
    return watching


def test_trials_on_cpus_and_on_gpus_run_side_by_side_and_a_share_that_is_too_small_grows(mixed, prices, tmp_path):
    sizes = [LARGE, SMALL, LARGE, SMALL, SMALL]
    held: list[dict] = []
    done = threading.Event()

    def look():
        while not done.wait(0.1):
            groups = ray.util.placement_group_table().values()
            held.append([group["bundles"][0] for group in groups if group["state"] == "CREATED"])

    looking = threading.Thread(target=look)
    looking.start()
    watching = searched(Greedy, sizes, mixed, prices, tmp_path)
    done.set()
    looking.join()
    assert watching.given["00000"] == watching.given["00002"] == [0.25, 0.5]  # and max_failures is 0
    assert [why for _, why in watching.recovered] == [f"GpuMemoryError: {FULL}"] * 2
    for number, size in enumerate(sizes):
        result = watching.results[f"{number:05d}"]
        assert result["status"] == "complete"
        assert ("share" in result) == (size == LARGE)
    for name in ("00001", "00003", "00004"):
        assert watching.given[name] == [0]
    demands = {tuple(sorted(bundle.items())) for groups in held for bundle in groups}
    assert demands >= {(("CPU", 1.0),), (("CPU", 1.0), ("GPU", 0.5))}
    assert any(len({"GPU" in bundle for bundle in groups}) == 2 for groups in held)  # both at one moment


@pytest.mark.nightly
def test_a_trial_for_which_the_whole_gpu_is_too_small_fails_and_says_so(mixed, prices, tmp_path):
    watching = searched(Insatiable, [LARGE], mixed, prices, tmp_path)
    assert watching.given["00000"] == [0.25, 0.5, 1.0]
    assert watching.results["00000"]["status"] == "failed"
    assert watching.results["00000"]["message"] == f"OutOfMemoryError: {FULL}"


@pytest.mark.nightly
def test_a_study_goes_on_where_pytorch_sees_no_gpu_and_names_what_failed(space_file, tmp_path, capsys):
    space = space_file(
        space={"architecture": ["gru"], "hidden_size": [SMALL, 5, 6, 7, LARGE], "sequence_length": 3},
        search={"sampler": "grid", "num_samples": None, "finalists": 1}, resources={"when": WHEN},
    )  # fmt: skip
    assert main([str(space), "--output", str(tmp_path), "--quiet"]) == 0
    events = [json.loads(line) for line in (tmp_path / "small" / "trials.jsonl").read_text().splitlines()]
    ends = {event["point"]["hidden_size"]: event for event in events if event["event"] == "end"}
    assert {size: end["status"] for size, end in ends.items()} == {
        SMALL: "complete", 5: "complete", 6: "complete", 7: "complete", LARGE: "failed",
    }  # fmt: skip
    assert ends[LARGE]["message"].startswith("GpuError: a share of 0.25 of a GPU was given, but PyTorch finds no GPU")
    assert "Traceback" not in capsys.readouterr().err


def test_five_trials_alike_that_find_no_gpu_end_the_study_with_that_message(space_file, tmp_path, capsys):
    assert main([str(space_file()), "--output", str(tmp_path), "--quiet", "--gpus-per-trial", "0.25"]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith(
        "the first 5 trials failed with the same error: GpuError: a share of 0.25 of a GPU was given, but PyTorch"
    )


def test_auto_trains_on_the_cpu_where_pytorch_sees_no_gpu_and_says_so_once(space_file, tmp_path, capsys):
    space = space_file(search={"num_samples": 2, "finalists": 1})
    assert main([str(space), "--output", str(tmp_path), "--gpus-per-trial", "auto"]) == 0
    said = capsys.readouterr().err
    assert said.count("resources.gpu: auto is the CPU, because PyTorch finds no GPU") == 1
    assert "1 default, 1 complete" in said


def test_a_gpu_that_is_only_counted_has_no_memory():
    assert query_gpu_memory() is None


@pytest.mark.parametrize(
    ("content", "machines"),
    [
        (
            {"available_node_types": {
                "head": {"resources": {"CPU": 0, "memory": 8e9}, "node_config": {}},
                "cpu": {"resources": {"CPU": 8}, "max_workers": 2},
                "gpu": {"resources": {"CPU": 8, "GPU": 1}, "max_workers": 0},
            }},
            [{"CPU": 0, "memory": 8e9}, {"CPU": 8}],
        ),
        ({"available_node_types": {"cpu": {"resources": {}}}}, None),  # Ray asks the cloud; not known here
        ({"available_node_types": {"cpu": {"resources": {"CPU": "eight"}}}}, None),
        ({"provider": {"type": "local"}}, None),
        ("- no mapping", None),
        ("{", None),
        (None, None),
    ],
)  # fmt: skip
def test_what_an_autoscaler_may_start_is_known_on_its_head(tmp_path, monkeypatch, content, machines):
    monkeypatch.setenv("HOME", str(tmp_path))
    if content is not None:
        text = content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
        (tmp_path / "ray_bootstrap_config.yaml").write_text(text)
    assert read_node_types() == machines


@pytest.mark.parametrize("key", ["resources.gpu", "resources.when"])
def test_more_than_there_is_is_refused_with_its_key(space_file, tmp_path, capsys, key):
    entry = '[{"if": {"hidden_size": 8}, "cpu": 4, "gpu": 1}]'
    options = ["--set", f"resources.when={entry}"] if key == "resources.when" else ["--set", "resources.cpu=4"]
    assert main([str(space_file()), "--output", str(tmp_path), "--quiet", *options]) == 2
    where = "resources.when.0.cpu" if key == "resources.when" else "resources.cpu"
    assert f"{where}: 4 per trial, but this machine has 3" in capsys.readouterr().err
    assert not (tmp_path / "small").exists()


def test_a_finalist_that_finds_no_gpu_is_named_and_one_on_the_cpu_is_trained(mixed, prices, study_context):
    splits = mixed.split(prices)
    needs = ResourceDemands(mixed, splits, len(prices), None)
    finalists = [
        Finalist(
            rank=rank, trial_id=f"{rank:05d}", point={"architecture": "gru", "hidden_size": size}, epochs=1, seeds=1
        )
        for rank, size in ((1, LARGE), (2, SMALL))
    ]
    forecasts = {finalist.trial_id: prices.column("close")[-60:] for finalist in finalists}
    refitted, failed = refit_finalists(study_context(mixed, prices), finalists, needs.at, forecasts)
    assert [one.finalist.trial_id for one in refitted] == ["00002"]
    assert len(refitted[0].forecasts[0]) == len(splits.final.validation)
    assert failed["00001"].startswith("GpuError: a share of 0.25 of a GPU was given")


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (torch.OutOfMemoryError(FULL), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), False),
        (MemoryError("CUDA out of memory"), False),
        (GpuMemoryError(FULL), True),
    ],
)
def test_what_a_larger_share_may_mend(error, lost):
    assert is_out_of_gpu_memory(error) is lost
