"""Refuse a results folder that a machine of the cluster does not share, before the study starts."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
import studies
from studies import GRID

pytestmark = [pytest.mark.ray, pytest.mark.nightly, pytest.mark.timeout(300)]


@contextlib.contextmanager
def machine(head, hides):
    """A machine of a cluster on which a folder is another one, as on a machine with a disk of its own."""
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--address", head, "--num-cpus", "1", "--block"]
    hidden = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs tmpfs "{hides}" && exec "$@"', "sh"]
    if (tried := subprocess.run([*hidden, "true"], capture_output=True, text=True)).returncode:
        pytest.skip(f"this process may not hide a folder from another ({tried.stderr.strip()})")
    process = subprocess.Popen(
        [*hidden, *ray], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield process
    finally:
        studies.kill(process, group=True)


@pytest.fixture
def head():
    """Its address; no trial runs on it."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield cluster.address
    cluster.shutdown()


def test_a_folder_that_a_machine_does_not_see_is_refused_and_one_that_all_see_is_taken(head, tmp_path):
    own, shared = tmp_path / "own", tmp_path / "shared"
    own.mkdir()
    path = studies.write(tmp_path, GRID, search={"num_samples": 2})
    with machine(head, own):
        _, err = studies.run(path, "--output", own, "--address", head, "--insecure", "--quiet", code=2, ray=True)
        assert "does not see this folder" in err
        assert f"--output {own}: machine " in err
        assert "s3://bucket/results" in err
        assert len(err.splitlines()) == 1
        assert not list(Path(own).iterdir())
        studies.run(path, "--output", shared, "--address", head, "--insecure", "--quiet", ray=True)
    assert studies.ended(shared / "grid") == 2
