"""A cluster whose machines have addresses of their own, its token, and who comes from another address without it."""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys

import network
import pytest
import studies
from studies import GRID, until

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]
TOKEN, WRONG = "5a3c" * 16, "2e71" * 16
PATIENCE = 120  # seconds in which whoever is refused must be
RAY = [sys.executable, "-m", "ray.scripts.scripts"]
CLIENT = "import ray; ray.init('ray://{}:10001'); print('answer', ray.get(ray.remote(lambda: 6 * 7).remote()))"
CONNECT = "import socket; socket.create_connection(({!r}, {}), timeout=1)"
SPACE = {**GRID, "name": "wide", "scheduler": {"max_epochs": 40, "grace_period": 40, "patience": None}}
# Ray serves jobs only where the packages of ray[default] are installed.
JOBS = all(map(importlib.util.find_spec, ("aiohttp", "aiohttp_cors", "colorful", "opencensus")))


class Cluster:
    """A head that asks for a token, and what is done on it and on other machines; all that is said is kept in files."""

    def __init__(self, places, folder):
        self.places, self.folder, self.running = places, folder, []
        self.head = places["head"][0]
        self.space = studies.write(folder, SPACE)

    def begin(self, name, *command, token=None):
        """A process on one of the machines, in whose home there is no token."""
        _, into = self.places[name]
        home = self.folder / name
        home.mkdir(exist_ok=True)
        env = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
        env |= {"HOME": str(home), "RAY_AUTH_MODE": "token"} | ({"RAY_AUTH_TOKEN": token} if token else {})
        said = self.folder / f"said-{len(self.running)}"
        with said.open("w") as file:
            process = subprocess.Popen(
                [*into, *map(str, command)], env=env, cwd=studies.ROOT, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip
        process.said = said
        self.running.append(process)
        return process

    def start(self, name, *options, token=TOKEN):
        """`ray start` with one CPU, in the foreground of its process."""
        return self.begin(
            name, *RAY, "start", "--block", f"--node-ip-address={self.places[name][0]}", "--num-cpus=1",
            "--object-store-memory=100000000", "--disable-usage-stats", *options, token=token,
        )  # fmt: skip

    def study(self, name, results, token, *options):
        return self.begin(
            name, sys.executable, "-m", "search.run", self.space, "--output", self.folder / results,
            "--address", f"{self.head}:6379", *options, token=token,
        )  # fmt: skip

    def client(self, name, token):
        return self.begin(name, sys.executable, "-c", CLIENT.format(self.head), token=token)

    def job(self, name, token):
        return self.begin(
            name, *RAY, "job", "submit", f"--address=http://{self.head}:8265", "--", "echo", "done", token=token
        )

    def reaches(self, name, port):
        process = self.begin(name, sys.executable, "-c", CONNECT.format(self.head, port))
        return process.wait(timeout=PATIENCE) == 0

    def end(self):
        for process in self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def ended(process):
    """The exit code, and what was said."""
    code = process.wait(timeout=PATIENCE)
    return code, process.said.read_text()


def space_of(process):
    return os.readlink(f"/proc/{process.pid}/ns/net")


def trials_at(process, folder):
    """The trials that run where the process does."""
    found = []
    for trial_id, pid in studies.workers(folder).items():
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(f"/proc/{pid}/ns/net") == space_of(process):
                found.append(trial_id)
    return found


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("n")  # a short name: sockets are in it
    with contextlib.ExitStack() as stack:
        try:
            places = stack.enter_context(network.machines("head", "worker", "stranger"))
        except network.NoNetworkError as error:
            pytest.skip(f"no machine can be had here that has an address of its own: {error}")
        cluster = Cluster(places, folder)
        stack.callback(cluster.end)
        jobs = (
            ("--include-dashboard=true", f"--dashboard-host={cluster.head}") if JOBS else ("--include-dashboard=false",)
        )
        head = cluster.start("head", "--head", "--port=6379", f"--temp-dir={folder}/h", *jobs)
        until(lambda: cluster.reaches("stranger", 6379), head, every=0.5)
        until(lambda: cluster.reaches("stranger", 10001), head, every=0.5)
        yield cluster


@pytest.mark.parametrize(("token", "says"), [(None, "asks for a token, and there is none"), (WRONG, "does not take")])
def test_from_another_address_nobody_gets_in_without_the_token(cluster, token, says):
    study = cluster.study("stranger", "refused", token)
    client = cluster.client("stranger", token)
    machine = cluster.start("stranger", f"--address={cluster.head}:6379", f"--temp-dir={cluster.folder}/s", token=token)
    code, said = ended(study)
    assert code == 2
    assert f"--address {cluster.head}:6379: {says}" in said
    assert not (cluster.folder / "refused" / "wide").exists()
    code, said = ended(client)
    assert code != 0
    assert "answer" not in said
    code, said = ended(machine)
    assert code != 0
    assert "Unauthenticated" in said or "AuthenticationError" in said


def test_with_the_token_a_client_gets_in_from_another_address(cluster):
    code, said = ended(cluster.client("stranger", TOKEN))
    assert code == 0, said
    assert "answer 42" in said


@pytest.mark.skipif(not JOBS, reason="Ray serves jobs only with the packages of ray[default]")
@pytest.mark.parametrize("token", [None, WRONG])
def test_jobs_are_taken_with_the_token_alone(cluster, token):
    code, said = ended(cluster.job("stranger", token))
    assert code != 0
    assert "done" not in said.splitlines()
    code, said = ended(cluster.job("stranger", TOKEN))
    assert code == 0, said


def test_a_study_runs_over_machines_with_addresses_of_their_own_and_keeps_the_token_nowhere(cluster):
    folder = cluster.folder / "results" / "wide"
    process = cluster.study("head", "results", TOKEN, "--max-concurrent", "2")
    until(lambda: studies.workers(folder), process)
    worker = cluster.start("worker", f"--address={cluster.head}:6379", f"--temp-dir={cluster.folder}/w")
    until(lambda: trials_at(worker, folder), process)
    code, said = ended(process)
    assert code == 0, said
    studies.assert_whole(folder, 12)
    assert TOKEN not in said
    logs = [path for machine in ("h", "w") for path in (cluster.folder / machine).glob("session_2*/logs/**/*")]
    files = [path for path in [*folder.rglob("*"), *logs] if path.is_file()]
    assert len(logs) > 10
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]
