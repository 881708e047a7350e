"""Join a real cluster with a token, on an address that other machines can reach."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from commands import call

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[3]
TOKEN, WRONG = "1f" * 32, "2e" * 32


def own_address():
    """Return this machine's address on its network, or loopback if it has none. No packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return probe.getsockname()[0]


def free_port():
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def environment(home, token=None):
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return plain | {"HOME": str(home)} | ({"RAY_AUTH_TOKEN": token} if token else {})


def started(folder, mode):
    """Run a head node with one CPU; yield its address."""
    address, port = own_address(), free_port()
    command = [
        sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--node-ip-address={address}",
        f"--port={port}", "--num-cpus=1", "--include-dashboard=false", "--disable-usage-stats",
        "--object-store-memory=100000000", f"--temp-dir={folder}",
    ]  # fmt: skip
    with subprocess.Popen(
        command, env=environment(folder, TOKEN) | {"RAY_AUTH_MODE": mode},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as head:  # fmt: skip
        for _ in range(480):
            with socket.socket() as probe:
                if probe.connect_ex((address, port)) == 0:
                    break
            time.sleep(0.5)
        yield f"{address}:{port}"
        head.terminate()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    yield from started(tmp_path_factory.mktemp("g"), "token")


@pytest.fixture(scope="module")
def unguarded(tmp_path_factory):
    yield from started(tmp_path_factory.mktemp("u"), "disabled")


def study(space, folder, address, *options, token=None):
    """Run a study on a cluster. If it hangs, the test fails with the stack of each of its threads."""
    process = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-m", "search.run", str(space), "--output", str(folder / "results"),
         "--quiet", "--address", address, *options],
        cwd=ROOT, env=environment(folder, token), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=500)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        pytest.fail("\n".join(process.communicate()))
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def test_with_the_token_a_study_runs_and_does_not_store_it(space_file, tmp_path, guarded):
    space = space_file(search={"num_samples": 2, "finalists": 1}, scheduler={"max_epochs": 2, "grace_period": 2})
    result = study(space, tmp_path, guarded, token=TOKEN)
    assert result.returncode == 0, result.stderr
    assert TOKEN not in result.stdout + result.stderr
    written = [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if TOKEN.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("token", "options", "said"),
    [
        (None, (), "requires a token, and none was found"),
        (WRONG, (), "rejects your token"),
        pytest.param(
            None, ("--insecure",), "requires a token, and none was found", marks=pytest.mark.nightly
        ),
        pytest.param(
            TOKEN, ("--set", "resources.gpu=1"), "no machine of the cluster has more than 0, and no larger one",
            marks=pytest.mark.nightly,
        ),
        (
            TOKEN, ("--set", 'resources.when=[{"if": {"hidden_size": {"min": 8}}, "gpu": 0.5}]'),
            "resources.when.0.gpu: 0.5 per trial, but no machine of the cluster has more than 0, and no larger one",
        ),
    ],
)  # fmt: skip
def test_an_impossible_study_ends_with_one_line(space_file, tmp_path, guarded, token, options, said):
    result = study(space_file(), tmp_path, guarded, *options, token=token)
    assert (result.returncode, result.stdout) == (2, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert (token or TOKEN) not in result.stderr
    assert not (tmp_path / "results" / "small").exists()


@pytest.mark.skipif(own_address() == "127.0.0.1", reason="this machine is on no network")
def test_a_cluster_without_a_token_is_not_joined(space_file, tmp_path, unguarded):
    result = study(space_file(), tmp_path, unguarded, token=TOKEN)
    assert result.returncode == 2
    assert "requires no token, so anyone who can connect to" in result.stderr
    assert result.stderr.count("\n") == 1


@contextmanager
def overheard(address):
    """Run a proxy for an address; yield the address of the proxy, and the data that are sent through it."""
    host, port = address.split(":")
    heard = []

    def pass_on(source, target, keep):
        with suppress(OSError):
            while data := source.recv(65536):
                if keep:
                    heard.append(data)
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def listen(door):
        with suppress(OSError):
            while True:
                here, _ = door.accept()
                there = socket.create_connection((host, int(port)))
                pairs = ((here, there, True), (there, here, False))
                both = [threading.Thread(target=pass_on, args=pair) for pair in pairs]
                for thread in both:
                    thread.start()
                for thread in both:
                    thread.join()
                here.close()
                there.close()

    with socket.create_server(("127.0.0.1", 0)) as door:
        listener = threading.Thread(target=listen, args=(door,))
        listener.start()
        yield f"127.0.0.1:{door.getsockname()[1]}", heard
        door.shutdown(socket.SHUT_RDWR)
        listener.join()


@pytest.mark.parametrize("asks", [True, False])
def test_no_token_is_sent_to_a_cluster_that_requires_none(tmp_path, request, asks):
    real = request.getfixturevalue("guarded" if asks else "unguarded")
    with overheard(real) as (address, heard):
        code = f"from search.cluster.auth import check_access; print(*check_access({address!r}, insecure=True))"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment(tmp_path, TOKEN), capture_output=True, text=True,
            check=True,
        )  # fmt: skip
    assert done.stdout == f"{address} {'token' if asks else 'disabled'}\n"
    assert (TOKEN.encode() in b"".join(heard)) == asks


def test_studies_that_start_at_the_same_time_create_one_token(tmp_path):
    code = (
        "import sys, pathlib; from search.cluster.auth import ensure_token; print('ready', flush=True); "
        "sys.stdin.readline(); ensure_token(); "
        "print(pathlib.Path.home().joinpath('.ray/auth_token').read_text())"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    env = environment(tmp_path)
    begun = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=env, **pipes) for _ in range(6)]
    assert {process.stdout.readline() for process in begun} == {"ready\n"}
    for process in begun:
        process.stdin.write("now\n")
        process.stdin.flush()
    assert len({process.communicate()[0] for process in begun}) == 1
    assert [path.name for path in (tmp_path / ".ray").iterdir()] == ["auth_token"]


def test_only_its_user_can_read_a_new_token(tmp_path):
    code = "from search.cluster.auth import ensure_token; ensure_token()"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(tmp_path), check=True)
    path = tmp_path / ".ray" / "auth_token"
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(path.read_text(encoding="utf-8")) == 64


def test_a_ray_that_does_not_start_is_one_line(space_file, tmp_path, monkeypatch):
    """As on a busy machine, where Ray's processes do not start in time."""
    import ray

    from search.run import main

    def init(**options):
        raise Exception("The current node timed out during startup.\nThis could happen because the GCS is overloaded.")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    done = call(main, space_file(), "--output", tmp_path / "results", "--quiet")
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("Ray did not start on this machine (The current node timed out during startup. ")
    assert "--in-process" in line
    assert not (tmp_path / "results" / "small").exists()
