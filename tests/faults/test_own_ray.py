"""Start a local Ray with scarce resources: check its ports, permissions and niceness, and that nothing remains."""

import contextlib
import os
import re
import shutil
import stat
from pathlib import Path

import pytest
import studies
from studies import GRID, until

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]
LOOPBACK = {"0100007F", "0" * 16 + "FFFF00000100007F", "0" * 24 + "01000000"}  # 127.0.0.1, the same in IPv6, ::1
FOLDER = re.compile(r"/.*/stockrnn-\w{8}(?=/)")
LISTENS = "0A"
POOR = """
mount -t tmpfs -o size=1m tmpfs /dev/shm || exit 77
ulimit -n 256
umask 777
exec "$@"
"""


def open_files(pid):
    found = []
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(os.readlink(entry))
    return found


def listeners(pids):
    """The addresses, in hexadecimal digits, on which processes listen for TCP."""
    theirs = {name for pid in pids for name in open_files(pid)}
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENS and f"socket:[{fields[9]}]" in theirs:
                found.append(fields[1].partition(":")[0])
    return found


def test_it_is_heard_here_alone_closed_to_others_and_gone_afterwards(tmp_path):
    path = studies.write(
        tmp_path, GRID, space={"sequence_length": [5], "architecture": ["gru"]},
        scheduler={"max_epochs": 200, "grace_period": 200},
    )  # fmt: skip
    nowhere = {"TMPDIR": str(tmp_path / "nowhere"), "RAY_TMPDIR": "/" + "x" * 120, "RAY_ADDRESS": "192.0.2.1:6379"}
    poor = () if os.geteuid() or not shutil.which("unshare") else ("unshare", "-m", "sh", "-c", POOR, "sh")
    process = studies.begin(path, "--output", tmp_path, "--niceness", "2", env=nowhere, before=poor, ray=True)
    until(lambda: studies.workers(tmp_path / "grid"), process)
    if process.poll() == 77:
        pytest.skip("this process may not mount a disk")
    pids = [pid for pid, _ in studies.session(process.pid)]
    heard = listeners(pids)
    assert len(heard) > 5  # the GCS, the raylet twice, its agent, this study, its workers
    assert set(heard) <= LOOPBACK

    workers = studies.workers(tmp_path / "grid").values()
    assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in workers} == {2}

    inside = [FOLDER.match(name) for pid in pids for name in open_files(pid)]
    [folder] = {found.group() for found in inside if found}
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    studies.finish(process)
    assert not os.path.exists(folder)
    assert not studies.session(process.pid)
