"""Tiers and fixtures of all tests: a running Ray, a context for studies, a local Yahoo server, an S3 server."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
import tiers
import torch

torch.set_num_threads(1)  # the networks are small: more threads only get in each other's way
CPUS = 3  # of the Ray that tests share; its GPU does not exist


def pytest_configure(config):
    if re.search(r"(?<!not )nightly", config.option.markexpr):
        os.environ[tiers.NIGHTLY] = "1"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Select the tier; put the tests that start Ray first, because the others fill the gaps at the end."""
    if tiers.NIGHTLY in os.environ:
        for item in items:
            if item.get_closest_marker("campaign"):
                item.add_marker("nightly")
    else:
        nightly = [item for item in items if item.get_closest_marker("nightly")]
        config.hook.pytest_deselected(items=nightly)
        items[:] = [item for item in items if item not in set(nightly)]
    slow = {item.path for item in items if item.get_closest_marker("ray")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def _shared_ray():
    """A Ray that the tests of this process share: it starts with the first of them."""
    import ray

    from search.cluster.ray_session import connect_ray

    with pytest.MonkeyPatch.context() as patch:
        init = ray.init
        patch.setattr(ray, "init", lambda **options: init(**options | {"num_cpus": CPUS, "num_gpus": 1}))
        session, log = connect_ray(None), ray._private.worker.print_to_stdstream
        session.__enter__()
        ray._private.worker.print_to_stdstream = log  # a test looks at Ray's own
    yield
    session.__exit__(None, None, None)


@pytest.fixture
def local_ray(_shared_ray, request):
    """Connect this process to the shared Ray; workers receive the functions and classes of the test's module."""
    import ray

    ray.cloudpickle.register_pickle_by_value(request.module)  # workers cannot import a test
    yield
    ray.cloudpickle.unregister_pickle_by_value(request.module)


@pytest.fixture
def study_context(tmp_path):
    """Make the context of a study whose trials are not run by `run_study`; `say` receives the lines for the user."""
    from search.results.event_log import Record, read_log
    from search.study.context import StudyContext
    from search.terminal.progress import Progress
    from search.tune.stopper import Stop

    def make(space, prices, folder=tmp_path, *, say=None):
        record = Record(folder / "trials.jsonl", read_log(folder / "trials.jsonl"))
        progress = Progress(space, record, {}, quiet=True)
        if say is not None:
            progress.print_note = say
        return StudyContext(
            space=space, prices=prices, splits=space.split(prices), folder=folder, mirror=None, record=record,
            progress=progress, stop=Stop(None, lambda: None),
        )  # fmt: skip

    return make


@pytest.fixture
def download_process():
    """Let this process download in new processes, as it does for a user, and not in forks of a prepared one."""


@pytest.fixture
def yahoo(request, tmp_path_factory, monkeypatch):
    """Yahoo Finance on loopback: this process and those it starts reach no other while the test lasts."""
    from yahoo_server import Yahoo, fork_downloads

    if "download_process" not in request.fixturenames:
        fork_downloads(monkeypatch)
    with Yahoo(tmp_path_factory.mktemp("yahoo")) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """Where an S3 server of this machine listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    where = f"http://127.0.0.1:{port}"
    log = (tmp_path_factory.mktemp("s3") / "log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log
    )
    try:
        deadline = time.monotonic() + 240
        while True:
            try:
                urllib.request.urlopen(where, timeout=5).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.2)
        yield where
    finally:
        process.kill()
        process.wait()
        log.close()


@pytest.fixture
def bucket(s3, monkeypatch, tmp_path):
    """An empty bucket's URL; this process and those it starts have its keys, and a cache of their own."""
    name = f"results-{time.monotonic_ns()}"
    urllib.request.urlopen(urllib.request.Request(f"{s3}/{name}", method="PUT")).close()
    for key, value in {
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "known-to-nobody", "AWS_ENDPOINT_URL": s3,
        "AWS_REGION": "us-east-1", "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }.items():  # fmt: skip
        monkeypatch.setenv(key, value)
    return f"s3://{name}"
