"""Suspend a study while another process takes it over: the suspended one must not write any more."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import studies
from studies import FINALIST, GRID, PATIENCE, until
from tiers import count

from search.common.disk import LostLockError
from search.results.event_log import Record, read_events
from search.results.folder import remote_lock as leases
from search.results.folder import remote_sync as mirrors
from search.results.folder.lock import LockedError, locked
from search.results.folder.remote_lock import Lease, LostError
from search.results.folder.remote_sync import Mirror, mirrored, work_folder
from stockrnn.io.conditional import LOCK_NAME, ChangedError, ConditionalFolder
from stockrnn.io.storage import RemoteFolder, StorageError, join_path, local_copy
from stockrnn.training.checkpoint import Checkpoint, Checkpoints

SEEDS = range(count("SLEEPERS", 1))
LINES = b'{"event": "start"}\n', b'{"event": "epoch"}\n', b'{"event": "end"}\n'


@pytest.fixture(params=["file", "s3", "memory"])
def url(request, tmp_path, monkeypatch):
    """A folder on each kind of store: with a file lock, with conditional puts, with neither."""
    monkeypatch.setattr(leases, "RENEWAL_SECONDS", 3600.0)  # writers stand still once they have the lease
    monkeypatch.setattr(leases, "SETTLE_SECONDS", 0.3)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if request.param == "s3":
        return f"{request.getfixturevalue('bucket')}/grid"
    return f"file://{tmp_path}/there/grid" if request.param == "file" else f"memory://{tmp_path.name}/grid"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Go to another machine: its cache is another."""
    return lambda name: monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))


def nothing(text):
    pass


def taken(url):
    lease = Lease(ConditionalFolder(url))
    lease.take(nothing)
    return lease


def takes_over(url):
    """Take the lease of a writer that stands still, and stand still."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leases, "RENEWAL_SECONDS", 0.2)
        patch.setattr(leases, "DEAD_SECONDS", 0.4)
        lease = taken(url)
        lease._over.set()
        lease._thread.join()
    return lease


def lock(url):
    return json.loads(RemoteFolder(url).read_required("lock.json"))


def snapshot(url):
    storage = RemoteFolder(url)
    return {name: storage.read_required(name) for name in storage.names() if name not in ("lock.json", LOCK_NAME)}


def begin(mirror, lines=1, **files):
    """What a new study has on its machine."""
    mirror.clear()
    mirror.folder.mkdir()
    write(mirror, lines, **files)
    mirror.begin(nothing, nothing)


def write(mirror, lines=None, manifest=None, **files):
    (mirror.folder / "manifest.json").write_text(json.dumps(manifest or {"resumes": []}))
    if lines is not None:
        (mirror.folder / "trials.jsonl").write_bytes(b"".join(LINES[:lines]))
    for name, content in files.items():
        (mirror.folder / f"{name}.csv").write_text(content)


def still(mirror):
    """End the mirror's thread: it brings nothing up but what the test has it bring up."""
    mirror.close()
    return mirror


def opened(url, lease, say=nothing):
    return Mirror(url, work_folder(url), lease, say)


# ---- leases


def test_a_missing_lease_is_lost_and_not_made_again(url):
    lease = taken(url)
    RemoteFolder(url).remove("lock.json")
    with pytest.raises(LostError, match=r"its lock\.json is missing"):
        lease.renew()
    with pytest.raises(LostError):
        lease.check()
    lease.release()
    assert "lock.json" not in RemoteFolder(url).names()


def test_a_released_lease_leaves_its_generation(url):
    for generation in (1, 2, 3):
        said = []
        lease = Lease(ConditionalFolder(url))
        lease.take(said.append)
        assert not [line for line in said if "whether it still runs" in line]  # at once
        assert (lock(url)["generation"], lock(url)["released"]) == (generation, False)
        lease.release()
        assert (lock(url)["generation"], lock(url)["released"]) == (generation, True)


def test_a_lease_that_was_taken_over_and_released_is_lost(url):
    sleeper = taken(url)
    other = takes_over(url)
    with pytest.raises(LostError, match=f"is written by process {os.getpid()} on .* now; a study has one writer"):
        sleeper.renew()
    other.release()
    before = RemoteFolder(url).read_required("lock.json")
    sleeper.lost = None  # as if it had not looked yet
    with pytest.raises(LostError, match=f"was written by process {os.getpid()} on .* meanwhile"):
        sleeper.renew()
    sleeper.release()
    assert RemoteFolder(url).read_required("lock.json") == before


