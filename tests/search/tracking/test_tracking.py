"""Run real trackers: MLflow on a local server, files of TensorBoard and W&B; trackers that fail, hang or die."""

import contextlib
import json
import os
import pickle
import pty
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import search.tracking.dispatcher as tracking
from search.common.credentials import check_mlflow_address, strip_credentials
from search.results.event_log import TrialEnd, read_log
from search.run import main
from search.space.space import Space, load_space

ROOT = Path(__file__).parents[3]
SECRET = "geheim"
FOREVER = "1000"  # seconds; more than any test may take
PATIENT = f"""
import sys
import search.tracking.dispatcher as tracking
from search.run import main
tracking.MAX_CALL_SECONDS = tracking.MAX_FINAL_WAIT = {FOREVER}.0
sys.exit(main(sys.argv[1:]))
"""
MANIFEST: dict[str, Any] = {
    "command": "python -m search.run", "start": "2026-01-01", "seed": 0, "seconds": 1.5, "interrupted": False,
    "data": dict.fromkeys(("source", "start", "end", "sessions", "sha256"), "x"), "test": ["a", "b"],
    "folds": [{"validation": ["c", "d"]}], "versions": {"python": "3"}, "verdict": "Nothing beats it.",
    "proof": {"spa_p": 0.5, "pbo": None}, "test_openings": [{"scores": {"00000": {"test_relative_loss": 0.99}}}],
}  # fmt: skip


def command(space: Path, output: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "search.run", str(space), "--output", str(output), *options]


def warnings(text: str) -> list[str]:
    return [line for line in text.splitlines() if "tracking:" in line]


