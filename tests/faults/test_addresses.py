"""Run a study on machines with different addresses, and refuse every connection without the cluster's token."""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import network
import pytest
import studies
from studies import FINALIST, GRID, until

pytestmark = [pytest.mark.ray, pytest.mark.nightly, pytest.mark.timeout(600)]
TOKEN, WRONG = "5a3c" * 16, "2e71" * 16
PATIENCE = 240  # seconds in which whoever is refused must be
TRIALS = 6
SPACE = {
    **GRID,
    "search": {**GRID["search"], **FINALIST, "replay": False},  # a machine that joins gets work at once
    "name": "wide",
    "space": {"architecture": ["rnn", "gru"], "hidden_size": 16, "sequence_length": [10, 15, 20]},
    "scheduler": {"max_epochs": 300, "grace_period": 300, "patience": None},
}
RAY = (sys.executable, "-m", "ray.scripts.scripts")
CONNECT = "import socket; socket.create_connection(({!r}, {}), timeout=1)"
CLIENT = "import ray; ray.init('ray://{}:10001'); print('answer', ray.get(ray.remote(lambda: 6 * 7).remote()))"
# What needs no Ray where it comes from: the service of jobs, asked as a browser or curl would.
HTTP = """
import sys, urllib.error, urllib.request
header = {{"Authorization": "Bearer " + sys.argv[1]}} if sys.argv[1:] else {{}}
request = urllib.request.Request("http://{}:8265/api/jobs/", b'{{"entrypoint": "echo answer"}}', header)
try:
    print("taken", urllib.request.urlopen(request, timeout=60).status)
except urllib.error.HTTPError as error:
    sys.exit(f"refused with {{error.code}}")
"""
# Without them Ray serves no jobs, and nothing listens at their port.
JOBS = all(map(importlib.util.find_spec, ("aiohttp", "aiohttp_cors", "colorful", "opencensus")))
needs_jobs = pytest.mark.skipif(not JOBS, reason="Ray serves no jobs here; pip install 'ray[default]==2.60.0'")


class Cluster:
    """A head that asks for a token, and what is done on it and on other machines; all that is said is in files."""

    def __init__(self, places, folder):
        self.places, self.folder, self.running = places, folder, []
        self.head, _ = places["head"]
        self.space = studies.write(folder, SPACE)

    def begin(self, name, *command, token=None):
        """A process on one of the machines; no token is in its home."""
        home = self.folder / name
        home.mkdir(exist_ok=True)
        env = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
        mode = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token} if token else {"RAY_AUTH_MODE": "disabled"}
        said = self.folder / f"said-{len(self.running)}"
        with said.open("w") as file:
            process = subprocess.Popen(
                [*self.places[name][1], *map(str, command)], env=env | {"HOME": str(home)} | mode, cwd=studies.ROOT,
                start_new_session=True, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.running.append(process)
        process.said = said
        return process

    def start(self, name, *options, token=TOKEN):
        """`ray start` with one CPU, in the foreground of its process."""
        return self.begin(
            name, *RAY, "start", "--block", f"--node-ip-address={self.places[name][0]}", "--num-cpus=1",
            "--object-store-memory=100000000", "--disable-usage-stats", *options, token=token,
        )  # fmt: skip

    def join(self, name, token=TOKEN):
        return self.start(name, f"--address={self.head}:6379", f"--temp-dir={self.folder}/{name[0]}", token=token)

    def study(self, name, output, token, *options):
        return self.begin(
            name, sys.executable, "-m", "search.run", self.space, "--output", self.folder / output,
            "--address", f"{self.head}:6379", *options, token=token,
        )  # fmt: skip

    def knock(self, token):
        """From the stranger's machine, the ways in by which anything can be run."""
        ways = {"client": self.begin("stranger", sys.executable, "-c", CLIENT.format(self.head), token=token)}
        if JOBS:
            job = ("job", "submit", f"--address=http://{self.head}:8265", "--", "echo", "answer")
            ways["job"] = self.begin("stranger", *RAY, *job, token=token)
            http = (sys.executable, "-c", HTTP.format(self.head), *filter(None, [token]))
            ways["http"] = self.begin("stranger", *http)
        return ways

    def reaches(self, port):
        return self.begin("stranger", sys.executable, "-c", CONNECT.format(self.head, port)).wait(PATIENCE) == 0

    def end(self):
        for process in self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def ended(process):
    """The exit code, and what was said."""
    return process.wait(PATIENCE), process.said.read_text()


def machine_of(pid):
    """The network that a process is in."""
    return os.readlink(f"/proc/{pid}/ns/net")


def beside(process):
    """All processes on the machine of this one."""
    found = []
    for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):  # gone, or another's
            if machine_of(pid) == machine_of(process.pid):
                found.append(pid)
    return found


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("n")  # a short name: sockets are below
    with contextlib.ExitStack() as stack:
        try:
            places = stack.enter_context(network.machines("head", "worker", "stranger"))
        except network.NoNetworkError as error:
            pytest.skip(f"no machine can be made here that has an address of its own: {error}")
        cluster = Cluster(places, folder)
        stack.callback(cluster.end)
        jobs = (f"--include-dashboard={str(JOBS).lower()}", f"--dashboard-host={cluster.head}")
        head = cluster.start("head", "--head", "--port=6379", f"--temp-dir={folder}/h", *jobs)
        for port in (6379, 10001, *([8265] if JOBS else [])):
            until(lambda port=port: cluster.reaches(port), head, every=0.5)
        yield cluster


