"""Kill Ray's raylet or GCS during the search, during the finalists, and after the last allowed restart."""

import os
import signal

import pytest
import studies
from studies import GRID, until

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]
LONG = {  # trials and finalists long enough to be met while they run
    "space": {"sequence_length": [5], "architecture": ["gru"]},
    "scheduler": {"max_epochs": 150, "grace_period": 150, "patience": None},
}


def named(process, name):
    """The processes of a study's session of which the name begins so."""
    return [pid for pid, command in studies.session(process.pid) if command.startswith(name)]


def kill(process, name):
    [victim] = named(process, name)
    os.kill(victim, signal.SIGKILL)


@pytest.mark.parametrize("victims", [
    ("raylet",),
    pytest.param(("raylet", "gcs_server"), marks=pytest.mark.nightly),
    pytest.param(("gcs_server", "raylet"), marks=pytest.mark.nightly),
])  # fmt: skip
def test_a_study_goes_on_by_itself_when_ray_dies_in_the_search_and_among_the_finalists(tmp_path, victims):
    search = {"search": {"finalists": 1, "finalist_seeds": 10 if len(victims) > 1 else 1}}
    process = studies.begin(studies.write(tmp_path, GRID, **LONG, **search), "--output", tmp_path, ray=True)
    folder = tmp_path / "grid"
    until(lambda: studies.ended(folder) >= 1, process)
    kill(process, victims[0])
    for victim in victims[1:]:
        until(lambda: named(process, "ray::_Worker"), process)
        kill(process, victim)
    out, err = studies.finish(process)
    studies.assert_whole(folder, 2)
    assert [line for line in err.splitlines() if "died" in line] == [
        f"Ray died ({name} was ended by SIGKILL); it is restarted and the study continues" for name in victims
    ]
    assert "(raylet)" not in out + err, "no lines of Ray's own"
    assert "2 trials" in out
    assert not studies.session(process.pid)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_where_ray_died_too_often_one_line_says_how_to_go_on_and_no_process_is_left(tmp_path, name):
    process = studies.begin(
        studies.write(tmp_path, GRID, **LONG), "--output", tmp_path, "--quiet",
        env={"STOCKRNN_RESTARTED": '{"times": 2}'}, ray=True
    )  # fmt: skip
    folder = tmp_path / "grid"
    until(lambda: studies.workers(folder), process)
    assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in studies.workers(folder).values()} == {5}
    kill(process, name)
    out, err = studies.finish(process, 1)
    assert (out, err) == (
        "",
        f"{folder}: Ray died ({name} was ended by SIGKILL) after 2 restarts; all ended trials are saved; continue with "
        f"--resume {folder}\n",
    )
    assert not studies.session(process.pid)


@pytest.mark.nightly
def test_of_several_studies_the_one_that_ran_goes_on_and_those_after_it_follow(tmp_path, yahoo):
    for seed, ticker in enumerate(("^KS11", "^GSPC", "^IXIC")):
        yahoo.list(ticker, 900, "2026-11-20", seed=seed)
    path = studies.write(tmp_path, GRID, **LONG, data={"source": "yahoo", "tickers": ["^KS11", "^GSPC", "^IXIC"]})
    process = studies.begin(path, "--output", tmp_path, "--cache", tmp_path / "cache", ray=True)
    second = tmp_path / "grid-GSPC"
    until(lambda: studies.workers(second), process)
    kill(process, "raylet")
    out, err = studies.finish(process)
    for folder in tmp_path.glob("grid-*/"):
        studies.assert_whole(folder, 2)
    assert err.count("Ray died") == 1
    assert out.index("Study 2 of 3: continues") < out.index("Study 3 of 3")
    assert "Study 1 of 3" not in out.partition("continues")[2]
    assert "3 studies, compared: " in out
    assert not studies.session(process.pid)


@pytest.mark.nightly
def test_a_cluster_that_dies_ends_the_study_in_one_line_and_is_not_started_again(tmp_path):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    address = cluster.address
    try:
        process = studies.begin(
            studies.write(tmp_path, GRID, **LONG), "--output", tmp_path, "--address", cluster.address, "--insecure",
            ray=True,
        )  # fmt: skip
        folder = tmp_path / "grid"
        until(lambda: studies.workers(folder), process)
        os.kill(cluster.head_node.all_processes["raylet"][0].process.pid, signal.SIGKILL)
        out, err = studies.finish(process, 1)
    finally:
        cluster.shutdown()
    assert out == ""
    assert err.splitlines()[-1] == (
        f"--address {address}: the cluster died (its raylet on this machine is gone: Connection refused); all "
        f"ended trials are saved; continue with --resume {folder}, when the cluster is up"
    )
    assert "(raylet)" not in err
    assert not studies.session(process.pid)
