"""Test local folders and folders behind URLs, with an S3 server on the loopback interface."""

import os

import pytest

from stockrnn.io.files import FileError
from stockrnn.io.storage import (
    RemoteFolder,
    StorageError,
    check_url,
    is_url,
    join_path,
    local_copy,
    open_folder,
    parent_url,
)
from stockrnn.training.checkpoint import Checkpoint, Checkpoints, delete_checkpoints


@pytest.fixture(params=["path", "url"])
def place(request, tmp_path):
    return str(tmp_path / "kept") if request.param == "path" else f"{request.getfixturevalue('bucket')}/kept"


def test_files_are_whole_and_listed_and_go(place):
    folder = open_folder(place)
    assert folder.names() == {}
    folder.write("one", b"first")
    folder.write("two", b"second")
    folder.write("one", b"1")
    assert folder.names() == {"one": 1, "two": 6}
    assert folder.read("two", 6) == b"second"
    with pytest.raises(FileError, match="larger"):
        folder.read("two", 5)
    with pytest.raises(FileNotFoundError):
        folder.read("three", 5)
    folder.remove("one")
    folder.remove("one")
    assert folder.names() == {"two": 6}
    folder.clear()
    folder.clear()
    assert folder.names() == {}


def test_checkpoints_behind_a_url_are_those_of_a_path(place):
    import numpy as np

    facts, arrays = {"seed": 1}, {"weights": np.arange(6, dtype=np.float32)}
    kept = Checkpoints(place, facts)
    for epoch in (1, 2, 5):
        kept.write(Checkpoint(epoch=epoch, notes={}, arrays={"weights": arrays["weights"] * epoch}))
    assert sorted(open_folder(place).names()) == ["000000002.safetensors", "000000005.safetensors"]
    open_folder(place).write("000000005.safetensors", b"torn")
    again = Checkpoints(place, facts)
    (found,) = again.read(arrays)
    assert found.epoch == 2
    np.testing.assert_array_equal(found.arrays["weights"], arrays["weights"] * 2)
    assert again.rejected[0].startswith("000000005.safetensors: ")
    assert delete_checkpoints(place) is None
    assert open_folder(place).names() == {}


def test_places_are_joined_and_a_query_stays_behind():
    assert join_path("results", "all", "report.html") == os.path.join("results", "all", "report.html")
    assert join_path("s3://b/results/?region=eu", "all") == "s3://b/results/all?region=eu"
    assert parent_url("s3://b/results/all?region=eu") == "s3://b/results?region=eu"
    assert is_url("s3://b/x")
    assert not is_url("results/s3")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("s3://AKIA:secret@b/x", "contains a user or password"),
        ("s3://b/x?secret_key=secret", "contains a key"),
        ("s3://", "has no bucket"),
        ("nonsense://b/x", "cannot be used"),
    ],
)
def test_an_invalid_url_is_one_line_without_its_secret(url, says):
    with pytest.raises(ValueError, match=says) as error:
        check_url(url)
    assert "secret@" not in str(error.value)
    assert "=secret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_an_error_of_a_bucket_is_one_line(bucket):
    with pytest.raises(StorageError, match=r"^s3://nobody-has-it/x: cannot be used \(.*does not exist\)$"):
        open_folder("s3://nobody-has-it/x").write("file", b"")


def test_a_local_copy_has_the_needed_files_and_is_removed(bucket):
    storage = RemoteFolder(f"{bucket}/all")
    for name in ("manifest.json", "forecasters/1/forecaster.json", "report.html"):
        storage.write(name, name.encode())
    with local_copy(storage.place, lambda name: name != "report.html") as folder:
        assert folder.name == "all"
        assert (folder / "forecasters" / "1" / "forecaster.json").read_bytes() == b"forecasters/1/forecaster.json"
        assert not (folder / "report.html").exists()
    assert not folder.exists()