@pytest.fixture(scope="module")
def knocks(cluster):
    """Every way in, tried without a token and with a wrong one: that takes Ray's patience of half a minute."""
    knocks = {None: cluster.knock(None), WRONG: cluster.knock(WRONG)}
    for token, ways in knocks.items():
        ways |= {"machine": cluster.join("stranger", token)}
        ways |= {"study": cluster.study("stranger", "refused", token, "--insecure")}
    return knocks


@pytest.fixture(scope="module")
def attempts(knocks):
    """What came of them, by the token and the way."""
    return {(token, way): ended(process) for token, ways in knocks.items() for way, process in ways.items()}


@pytest.mark.usefixtures("knocks")  # which go on meanwhile
def test_a_study_runs_over_machines_with_addresses_of_their_own_one_of_which_comes_late(cluster):
    folder = cluster.folder / "results" / "wide"
    process = cluster.study("head", "results", TOKEN, "--workers", "2")
    until(lambda: studies.workers(folder), process)
    machine = cluster.join("worker")
    until(lambda: "Ray runtime started" in machine.said.read_text(), process)
    before = studies.ended(folder)
    assert until(lambda: studies.training(beside(machine)), process), "the study ended before"
    assert studies.ended(folder) - before <= 1, "the new machine had no work while two trials ended"
    for each in (machine, process):  # the head has work as before
        assert until(lambda each=each: set(studies.workers(folder).values()) & set(beside(each)), process)
    code, said = ended(process)
    assert code == 0, said
    studies.assert_whole(folder, TRIALS)
    assert "retry" not in {event["event"] for event in studies.events(folder)}


@pytest.mark.parametrize(
    ("way", "without", "wrong"),
    [
        ("study", "requires a token, and none was found", "rejects your token"),
        ("client", "Error", "ConnectionError: ray client connection timeout"),
        ("machine", "Error", "InvalidAuthToken"),
        pytest.param(
            "job", "Unauthorized: Missing authentication token", "Invalid authentication token", marks=needs_jobs
        ),
        pytest.param("http", "refused with 401", "refused with 403", marks=needs_jobs),
    ],
)
def test_from_another_address_nobody_gets_in_without_the_token(attempts, way, without, wrong):
    for token, expected in ((None, without), (WRONG, wrong)):
        code, said = attempts[token, way]
        assert code not in (0, None)
        assert expected in said
        assert "answer" not in said


def test_nobody_who_was_refused_left_anything(cluster, attempts):
    assert not list((cluster.folder / "refused").iterdir())


def test_with_the_token_all_of_them_get_in_from_another_address(cluster):
    for way, process in cluster.knock(TOKEN).items():
        code, said = ended(process)
        # Errors of Ray on a busy machine: the server starts too late, or psutil meets a process that has just ended.
        if "Starting Ray client server failed" in said or "ZombieProcess" in said:
            again = cluster.begin("stranger", sys.executable, "-c", CLIENT.format(cluster.head), token=TOKEN)
            code, said = ended(again)
        assert code == 0, (way, said)
        assert "taken 200" in said if way == "http" else "answer" in said


def test_no_file_and_no_line_holds_the_token(cluster):
    """Of a study, of Ray and of whoever came: results, all that was printed, and Ray's own logs of all machines."""
    places = [path for path in cluster.folder.rglob("*") if path.is_file()]
    assert {"trials.jsonl", "manifest.json", "gcs_server.out", "raylet.out"} <= {path.name for path in places}
    assert len([path for path in places if path.name.startswith("python-core-worker")]) >= 3
    held = [path for path in places for token in (TOKEN, WRONG) if token.encode() in path.read_bytes()]
    assert not held
