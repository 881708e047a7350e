"""Machines that come and go while a study runs: a new one gets work, the trials of a lost one go on elsewhere."""

import contextlib
import os
import re
import signal
import time
from pathlib import Path

import pytest
import studies
from studies import GRID, until

from search.space import load_space
from search.trial import reports
from stockrnn.parquet import read_prices

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]
SOON = 10.0  # seconds
# Many rungs, at each of which a trial may write a checkpoint five seconds after its beginning or its last one.
LONG = {
    **GRID,
    "name": "long",
    "space": {"architecture": "gru", "hidden_size": [24, 32, 40], "sequence_length": 30},
    "scheduler": {"max_epochs": 40, "grace_period": 5, "reduction_factor": 1.1, "patience": None},
}


@pytest.fixture
def cluster():
    """A head on which no trial runs."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def trials_on(node, folder):
    """The trials that run on a machine: those whose workers its raylet started."""
    raylet = node.all_processes["raylet"][0].process.pid
    found = []
    for trial_id, worker in studies.workers(folder).items():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if parent(worker) == raylet:
                found.append(trial_id)
    return found


def vanish(cluster, node):
    """Kill all processes of a machine at once, as when its power fails."""
    family = [process.process.pid for kind in node.all_processes.values() for process in kind]
    for pid in family:  # grows
        with contextlib.suppress(FileNotFoundError):
            family += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    cluster.remove_node(node, allow_graceful=False)


def straight(path, folder, trial_id):
    """The scores of a trial, epoch by epoch, to which nothing happens."""
    space, (prices, _) = load_space(str(path)), read_prices(folder / "prices.parquet")
    (point,) = [event["point"] for event in studies.events(folder)
                if event["event"] == "start" and event["trial_id"] == trial_id]  # fmt: skip
    return [report["scores"] for report in reports(space, prices, space.folds(prices).folds, point)]


def test_a_new_machine_gets_work_and_a_lost_ones_trials_go_on_from_their_checkpoints(tmp_path, cluster):
    cluster.add_node(num_cpus=1)
    path, folder = studies.write(tmp_path, LONG), tmp_path / "long"
    process = studies.begin(path, "--output", tmp_path, "--address", cluster.address, "--insecure")
    until(lambda: studies.workers(folder), process)
    machine = cluster.add_node(num_cpus=1)
    joined = time.monotonic()
    until(lambda: trials_on(machine, folder), process)
    waited = time.monotonic() - joined
    kept = folder / "checkpoints"
    (lost, *_) = until(lambda: [name for name in trials_on(machine, folder) if any((kept / name).glob("*"))], process)
    vanish(cluster, machine)
    _, err = studies.finish(process)
    studies.assert_whole(folder, 3)
    assert f"{lost}: its worker died; it goes on with another worker" in err
    went_on = {name: int(epoch) for name, epoch in re.findall(r"^(\d+): goes on from epoch (\d+)$", err, re.MULTILINE)}
    assert list(went_on) == [lost]
    assert went_on[lost] >= 5
    events = [event for event in studies.events(folder) if event["trial_id"] == lost]
    scores = [event["scores"] for event in events if event["event"] == "epoch"]
    expected = straight(path, folder, lost)
    assert len(scores) <= len(expected)
    for found, known in zip(scores, expected, strict=False):
        assert found == pytest.approx(known, abs=1e-6)
    assert waited < SOON
    print(f"the new machine reported after {waited:.1f} s; {lost} went on from epoch {went_on[lost]}")
