"""Test atomic file writes: modes, links, pipes, failed writes, several writers."""

import os
import stat
import threading

import pytest

from stockrnn.io.files import TEMPORARY_NAME, write_atomic


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_written_whole_with_the_mode_of_any_new_file(tmp_path, durable):
    (tmp_path / "beside").touch()
    for content in (b"old", b"new" * 10**6, b"", memoryview(b"view")):
        write_atomic(tmp_path / "file", content, durable=durable)
        assert (tmp_path / "file").read_bytes() == content
    assert names(tmp_path) == ["beside", "file"]
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "beside").stat().st_mode


def test_links_at_the_path_are_replaced_and_not_followed(tmp_path):
    (tmp_path / "canary").write_text("kept")
    (tmp_path / "soft").symlink_to(tmp_path / "canary")
    os.link(tmp_path / "canary", tmp_path / "hard")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for name in ("soft", "hard", "nowhere"):
        write_atomic(tmp_path / name, b"new")
        assert (tmp_path / name).read_bytes() == b"new"
        assert not (tmp_path / name).is_symlink()
    assert (tmp_path / "canary").read_text() == "kept"
    assert names(tmp_path) == ["canary", "hard", "nowhere", "soft"]


def test_a_pipe_at_the_path_is_replaced_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    write_atomic(tmp_path / "pipe", b"new")
    assert stat.S_ISREG((tmp_path / "pipe").lstat().st_mode)


def test_a_failed_write_leaves_only_the_old_file(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomic(tmp_path / "folder", b"new")
    with pytest.raises(TypeError):
        write_atomic(tmp_path / "file", "text")
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "gone" / "file", b"new")
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file", "folder"]


def test_several_writers_leave_the_whole_content_of_one(tmp_path):
    path = tmp_path / "file"
    contents = [bytes([number]) * 100_000 for number in range(4)]
    write_atomic(path, contents[0])

    def write(content):
        for _ in range(20):
            write_atomic(path, content)

    writers = [threading.Thread(target=write, args=(content,)) for content in contents]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert path.read_bytes() in contents
    assert names(tmp_path) == ["file"]


def test_the_name_of_an_unfinished_file_is_known_and_no_other_is(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda part, path: seen.append(part.name))
    seen = []
    for _ in range(2):
        write_atomic(tmp_path / "file", b"new")
    assert len(set(seen)) == 2
    assert all(map(TEMPORARY_NAME.fullmatch, seen))
    for name in ("file.part", ".file.part", ".stream.arrows", f".{1:032x}.party", f"x.{1:032x}.part"):
        assert not TEMPORARY_NAME.fullmatch(name)
