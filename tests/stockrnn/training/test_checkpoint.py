"""Test checkpoints with damaged files, a full disk, and files of other trainings."""

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from stockrnn.training.checkpoint import Checkpoint, Checkpoints, delete_checkpoints

FACTS = {"architecture": "gru", "learning_rate": 1e-3, "folds": [[0, 100], [100, 120]]}


def arrays(epoch, size=1000):
    return {"weights": np.full((2, size), epoch, dtype=np.float32), "loss": np.array(epoch / 3)}


def write(folder, *epochs, facts=FACTS):
    kept = Checkpoints(folder, facts)
    for epoch in epochs:
        kept.write(Checkpoint(epoch=epoch, notes={"best_epoch": epoch - 1}, arrays=arrays(epoch)))
    return kept


def read(folder, facts=FACTS, like=None):
    kept = Checkpoints(folder, facts)
    return list(kept.read(arrays(0) if like is None else like)), kept.rejected


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_and_the_one_before_are_kept_and_read_as_they_were(tmp_path):
    folder = tmp_path / "00003"
    write(folder, 1, 2, 7, 10)
    assert names(folder) == ["000000007.safetensors", "000000010.safetensors"]
    found, refused = read(folder)
    assert [(each.epoch, each.notes) for each in found] == [(10, {"best_epoch": 9}), (7, {"best_epoch": 6})]
    for each in found:
        for name, array in arrays(each.epoch).items():
            assert each.arrays[name].dtype == array.dtype
            np.testing.assert_array_equal(each.arrays[name], array)
    assert refused == []


def test_numbers_that_are_not_finite_are_kept(tmp_path):
    odd = {"scores": np.array([np.nan, np.inf, -np.inf, 5e-324])}
    Checkpoints(tmp_path / "t", FACTS).write(Checkpoint(epoch=1, notes={}, arrays=odd))
    (found,), _ = read(tmp_path / "t", like=odd)
    np.testing.assert_array_equal(found.arrays["scores"], odd["scores"])


def test_without_a_folder_there_is_nothing_to_read_or_delete(tmp_path):
    assert read(tmp_path / "none") == ([], [])
    assert delete_checkpoints(tmp_path / "none") is None


def test_forgotten_checkpoints_are_gone(tmp_path):
    write(tmp_path / "t", 1, 2)
    assert delete_checkpoints(tmp_path / "t") is None
    assert names(tmp_path) == []


def test_one_that_cannot_be_forgotten_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    assert delete_checkpoints(tmp_path / "file") == f"{tmp_path / 'file'}: cannot be deleted (Not a directory)"