def test_a_sleepers_clock_has_it_read_its_lease_before_it_writes(url, monkeypatch):
    clock = leases.clock
    lease = taken(url)
    beats = lock(url)["beats"]
    lease.check()
    assert lock(url)["beats"] == beats  # renewed a moment ago
    monkeypatch.setattr(leases, "clock", lambda: clock() + 3600)
    lease.check()
    assert lock(url)["beats"] == beats + 1  # nobody took it: it goes on
    other = takes_over(url)
    monkeypatch.setattr(leases, "clock", lambda: clock() + 7200)
    with pytest.raises(LostError):
        lease.check()
    other.release()


def test_of_many_who_want_a_dead_owners_lease_one_gets_it(url, monkeypatch):
    taken(url)
    monkeypatch.setattr(leases, "DEAD_SECONDS", 0.4)
    monkeypatch.setattr(leases, "RENEWAL_SECONDS", 0.2)
    won, refused = [], []

    def want():
        lease = Lease(ConditionalFolder(url))
        try:
            lease.take(nothing)
            won.append(lease)
        except (LockedError, StorageError):  # a reader of fsspec's memory may see half a file
            refused.append(lease)

    threads = [threading.Thread(target=want) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(refused)) == (1, 5)
    assert lock(url)["generation"] == 2
    won[0].release()


def test_a_put_whose_answer_was_lost_is_the_writers_own(url, monkeypatch):
    folder = ConditionalFolder(url)
    folder.write("trials.jsonl", b"1")
    put = folder._backend.put

    def unanswered(*arguments):
        put(*arguments)
        raise OSError("timed out")

    with monkeypatch.context() as patch:
        patch.setattr(folder._backend, "put", unanswered)
        with pytest.raises(StorageError, match="timed out"):
            folder.write("trials.jsonl", b"12")
    folder.write("trials.jsonl", b"123")
    assert RemoteFolder(url).read_required("trials.jsonl") == b"123"


@pytest.mark.parametrize("name", ["a.csv", "predictions.parquet/part-00000.parquet", "grün 100 %#+~.csv"])
def test_a_file_that_another_one_wrote_is_not_replaced(url, name):
    first, second = ConditionalFolder(url), ConditionalFolder(url)
    first.write(name, b"1")
    with pytest.raises(ChangedError):  # it was not there when `second` looked
        second.write(name, b"2")
    assert second.read(name, 100) == b"1"
    second.write(name, b"2")
    with pytest.raises(ChangedError):
        first.write(name, b"3")
    RemoteFolder(url).remove(name)
    with pytest.raises(ChangedError):
        second.write(name, b"4")
    assert name not in RemoteFolder(url).names()
    assert first.weakness == ("it has no conditional writes" if url.startswith("memory") else None)


def test_keys_that_only_arrow_finds_are_said_and_do(bucket, monkeypatch, tmp_path):
    """A store to which conditional writes do not get is compared with what this process left."""
    monkeypatch.setattr(leases, "SETTLE_SECONDS", 0.3)
    keys = {name: os.environ[name.upper()] for name in ("aws_access_key_id", "aws_secret_access_key")}
    (tmp_path / "keys").write_text("\n".join(["[default]", *(f"{name} = {key}" for name, key in keys.items())]))
    for name in keys:
        monkeypatch.delenv(name.upper())
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")  # nothing listens: no machine's role
    url, said = f"{bucket}/grid", []
    lease = Lease(ConditionalFolder(url))
    lease.take(said.append)
    assert "a conditional write failed (" in said[0]
    assert len(said[0].splitlines()) == 1
    assert "known-to-nobody" not in said[0]
    other = takes_over(url)
    with pytest.raises(LostError, match="is written by process"):
        lease.renew()
    other.release()
    assert RemoteFolder(url).names().keys() == {"lock.json"}


# ---- studies behind a URL