@pytest.fixture(autouse=True)
def _tracker_threads_end() -> Iterator[None]:
    """Wait for the threads of dropped trackers: two threads must not import MLflow at the same time."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("tracking "):
            thread.join(240)


# addresses, keys and options


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        (f"http://me:{SECRET}@host:5000/a", "http://host:5000/a"),
        (f"--track 'mlflow=https://me:{SECRET}@ss@host' x@y", "--track 'mlflow=https://host' x@y"),
        (f"postgresql+psycopg2://me:{SECRET}@host/db?password={SECRET}&b=1",
         "postgresql+psycopg2://host/db?password=...&b=1"),
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
        ("http://host/a@b", "http://host/a@b"),
    ],
)  # fmt: skip
def test_credentials_are_left_out(text: str, safe: str) -> None:
    assert strip_credentials(text) == safe


@pytest.mark.parametrize("address", ["http://127.0.0.1:5000", "https://host/x", "file:runs", "sqlite:///mlflow.db"])
def test_valid_addresses(address: str) -> None:
    assert check_mlflow_address(address) == address


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("localhost:5000", "for example http://localhost:5000"),
        ("htp://host", "did you mean http?"),
        ("mlruns", "for example sqlite:///mlflow.db"),
        ("http://", "is not an MLflow address"),
        ("http://host:port", "is not an MLflow address"),
        ("", "is not an MLflow address"),
        (f"ftp://me:{SECRET}@host", '"ftp://host" is not an MLflow address'),
    ],
)
def test_invalid_addresses(address: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        check_mlflow_address(address)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("mlfow=http://h", "--track mlfow=http://h: tracking.mlfow: unknown key; did you mean mlflow?"),
        ("comet", "--track comet: tracking.comet: unknown key; the known keys are mlflow, tensorboard, wandb"),
        ("mlflow", "--track mlflow: the address is missing; write for example --track mlflow=sqlite:///mlflow.db"),
        ("tensorboard=x", '--track tensorboard=x: tracking.tensorboard: "x" is not a boolean; write true or false'),
        (f"mlflow=ftp://me:{SECRET}@h", '--track mlflow=ftp://h: tracking.mlflow: "ftp://h" is not an MLflow address'),
    ],
)
def test_a_wrong_tracker_is_one_line(
    space_file: Callable[..., Path], capsys: pytest.CaptureFixture[str], option: str, words: str
) -> None:
    assert main([str(space_file()), "--dry-run", "--track", option]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith(words)


@pytest.mark.parametrize(
    ("name", "value", "package"),
    [("mlflow", "file:runs", "mlflow"), ("tensorboard", True, "tensorboardX"), ("wandb", True, "wandb")],
)
@pytest.mark.parametrize("options", [["--dry-run"], []], ids=["dry", "real"])
def test_a_missing_package_is_refused(
    space_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], name: str, value: object, package: str, options: list[str],
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, package, None)
    path = space_file(tracking={name: value})
    assert main([str(path), "--output", str(tmp_path / "results"), *options]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert re.match(rf"{path}:\d+: tracking\.{name}: the package {package} is not installed; .*'\.\[{name}\]'", line)
    assert not (tmp_path / "results").exists()


def test_a_folder_with_the_name_of_a_package_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wandb_like").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert not tracking._is_installed("wandb_like")
    assert tracking._is_installed("json")


def test_a_password_stays_with_the_driver(space_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = space_file(tracking={"mlflow": f"http://me:{SECRET}@127.0.0.1:1"})
    space = load_space(str(path))
    assert space.tracking.mlflow == f"http://me:{SECRET}@127.0.0.1:1"
    assert SECRET.encode() not in pickle.dumps(space)
    assert pickle.loads(pickle.dumps(space)).tracking.mlflow == "http://127.0.0.1:1"
    assert SECRET not in space.as_yaml() + repr(space) + str(space.document.data)
    assert main([str(path), "--dry-run", "--output", "none", "--track", f"mlflow=http://u:{SECRET}@h:1"]) == 0
    said = capsys.readouterr()
    assert "mlflow: http://h:1" in said.out.replace("'", "")
    assert SECRET not in said.out + said.err


# the trackers without a study


def tell(
    space: Space, folder: Path, *, trials: int = 3, epochs: int = 2,
    begun: Callable[[], object] = bool, sent: Callable[[], object] = bool,
) -> None:  # fmt: skip
    """Send a made-up study to the trackers. `begun` is called before its trials, `sent` after them."""
    told = tracking.Tracking(space, folder)
    told.begin(MANIFEST)
    begun()
    for number in range(trials):
        trial_id = f"{number:05d}"
        told.start(trial_id, {"architecture": "gru", "hidden_size": 4, "bidirectional": True, "dropout": None})
        for epoch in range(1, epochs + 1):
            scores = {"val_relative_loss": 1 - 0.1 * epoch, "val_rmse": None}
            told.epoch(trial_id, {"epoch": epoch, "scores": scores, "loss": float("nan"), "score": 1 - 0.1 * epoch})
        told.epoch(trial_id, {"status": "failed", "message": "no epoch"})
        status = ("complete", "failed", "interrupted")[number % 3]
        told.end(TrialEnd(trial_id=trial_id, status=status, point={}, scores={"val_relative_loss": 0.9}, epochs=epochs))
    sent()
    told.finish(MANIFEST)


class Blocked:
    """A tracker that cannot be connected to until `released` is set. It stores the names of its calls."""

    def __init__(self) -> None:
        self.entered, self.released, self.calls = threading.Event(), threading.Event(), list[str]()

    def connect(self, *_: object) -> "Blocked":
        self.entered.set()
        assert self.released.wait(240)
        return self

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: self.calls.append(name)


@pytest.fixture
def tracked(small_space: Callable[..., Space]) -> Space:
    return small_space(tracking={"tensorboard": True})


def test_reports_for_a_slow_tracker_are_dropped_and_counted(
    tracked: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tracker is released after the driver has sent everything: the driver does not wait for it."""
    slow = Blocked()
    monkeypatch.setattr(tracking, "_connect", slow.connect)
    monkeypatch.setattr(tracking, "MAX_QUEUED_REPORTS", 8)
    monkeypatch.setattr(tracking, "MAX_FINAL_WAIT", 240.0)
    tell(tracked, tmp_path, trials=3, epochs=50, sent=slow.released.set)
    (line,) = warnings(capsys.readouterr().err)
    assert line.startswith("tracking: tensorboard: slower than the study, 143 reports were dropped; the study ")
    assert [slow.calls.count(name) for name in ("start", "epoch", "end", "close")] == [3, 150 - 143, 3, 1]


