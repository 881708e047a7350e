"""Add and remove machines during a study: a new one gets trials, and those of a lost one continue elsewhere."""

import contextlib
import os
import re
import signal
from pathlib import Path

import pytest
import studies
from studies import GRID, until

from search.space.space import load_space
from search.tune.trial import train_trial
from stockrnn.prices.snapshot import read_prices

pytestmark = [pytest.mark.ray, pytest.mark.nightly, pytest.mark.timeout(600)]
# Trials of many seconds and many rungs: at each a trial that goes on may write a checkpoint, if it is five seconds old.
# The first that comes to a rung always goes on.
LONG = {
    **GRID,
    "name": "long",
    "search": {**GRID["search"], "replay": False},  # a machine that joins gets work at once
    "space": {"architecture": "gru", "hidden_size": [16, 32, 40], "sequence_length": 30},
    "scheduler": {"max_epochs": 250, "grace_period": 60, "reduction_factor": 1.1, "patience": None},
}


@pytest.fixture
def cluster():
    """A head on which no trial runs."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


def processes(node):
    """All of a machine."""
    family = [process.process.pid for kind in node.all_processes.values() for process in kind]
    for pid in family:  # grows
        with contextlib.suppress(FileNotFoundError):
            family += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return family


def kept(folder, nodes):
    """A trial that runs and has a checkpoint, and the machine it runs on."""
    running = {pid: trial_id for trial_id, pid in studies.workers(folder).items()}
    for node in nodes:
        for trial_id in map(running.get, processes(node)):
            if trial_id and any((folder / "checkpoints" / trial_id).glob("*.safetensors")):
                return trial_id, node
    return None


def vanish(cluster, node):
    """Kill all processes of a machine at once, as when its power fails."""
    for pid in processes(node):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    cluster.remove_node(node, allow_graceful=False)


def straight(path, folder, trial_id):
    """The scores of a trial, epoch by epoch, to which nothing happens."""
    space, (prices, _) = load_space(str(path)), read_prices(folder / "prices.parquet")
    (point,) = [event["point"] for event in studies.events(folder)
                if event["event"] == "start" and event["trial_id"] == trial_id]  # fmt: skip
    for report in train_trial(space, prices, space.split(prices).folds, point):
        yield report["scores"]


def test_a_new_machine_gets_work_and_a_lost_ones_trials_go_on_from_their_checkpoints(tmp_path, cluster):
    first = cluster.add_node(num_cpus=1)
    path, folder = studies.write(tmp_path, LONG), tmp_path / "long"
    process = studies.begin(path, "--output", tmp_path, "--address", cluster.address, "--insecure", ray=True)
    until(lambda: studies.workers(folder), process)
    second = cluster.add_node(num_cpus=1)
    before = studies.ended(folder)
    assert until(lambda: studies.training(processes(second)), process), "the study ended before"
    assert studies.ended(folder) - before <= 1, "the new machine had no work while two trials ended"
    assert until(lambda: set(studies.workers(folder).values()) & set(processes(second)), process)
    lost, machine = until(lambda: kept(folder, [first, second]), process)
    vanish(cluster, machine)
    _, err = studies.finish(process)
    studies.assert_whole(folder, 3)
    assert f"{lost}: its worker died; the trial continues with another worker" in err
    went_on = {
        name: int(epoch) for name, epoch in re.findall(r"^(\d+): continues from epoch (\d+)$", err, re.MULTILINE)
    }
    assert list(went_on) == [lost]
    assert went_on[lost] >= 60
    events = [event for event in studies.events(folder) if event["trial_id"] == lost]
    scores = [event["scores"] for event in events if event["event"] == "epoch"]
    for found, known in zip(scores, straight(path, folder, lost), strict=False):
        assert found == pytest.approx(known, abs=1e-6)
    print(f"{lost} went on from epoch {went_on[lost]} of {len(scores)}")