def finish(url, **files):
    """Another machine goes on with the study, ends it and leaves."""
    other = takes_over(url)
    mirror = opened(url, other)
    mirror.fetch()
    mirror.begin(nothing, nothing)
    still(mirror)
    write(mirror, 3, {"test_openings": ["opened"]}, **{"leaderboard": "theirs", **files})
    assert mirror.end() is None
    other.release()
    return snapshot(url)


@pytest.fixture
def sleeper(url, machine):
    """A writer that had begun, and stood still while another one ended its study."""
    machine("mine")
    lease = taken(url)
    mirror = opened(url, lease)
    begin(mirror, 1, leaderboard="mine", mine="too")
    still(mirror)
    machine("theirs")
    mirror.left = finish(url)
    machine("mine")
    return mirror


def test_a_sleeper_writes_nothing_any_more_and_keeps_what_it_had(url, sleeper):
    write(sleeper, 2, leaderboard="mine, later", new="file")
    sleeper.delete_checkpoints("00000")
    RemoteFolder(url).write("checkpoints/00000/1.safetensors", b"theirs")
    said = sleeper.publish()
    assert said.startswith(f"{url}: was written by process {os.getpid()} on ")
    assert said.endswith(f"; its files are in {sleeper.folder}")
    assert len(said.splitlines()) == 1
    assert snapshot(url) == sleeper.left | {"checkpoints/00000/1.safetensors": b"theirs"}
    assert (sleeper.folder / "trials.jsonl").read_bytes() == b"".join(LINES[:2])
    assert sleeper.end() == said


def test_a_running_sleeper_is_stopped_in_one_line(url, machine, monkeypatch):
    machine("mine")
    mirror, stopped = opened(url, taken(url)), []
    monkeypatch.setattr(mirrors, "MIN_PAUSE", 0.05)
    mirror.clear()
    mirror.folder.mkdir()
    write(mirror, 1)
    woken = threading.Event()
    monkeypatch.setattr(mirror, "_stable", lambda stable=mirror._stable: woken.wait(240) and stable())
    threading.Timer(0, woken.set).start()
    mirror.begin(nothing, stopped.append)
    woken.clear()
    machine("theirs")
    left = finish(url)
    write(mirror, 2)
    woken.set()
    mirror._thread.join(240)
    assert len(stopped) == 1
    assert "was written by process" in stopped[0]
    assert snapshot(url) == left
    mirror.close()


@pytest.mark.parametrize("name", ["trials.jsonl", "manifest.json", "leaderboard.csv", "new.csv"])
def test_a_sleeper_that_stood_still_between_check_and_write_replaces_nothing(url, machine, monkeypatch, name):
    machine("mine")
    mirror = opened(url, taken(url))
    begin(mirror, 1, leaderboard="mine")
    still(mirror)
    write(mirror, 2, {"mine": True}, leaderboard="mine, later", new="mine")
    put, left = mirror._storage._backend.put, {}

    def late(file, content, version):
        if file == name and not left:
            machine("theirs")
            monkeypatch.setattr(mirror._storage._backend, "put", put)
            left.update(finish(url, leaderboard="theirs", new="theirs"))
            machine("mine")
        return put(file, content, version)

    monkeypatch.setattr(mirror._storage._backend, "put", late)
    assert "written by process" in (mirror.publish() or "")
    assert snapshot(url) == left


def test_a_sleepers_copy_is_not_ahead_of_the_study_that_another_one_ended(url, sleeper):
    write(sleeper, 3)  # the very record that the other one has, but not its opening of the test block
    assert sleeper.end() is not None
    said = []
    mirror = opened(url, taken(url), said.append)
    mirror.fetch()
    assert json.loads((mirror.folder / "manifest.json").read_text())["test_openings"] == ["opened"]
    assert (mirror.folder / "leaderboard.csv").read_text() == "theirs"
    assert said == []
    mirror._lease.release()


def test_what_a_sleepers_copy_has_alone_is_kept_beside(url, sleeper):
    own = LINES[0] + b'{"event": "mine"}\n'
    (sleeper.folder / "trials.jsonl").write_bytes(own)
    assert sleeper.end() is not None
    said = []
    mirror = opened(url, taken(url), said.append)
    mirror.fetch()
    assert (mirror.folder / "trials.jsonl").read_bytes() == b"".join(LINES)
    aside = Path(said[0].rpartition(" ")[2])
    assert (aside / "trials.jsonl").read_bytes() == own
    mirror._lease.release()