@pytest.mark.parametrize(
    ("longest", "words"),
    [(30.0, "not finished 0 seconds after the end of the study, 13 reports left"), (0.0, "no answer for 0 seconds")],
)
def test_a_tracker_that_hangs_is_dropped(
    tracked: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    longest: float, words: str,
) -> None:  # fmt: skip
    """The tracker is released after the end of the study."""
    hanging = Blocked()
    monkeypatch.setattr(tracking, "_connect", hanging.connect)
    monkeypatch.setattr(tracking, "MAX_CALL_SECONDS", longest)
    monkeypatch.setattr(tracking, "MAX_FINAL_WAIT", 0.01)
    tell(tracked, tmp_path, begun=lambda: hanging.entered.wait(240))
    assert hanging.calls == []
    hanging.released.set()
    (line,) = warnings(capsys.readouterr().err)
    assert words in line


def test_a_long_timeout_error_is_shortened() -> None:
    error = OSError("HTTPConnectionPool(host='127.0.0.1', port=1): Read timed out. (read timeout=5)")
    assert tracking._shorten_error(error) == "no answer in time"


@pytest.mark.slow
def test_a_tracker_that_raises_is_dropped_in_one_line_without_a_password(
    tracked: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError(f"no\nway to http://me:{SECRET}@host " + 300 * "x")

    monkeypatch.setattr(tracking, "_connect", refuse)
    tell(tracked, tmp_path)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("tracking: tensorboard: no way to http://host xxx")
    assert len(line) < 250


def test_a_server_that_does_not_answer_does_not_slow_the_driver(
    small_space: Callable[..., Space], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The server never answers, and MLflow waits for it: only a driver that does not wait sends all its reports."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", FOREVER)
    monkeypatch.setattr(tracking, "MAX_CALL_SECONDS", float(FOREVER))
    monkeypatch.setattr(tracking, "MAX_FINAL_WAIT", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        space = small_space(tracking={"mlflow": f"http://127.0.0.1:{silent.getsockname()[1]}"})
        tell(space, tmp_path, trials=100, epochs=30)
    (line,) = warnings(capsys.readouterr().err)
    assert "not finished 1 seconds after the end of the study, 3201 reports left" in line


def runs_of(uri: str) -> dict[str, Any]:
    """Return the runs at an address of MLflow, by name."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name("stockrnn-search")
    assert found is not None
    runs = client.search_runs([found.experiment_id])
    return {run.info.run_name: run for run in runs}


def test_mlflow_in_a_local_folder(
    small_space: Callable[..., Space], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(tracking, "MAX_FINAL_WAIT", 240.0)
    uri = f"file:{tmp_path / 'runs'}"
    space = small_space(tracking={"mlflow": uri})
    tell(space, tmp_path)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")
    runs = runs_of(uri)
    assert {name: run.info.status for name, run in runs.items()} == {
        "small": "FINISHED", "00000": "FINISHED", "00001": "FAILED", "00002": "KILLED"
    }  # fmt: skip
    assert runs["00000"].data.metrics["test_relative_loss"] == 0.99
    assert runs["small"].data.metrics["spa_p"] == 0.5
    assert "loss" not in runs["00000"].data.metrics


def test_tensorboard_in_the_folder_of_the_study(
    tracked: Space, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr(tracking, "MAX_FINAL_WAIT", 240.0)
    tell(tracked, tmp_path)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")
    assert {path.name for path in (tmp_path / "tensorboard").iterdir()} == {"study", "00000", "00001", "00002"}
    events = EventAccumulator(str(tmp_path / "tensorboard" / "00000")).Reload()
    assert [one.step for one in events.Scalars("val_relative_loss")] == [1, 2]
    assert [one.value for one in events.Scalars("test_relative_loss")] == pytest.approx([0.99])
    assert "_hparams_/session_end_info" in events.PluginTagToContent("hparams")
    texts = EventAccumulator(str(tmp_path / "tensorboard" / "study")).Reload()
    (verdict,) = texts.Tensors("verdict/text_summary")
    assert verdict.tensor_proto.string_val[0].decode() == MANIFEST["verdict"]


def test_wandb_offline_in_the_folder_of_the_study(
    small_space: Callable[..., Space], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(tracking, "MAX_FINAL_WAIT", 240.0)
    monkeypatch.setattr(tracking, "MAX_CALL_SECONDS", 240.0)
    tell(small_space(tracking={"wandb": True}), tmp_path, trials=1)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")
    files = sorted((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    names = {record.run.display_name for path in files for record in wandb_records(path) if record.HasField("run")}
    assert names == {"small", "00000"}


# whole studies through the command line


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def serve(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start an MLflow server on a loopback port with its database in the folder."""
    port = free_port()
    environment = {
        **os.environ, "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder / 'mlflow.db'}",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": str(folder), "MLFLOW_DISABLE_TELEMETRY": "true",
    }  # fmt: skip
    server = subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", "mlflow.server:app", "run", "--port", str(port)],
        cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 240
    while True:
        assert server.poll() is None
        assert time.monotonic() < deadline
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=5):
            return server, address
        time.sleep(0.2)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture
def server(tables: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    process, address = serve(tables)
    yield process, address
    process.kill()
    process.wait()


def wandb_records(path: Path) -> list[Any]:
    """Return the records of a `.wandb` file, which is a LevelDB log after a header of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    content = path.read_bytes()
    assert content[:4] == b":W&B"
    records, part, at = [], b"", 7
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        part += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            records.append(Record.FromString(part))
            part = b""
    return records


@pytest.mark.nightly
@pytest.mark.slow
def test_a_study_with_three_trackers_at_once(
    space_file: Callable[..., Path], tmp_path: Path, server: tuple[subprocess.Popen[bytes], str]
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, address = server
    space = space_file(tracking={"tensorboard": True}, search={"num_samples": 4})
    options = ("--in-process", "--track", f"mlflow={address.replace('//', f'//me:{SECRET}@')}", "--track", "wandb")
    result = subprocess.run(
        [sys.executable, "-c", PATIENT, *command(space, tmp_path, *options)[3:]], cwd=ROOT, capture_output=True,
        text=True, timeout=240, check=False, env={**os.environ, "MLFLOW_HTTP_REQUEST_TIMEOUT": FOREVER},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert warnings(result.stderr) == []
    for noise in ("Warning", "WARNING", "INFO", "wandb:", "View run", "Traceback", SECRET):
        assert noise not in result.stderr + result.stdout
    folder = tmp_path / "small"
    for path in folder.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    ends = {end.trial_id: end for end in read_log(folder / "trials.jsonl").ends}
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert f"--track mlflow={address}" in manifest["command"]
    assert address in (folder / "space.yaml").read_text(encoding="utf-8")
    finalists = {one["trial_id"] for one in manifest["test_openings"][0]["finalists"]}
    tested = {name: scores["test_relative_loss"] for name, scores in manifest["test_openings"][0]["scores"].items()}

    runs = runs_of(address)
    study = runs.pop("small")
    assert set(runs) == set(ends)
    assert study.info.status == "FINISHED"
    assert study.data.tags["verdict"] == manifest["verdict"]
    assert study.data.params["data.sha256"] == manifest["data"]["sha256"]
    assert study.data.metrics["test_relative_loss/persistence"] == 1.0
    for name, run in runs.items():
        assert run.data.tags["mlflow.parentRunId"] == study.info.run_id
        assert (run.info.status, run.data.tags["status"]) == ("FINISHED", ends[name].status)
        assert run.data.params == {key: str(value) for key, value in ends[name].point.items()}
        assert run.data.metrics["best_val_relative_loss"] == pytest.approx(ends[name].scores["val_relative_loss"])
        assert run.data.metrics["epochs"] == ends[name].epochs
        assert run.data.metrics.get("test_relative_loss") == (
            pytest.approx(tested[name]) if name in finalists else None
        )

    epochs: dict[str, list[float]] = {}
    for line in (folder / "trials.jsonl").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["event"] == "epoch":
            epochs.setdefault(event["trial_id"], []).append(event["scores"]["val_relative_loss"])
    for name, scores in epochs.items():
        events = EventAccumulator(str(folder / "tensorboard" / name)).Reload()
        assert {"val_relative_loss", "loss", "score"} < set(events.Tags()["scalars"])
        assert [one.step for one in events.Scalars("val_relative_loss")] == list(range(1, len(scores) + 1))
        assert [one.value for one in events.Scalars("val_relative_loss")] == pytest.approx(scores)
        assert set(events.PluginTagToContent("hparams")) == {
            "_hparams_/experiment", "_hparams_/session_start_info", "_hparams_/session_end_info"
        }  # fmt: skip
        assert ("test_relative_loss" in events.Tags()["scalars"]) == (name in finalists)
    texts = EventAccumulator(str(folder / "tensorboard" / "study")).Reload()
    assert {"manifest/text_summary", "verdict/text_summary"} <= set(texts.Tags()["tensors"])
    (said,) = texts.Tensors("verdict/text_summary")
    assert said.tensor_proto.string_val[0].decode() == manifest["verdict"]

    files = sorted((folder / "wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == 1 + len(ends)
    for path in files:
        records = wandb_records(path)
        (run,) = [record.run for record in records if record.HasField("run")]
        assert (run.run_group, run.project) == ("small", "stockrnn-search")
        summary = {item.key or item.nested_key[0]: json.loads(item.value_json)
                   for record in records if record.HasField("summary") for item in record.summary.update}  # fmt: skip
        if run.display_name == "small":
            assert (run.job_type, summary["verdict"]) == ("study", manifest["verdict"])
            continue
        history = [{item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
                   for record in records if record.HasField("history")]  # fmt: skip
        assert [step["val_relative_loss"] for step in history] == pytest.approx(epochs[run.display_name])
        assert summary["status"] == ends[run.display_name].status
        config = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in run.config.update}
        assert config["architecture"] == ends[run.display_name].point["architecture"]


SHORT: dict[str, Any] = {"search": {"finalists": 0, "num_samples": 4}}


@pytest.mark.slow
@pytest.mark.parametrize(
    "what", ["down", pytest.param("dies", marks=pytest.mark.nightly), pytest.param("hangs", marks=pytest.mark.nightly)]
)
def test_a_tracker_that_fails_does_not_stop_or_slow_a_study(
    space_file: Callable[..., Path], tmp_path: Path, what: str, tables: Path
) -> None:
    options, ending, waits = [], contextlib.ExitStack(), {}
    with ending:
        if what == "down":
            options = ["--track", f"mlflow=http://127.0.0.1:{free_port()}"]
        elif what == "dies":
            server, address = serve(tables)
            ending.callback(server.wait)
            ending.callback(server.kill)
            options = ["--track", f"mlflow={address}"]
        elif what == "hangs":
            silent = ending.enter_context(socket.create_server(("127.0.0.1", 0)))  # the kernel accepts; nobody answers
            waits = {"MLFLOW_HTTP_REQUEST_TIMEOUT": FOREVER}
            options = ["--track", f"mlflow=http://127.0.0.1:{silent.getsockname()[1]}"]
        ours, theirs = pty.openpty()  # a terminal, with the live view
        entry = ["-c", PATIENT] if what == "down" else ["-m", "search.run"]  # waits until the connection is refused
        process = subprocess.Popen(
            [sys.executable, *entry, *command(space_file(**SHORT), tmp_path, "--in-process", *options)[3:]],
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=theirs,
            env={**os.environ, **waits, "COLUMNS": "400", "LINES": "24", "TERM": "xterm"},
        )  # fmt: skip
        os.close(theirs)
        if what == "dies":
            threading.Thread(target=_kill_at_first_end, args=(tmp_path / "small" / "trials.jsonl", server)).start()
        shown = b""
        with contextlib.suppress(OSError):  # the terminal's end of file, when the process has gone
            while part := os.read(ours, 65536):
                shown += part
        os.close(ours)
        assert process.wait(timeout=240) == 0
    assert len(read_log(tmp_path / "small" / "trials.jsonl").ends) == 4
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    said = [line for line in re.split(r"[\r\n]+", text) if "tracking:" in line]
    assert len(said) == 1
    reason = {"down": "connection refused", "dies": "", "hangs": "(no answer for|not finished)"}[what]
    words = rf"tracking: mlflow \(http://127.*\): .*{reason}.*; the study continues without it *"
    assert re.fullmatch(words, said[0])  # a line of its own: the live view around it is whole


def _kill_at_first_end(trials: Path, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        if trials.exists() and '"event": "epoch"' in trials.read_text(encoding="utf-8"):
            break
        time.sleep(0.05)
    server.kill()