def damaged(content):
    """Yield damaged copies of a file: cut off, extended, overwritten, or with a changed bit."""
    header = 8 + int.from_bytes(content[:8], "little")
    yield b""
    yield content[:5]
    yield content[: header // 2]
    yield content[:-1]
    yield content + b"\0"
    yield bytes(len(content))
    yield b"\xff" * len(content)
    for position in (0, 9, 40, header // 2, header + 1, len(content) // 2, len(content) - 1):
        yield content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


def test_a_damaged_newest_falls_back_to_the_one_before_and_both_to_none(tmp_path):
    folder = tmp_path / "t"
    write(folder, 4, 5)
    before, newest = (folder / name for name in names(folder))
    whole = newest.read_bytes()
    for content in damaged(whole):
        newest.write_bytes(content)
        found, refused = read(folder)
        assert [each.epoch for each in found] == [4]
        assert len(refused) == 1
        assert refused[0].startswith("000000005.safetensors: ")
        assert "\n" not in refused[0]
    before.write_bytes(before.read_bytes()[:-100])
    found, refused = read(folder)
    assert (found, len(refused)) == ([], 2)


def test_after_a_fall_back_the_whole_one_stays_and_the_damaged_goes(tmp_path):
    folder = tmp_path / "t"
    write(folder, 4, 5)
    (folder / "000000005.safetensors").write_bytes(b"torn")
    kept = Checkpoints(folder, FACTS)
    assert next(kept.read(arrays(0))).epoch == 4
    kept.write(Checkpoint(epoch=6, notes={}, arrays=arrays(6)))
    assert names(folder) == ["000000004.safetensors", "000000006.safetensors"]


@pytest.mark.parametrize(
    ("facts", "differing"),
    [
        ({**FACTS, "learning_rate": 2e-3}, "learning_rate"),
        ({**FACTS, "folds": [[0, 100], [100, 121]], "architecture": "rnn"}, "architecture, folds"),
        ({**FACTS, "seed": 1}, "seed"),
        ({}, "architecture, learning_rate, folds"),
    ],
)
def test_a_checkpoint_of_another_training_is_rejected(tmp_path, facts, differing):
    write(tmp_path / "t", 3, facts=facts)
    expected = f"000000003.safetensors: belongs to another training, with other {differing}"
    found, refused = read(tmp_path / "t")
    assert found == []
    assert set(refused[0].removeprefix(expected[: -len(differing)]).split(", ")) == set(differing.split(", "))


@pytest.mark.parametrize(
    "like",
    [
        {"weights": np.zeros((2, 1000), dtype=np.float32)},
        {**arrays(0), "more": np.zeros(1)},
        {**arrays(0), "weights": np.zeros((2, 999), dtype=np.float32)},
        {**arrays(0), "weights": np.zeros((2000,), dtype=np.float32)},
        {**arrays(0), "weights": np.zeros((2, 1000), dtype=np.float64)},
    ],
)
def test_arrays_with_other_names_types_or_shapes_are_rejected(tmp_path, like):
    write(tmp_path / "t", 3)
    found, refused = read(tmp_path / "t", like=like)
    assert (found, len(refused)) == ([], 1)


def foreign(path, document, **array):
    """Write a file with a valid format and invalid content."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(safetensors.numpy.save(array or arrays(1), {"document": document, "sha256": "0" * 64}))


@pytest.mark.parametrize(
    "document",
    [
        "", "[]", "null", "{", "[" * 100_000, '{"format": NaN}', json.dumps({"format": 2, "facts": FACTS}),
        json.dumps({"format": 1, "facts": FACTS, "epoch": 1, "notes": {}}), json.dumps({"format": 1, "facts": []}),
    ],
    ids=range(9),
)  # fmt: skip
def test_an_invalid_document_is_rejected(tmp_path, document):
    foreign(tmp_path / "t" / "000000001.safetensors", document)
    found, refused = read(tmp_path / "t")
    assert (found, len(refused)) == ([], 1)


def bytes_read():
    """Return how many bytes this process has read since its start."""
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="this system does not count the bytes of a process")
def test_a_file_far_larger_than_a_checkpoint_is_not_read(tmp_path):
    path = tmp_path / "t" / "000000009.safetensors"
    write(tmp_path / "t", 8)
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse
    before = bytes_read()
    found, refused = read(tmp_path / "t")
    assert bytes_read() - before < 2**20
    assert [each.epoch for each in found] == [8]
    assert "larger" in refused[0]


def test_a_pipe_a_folder_and_a_link_are_rejected_without_blocking(tmp_path):
    folder = tmp_path / "t"
    write(folder, 8)
    os.mkfifo(folder / "000000009.safetensors")
    (folder / "000000010.safetensors").mkdir()
    (folder / "000000011.safetensors").symlink_to(folder / "000000008.safetensors")
    (folder / "notes.txt").write_text("not ours")
    found, refused = read(folder)
    assert [each.epoch for each in found] == [8]
    assert len(refused) == 3


def test_a_missing_parent_or_a_file_in_place_of_the_folder_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "no" / "t", 1)
    assert not (tmp_path / "no").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        write(tmp_path / "file", 1)


def test_a_full_disk_leaves_those_before_as_they_were(tmp_path):
    """A limit of the file size has the same effect as a disk that becomes full during a write."""
    folder = tmp_path / "t"
    kept = write(folder, 1, 2)
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, former[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            kept.write(Checkpoint(epoch=3, notes={}, arrays=arrays(3)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
        signal.signal(signal.SIGXFSZ, ignored)
    assert names(folder) == ["000000001.safetensors", "000000002.safetensors"]
    assert [each.epoch for each in read(folder)[0]] == [2, 1]
    kept.write(Checkpoint(epoch=4, notes={}, arrays=arrays(4)))
    assert [each.epoch for each in read(folder)[0]] == [4, 2]


WRITER = """
import sys
from pathlib import Path
import numpy as np
from stockrnn.training.checkpoint import Checkpoint, Checkpoints
kept = Checkpoints(Path(sys.argv[1]), {"one": 1})
for epoch in range(1, 100_000):
    weights = np.full((50, 2000), epoch, dtype=np.float32)
    kept.write(Checkpoint(epoch=epoch, notes={}, arrays={"weights": weights}))
    print(epoch, flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_a_whole_one_no_older_than_the_last(tmp_path):
    folder, like = tmp_path / "t", {"weights": np.zeros((50, 2000), dtype=np.float32)}
    root = Path(__file__).parents[3]
    for milliseconds in range(0, 24, 4):
        writer = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), str(folder)], stdout=subprocess.PIPE, text=True, cwd=root
        )
        lines = iter(writer.stdout)
        next(lines), next(lines)
        time.sleep(milliseconds / 1000)
        writer.kill()
        said = [2, *(int(line) for line in lines if line.endswith("\n"))]
        writer.wait()
        writer.stdout.close()
        found, refused = read(folder, facts={"one": 1}, like=like)
        assert refused == []
        assert found[0].epoch >= said[-1]
        for each in found:
            assert (each.arrays["weights"] == each.epoch).all()
        assert delete_checkpoints(folder) is None