def test_a_copy_that_wrote_last_is_ahead_on_its_machine(url, machine):
    machine("mine")
    mirror = opened(url, taken(url))
    begin(mirror, 1)
    still(mirror)
    write(mirror, 2, {"test_openings": ["opened"]})  # killed before that is behind the URL
    for _ in range(2):  # and once more while it is fetched
        again = opened(url, takes_over(url))
        again.fetch()
        assert (again.folder / "trials.jsonl").read_bytes() == b"".join(LINES[:2])
    again.begin(nothing, nothing)
    assert again.end() is None
    assert snapshot(url)["trials.jsonl"] == b"".join(LINES[:2])
    again._lease.release()


def test_a_record_that_does_not_go_on_where_the_stored_one_ends_is_not_written(url, machine):
    mirror = opened(url, taken(url))
    begin(mirror, 2)
    still(mirror)
    (mirror.folder / "trials.jsonl").write_bytes(b'{"event": "other"}\n' * 9)
    assert f"does not continue {join_path(url, 'trials.jsonl')}" in mirror.publish()
    assert snapshot(url)["trials.jsonl"] == b"".join(LINES[:2])
    mirror._lease.release()


def test_a_record_that_somebody_else_wrote_ends_the_study(url):
    mirror = opened(url, taken(url))
    begin(mirror, 1)
    still(mirror)
    RemoteFolder(url).write("trials.jsonl", b"edited\n")
    write(mirror, 2)
    assert "trials.jsonl was changed by another process" in mirror.publish()
    assert snapshot(url)["trials.jsonl"] == b"edited\n"
    mirror._lease.release()


def test_a_report_that_a_reader_wrote_there_is_replaced(url):
    mirror = opened(url, taken(url))
    begin(mirror, 1, report="first")
    still(mirror)
    for change in (lambda there: there.write("report.csv", b"a reader's"), lambda there: there.remove("report.csv")):
        change(RemoteFolder(url))
        write(mirror, 1, report=f"later {time.monotonic_ns()}")
        assert mirror.publish() is None
        assert snapshot(url)["report.csv"] == (mirror.folder / "report.csv").read_bytes()
    mirror._lease.release()


def test_publish_brings_up_all_that_is_new(url):
    mirror = opened(url, taken(url))
    begin(mirror, 1)
    write(mirror, 3, {"test_openings": ["opened"]})
    assert mirror.publish() is None
    assert snapshot(url)["trials.jsonl"] == b"".join(LINES)
    assert json.loads(snapshot(url)["manifest.json"]) == {"test_openings": ["opened"]}
    mirror.close()
    mirror._lease.release()


@pytest.mark.parametrize("lost", ["the copy", "its manifest", "the folders that are removed first"])
def test_a_copy_that_disappears_takes_nothing_from_the_url(url, lost):
    """A cache that is cleared in mid-study; an `rm -rf` may be anywhere when the mirror looks."""
    mirror = opened(url, taken(url))
    mirror.clear()
    (mirror.folder / "predictions.parquet").mkdir(parents=True)
    (mirror.folder / "predictions.parquet" / "part-00000.parquet").write_bytes(b"PAR1")
    write(mirror, 1, board="1", space="2")
    mirror.begin(nothing, nothing)
    still(mirror)
    before = snapshot(url)
    assert "predictions.parquet/part-00000.parquet" in before
    if lost == "the copy":
        shutil.rmtree(mirror.folder)
    elif lost == "its manifest":
        (mirror.folder / "manifest.json").unlink()
        shutil.rmtree(mirror.folder / "predictions.parquet")
    else:
        (mirror.folder / "space.csv").unlink()
        (mirror.folder / "board.csv").unlink()
    why = mirror.publish()
    assert snapshot(url) == before
    if lost != "the folders that are removed first":
        assert f"{mirror.folder}: has disappeared" in why
        assert f"--resume {url}" in why
        assert "\n" not in why
    mirror._lease.release()


