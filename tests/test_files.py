from __future__ import annotations

from pathlib import Path

import pytest

from ovgsr.files import write_atomically, write_text_atomically


def test_text_is_written_as_utf8_into_folders_that_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "café.txt"
    write_text_atomically(path, "größer\n")
    assert path.read_bytes() == "größer\n".encode()
    write_text_atomically(path, "new")
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def half(temporary: Path) -> None:
        assert temporary.parent == tmp_path, "another file system could not be moved from in one step"
        temporary.write_text("ha")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, half)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    seen: list[str] = []

    def write(temporary: Path) -> None:
        temporary.write_text("new")
        seen.append(path.read_text())

    write_atomically(path, write)
    assert (seen, path.read_text()) == (["old"], "new")


def test_a_write_that_wrote_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "file.txt", lambda _: None)
    assert list(tmp_path.iterdir()) == []
