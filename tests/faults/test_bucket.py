"""Run studies in a bucket: lost machines, a second writer, URLs that cannot be written, keys that stay secret."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import studies
from studies import FINALIST, GRID, ROOT, until

from search.results.event_log import read_log
from search.results.folder.remote_sync import work_folder
from stockrnn.io.storage import RemoteFolder, local_copy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def command(module, *arguments, code=0):
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def ended(url):
    storage = RemoteFolder(url)
    if "trials.jsonl" not in storage.names():
        return 0
    return storage.read_required("trials.jsonl").count(b'"event": "end"')


@pytest.mark.nightly
@pytest.mark.ray
def test_a_study_whose_machine_vanishes_goes_on_from_the_bucket_on_another(bucket, tmp_path):
    straight = tmp_path / "straight"
    # enough trials that the last does not end within the second between two uploads
    shape = {"space": {"sequence_length": [5, 10]}, "scheduler": {"max_epochs": 200, "grace_period": 200}}
    path = studies.write(tmp_path, GRID, search=FINALIST, **shape)
    studies.run(path, "--output", straight, "--quiet", ray=True)
    url = f"{bucket}/grid"
    process = studies.begin(path, "--output", bucket, "--quiet", ray=True)
    until(lambda: ended(url) >= 1, process)
    os.kill(process.pid, signal.SIGSTOP)  # it neither ends nor renews its lease; the bucket stays as it is
    before = ended(url)
    lines = RemoteFolder(url).read_required("trials.jsonl").splitlines()
    [first, *_] = (line for line in lines if b'"event": "end"' in line)
    assert json.loads(first)["trial_id"] in command("search.leaderboard", url)  # either of the first two may end first
    studies.kill(process, group=True)
    shutil.rmtree(work_folder(url))
    lease = json.loads(RemoteFolder(url).read("lock.json", 10_000))
    RemoteFolder(url).write("lock.json", json.dumps(lease | {"boot": "another machine's"}).encode())
    out, _ = studies.run("--resume", url, ray=True)
    assert "to see whether it still runs" in out
    with local_copy(url) as folder:
        assert not {"lock", "ray", "checkpoints"} & {found.name for found in folder.iterdir()}
        studies.assert_whole(folder, 8)
        assert len(read_log(folder / "trials.jsonl").ends) == 8 > before
        studies.assert_equal(studies.leaderboard(folder), studies.leaderboard(straight / "grid"))
        assert json.loads((folder / "manifest.json").read_text())["resumes"][0]["trials"] >= before
    assert "8/8" in command("search.leaderboard", bucket)
    assert command("search.report", url).strip() == f"{url}/report.html"
    assert "tomorrow" in command("stockrnn.forecast", url)
    assert f"{url} exists already" in command("search.run", str(path), "--output", bucket, code=2)
    assert RemoteFolder(bucket).names().keys() >= {"grid/manifest.json"}


def test_a_killed_study_goes_on_at_once_on_its_machine_with_all_it_had(bucket, tmp_path):
    path, url = studies.write(tmp_path, GRID), f"{bucket}/grid"
    process = studies.begin(path, "--output", bucket, "--quiet")
    folder = work_folder(url)
    until(lambda: (folder / "trials.jsonl").exists() and studies.ended(folder) >= 5, process)
    studies.kill(process, group=False)
    before = [end.trial_id for end in read_log(folder / "trials.jsonl").ends if end.status != "interrupted"]
    studies.run("--resume", url, "--quiet")
    with local_copy(url) as copy:
        studies.assert_whole(copy, 12)
        assert [end.trial_id for end in read_log(copy / "trials.jsonl").ends][: len(before)] == before


def test_a_study_in_a_bucket_has_one_writer(bucket, tmp_path):
    path, url = studies.write(tmp_path, GRID, scheduler={"max_epochs": 400, "grace_period": 400}), f"{bucket}/grid"
    process = studies.begin(path, "--output", bucket, "--quiet")
    until(lambda: ended(url) >= 0 and "manifest.json" in RemoteFolder(url).names(), process)
    said = command("search.run", "--resume", url, "--quiet", code=2)
    assert f"{url}: is written by process {process.pid} on " in said
    process.send_signal(signal.SIGINT)
    studies.finish(process, 130)
    assert json.loads(RemoteFolder(url).read_required("lock.json"))["released"]


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("s3://nobody-has-it/results", "cannot be used (the bucket does not exist)"),
        ("s3://key:secret@somewhere/results", "contains a user or password"),
        ("nonsense://somewhere/results", "cannot be used (Protocol not known: nonsense)"),
    ],
)
def test_a_url_that_cannot_be_written_is_one_line_before_anything_begins(bucket, tmp_path, output, says):
    said = command("search.run", str(studies.write(tmp_path, GRID)), "--output", output, "--quiet", code=2)
    assert says in said
    assert len(said.splitlines()) == 1
    assert "secret@" not in said


def test_keys_stand_in_no_file_of_a_study(bucket, tmp_path):
    studies.run(studies.write(tmp_path, GRID), "--output", bucket)
    with local_copy(f"{bucket}/grid") as folder:
        files = [path for path in [*folder.rglob("*"), *Path(tmp_path, "cache").rglob("*")] if path.is_file()]
        assert len(files) > 8
        assert not [path for path in files if b"known-to-nobody" in path.read_bytes()]