def test_parts_of_forecasts_that_were_joined_go_from_the_url_too(url):
    mirror = opened(url, taken(url))
    mirror.clear()
    parts = mirror.folder / "predictions.parquet"
    parts.mkdir(parents=True)
    (parts / "part-00000.parquet").write_bytes(b"PAR1")
    write(mirror, 1)
    mirror.begin(nothing, nothing)
    still(mirror)
    (parts / "part-00000.parquet").rename(parts / "part-00001.parquet")
    assert mirror.publish() is None
    assert [name for name in snapshot(url) if "part" in name] == ["predictions.parquet/part-00001.parquet"]
    mirror._lease.release()


def test_a_copy_that_a_process_of_this_machine_writes_is_left_alone(url):
    mirror = opened(url, lease := taken(url))
    begin(mirror, 1)
    still(mirror)
    lease.release()
    before = lock(url)
    with (
        locked(mirror.folder),
        pytest.raises(LockedError, match=f"{re.escape(url)}: is written by process {os.getpid()}"),
        mirrored(url, nothing),
    ):
        pass
    assert lock(url) == before


# ---- their workers


def checkpoint(epoch):
    return Checkpoint(epoch=epoch, notes={}, arrays={"a": np.zeros(3)})


def test_a_workers_checkpoint_is_not_written_once_the_study_is_anothers(url, sleeper):
    checkpoints = Checkpoints(join_path(sleeper.checkpoints, "00000"), {}, sleeper.lease.check)
    with pytest.raises(LostError, match="was written by process"):
        checkpoints.write(checkpoint(1))
    assert snapshot(url) == sleeper.left


def test_a_checkpoint_that_was_written_too_late_is_removed_and_no_other(url):
    lease = taken(url)
    first = Checkpoints(join_path(url, "checkpoints/00000"), {}, lease.view.check)
    first.write(checkpoint(1))
    first.write(checkpoint(2))
    write_file = first._files.write

    def late(name, content):
        write_file(name, content)
        RemoteFolder(url).remove("lock.json")

    first._files.write = late
    with pytest.raises(LostError):
        first.write(checkpoint(3))
    kept = {f"checkpoints/00000/{epoch:09}.safetensors" for epoch in (1, 2)}
    assert {name for name in RemoteFolder(url).names() if name.startswith("checkpoints")} == kept


# ---- studies in a folder


@pytest.fixture
def record(tmp_path):
    folder = tmp_path / "grid"
    folder.mkdir()
    record = Record(folder / "trials.jsonl")
    with locked(folder):
        record.start("00000", {})
        yield record
    record.close()


def another_appends(folder):
    with (folder / "trials.jsonl").open("ab") as file:
        file.write(LINES[1])


def another_restores(folder):
    shutil.copy(folder / "trials.jsonl", folder / "copy")
    (folder / "copy").rename(folder / "trials.jsonl")


def lock_removed(folder):
    (folder / "lock").unlink()


def lock_lost(folder):
    """Another process on another machine has the lock, too, as NFS may have it."""
    (folder / "lock.json").write_text('{"pid": 1, "host": "other", "since": "now"}\n')


def replaced(folder):
    shutil.copytree(folder, folder.with_name("copy"))
    folder.rename(folder.with_name("moved"))
    folder.with_name("copy").rename(folder)


def moved(folder):
    folder.rename(folder.with_name("moved"))


@pytest.mark.parametrize(
    "change", [another_appends, another_restores, lock_removed, lock_lost, replaced, moved],
    ids=lambda change: change.__name__,
)  # fmt: skip
def test_nothing_is_appended_to_a_record_that_is_not_as_it_was_left(record, tmp_path, change):
    change(tmp_path / "grid")
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(
        LostLockError, match=r"trials\.jsonl: was changed by another process, .* a study has one writer"
    ):
        record.retry("00000", "its worker died")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files


def test_a_record_that_stood_still_goes_on(record, tmp_path):
    before = [path for path in (tmp_path / "grid").iterdir() if path.name.startswith("lock")]
    for _ in range(3):
        record.retry("00000", "its worker died")
    assert len(list(read_events(tmp_path / "grid" / "trials.jsonl"))) == 4
    assert len(before) == 2


def test_a_process_leaves_the_lock_of_another_one(tmp_path):
    with locked(tmp_path):
        lock_lost(tmp_path)
    assert json.loads((tmp_path / "lock.json").read_text())["host"] == "other"
    assert (tmp_path / "lock").exists()


# ---- whole studies


def awake(process):
    """A study's processes: those of its session."""
    return [pid for pid, _ in studies.session(process.pid)]


def send(process, number):
    for pid in awake(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


@pytest.fixture
def writer():
    """Begin a study on a machine of its own, which ends with the test at the latest."""
    begun = []

    def begin(cache, *arguments):
        begun.append(studies.begin(*arguments, "--quiet", env={"XDG_CACHE_HOME": str(cache)}, ray=True))
        return begun[-1]

    yield begin
    for process in begun:
        send(process, signal.SIGKILL)
        process.communicate(timeout=240)


def ended(url):
    storage = RemoteFolder(url)
    return storage.read_required("trials.jsonl").count(b'"event": "end"') if "trials.jsonl" in storage.names() else 0


def last_line(process, url):
    """The one line in which a sleeper ends."""
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, (process.returncode, err)
    (line,) = err.splitlines()
    assert "written by process" in line, line
    return line


@pytest.mark.nightly
@pytest.mark.ray
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("store", ["file", "s3"])
def test_a_study_that_slept_leaves_alone_what_another_one_finished(request, tmp_path, writer, store, seed):
    output = request.getfixturevalue("bucket") if store == "s3" else f"file://{tmp_path}/there"
    shape = {"space": {"architecture": ["rnn"], "sequence_length": [5, 10]}, "scheduler": {"max_epochs": 60}}
    path, url = studies.write(tmp_path, GRID, search=FINALIST, **shape), f"{output}/grid"
    moment = random.Random(seed)
    sleeper = writer(tmp_path / "mine", path, "--output", output)
    trials, later = moment.randrange(4), moment.uniform(0, 2)
    until(lambda: "manifest.json" in RemoteFolder(url).names() and ended(url) >= trials, sleeper)
    time.sleep(later)
    assert sleeper.poll() is None
    send(sleeper, signal.SIGSTOP)

    other = writer(tmp_path / "theirs", "--resume", url)
    out, _ = studies.finish(other)
    assert "to see whether it still runs" in out
    left = snapshot(url)

    send(sleeper, signal.SIGCONT)
    said = last_line(sleeper, url)
    assert said.startswith(f"{url}: was written by process {other.pid} on ")
    assert snapshot(url) == left
    kept = work_folder_of(url, tmp_path / "mine")
    assert (kept / "manifest.json").exists()
    with local_copy(url) as folder:
        studies.assert_whole(folder, 4)
        before = list(read_events(folder / "trials.jsonl"))
    studies.finish(writer(tmp_path / "mine", "--resume", url))  # where the sleeper's copy is
    with local_copy(url) as folder:
        assert list(read_events(folder / "trials.jsonl")) == before
        found = studies.manifest(folder)
        assert (len(found["test_openings"]), len(found["resumes"])) == (1, 2)


def work_folder_of(url, cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        return work_folder(url)


@pytest.mark.nightly
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_study_in_a_folder_that_another_one_took_meanwhile_ends_in_one_line(tmp_path, writer):
    path, folder = studies.write(tmp_path, GRID, scheduler={"max_epochs": 400}), tmp_path / "grid"
    # One trial at a time, so that no forecast is being written while the next trial trains.
    sleeper = writer(tmp_path / "cache", path, "--output", tmp_path, "--workers", "1")
    until(lambda: "00000" in (studies.leaderboard(folder) if (folder / "leaderboard.csv").exists() else ()), sleeper)
    send(sleeper, signal.SIGSTOP)
    (folder / "lock").unlink()
    with locked(folder):
        another_appends(folder)
        # The journal, which is made from the record where it is gone, may be in the midst of a line.
        files = [path for path in folder.rglob("*") if path.is_file() and "ray" not in path.parts]
        files = {path: path.read_bytes() for path in files if not path.name.startswith("study.journal")}
        send(sleeper, signal.SIGCONT)
        _, err = sleeper.communicate(timeout=PATIENCE)
        assert sleeper.returncode == 1, err
        (line,) = err.splitlines()
        assert line.startswith(f"{folder}/trials.jsonl: was changed by another process")
        assert {path: path.read_bytes() for path in files} == files
