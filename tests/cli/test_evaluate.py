"""``ovgsr evaluate`` where a model and a split do not belong together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ovgsr.cli.evaluate import _of_model
from ovgsr.data.errors import DataError
from ovgsr.data.swig import read_split


def test_a_student_of_the_unseen_verbs_is_told_of(sketch_root: Path, trained_run: Path, tmp_path: Path) -> None:
    own, mine = read_split(sketch_root), tmp_path / "split.json"
    assert own is not None
    arguments = ("test", ("official",), None, "cpu")
    student = str(trained_run / "student")
    _, notices = _of_model(student, sketch_root, None, *arguments)
    assert not [notice for notice in notices if "was trained on" in notice and "unseen" in notice]
    record = {"format": "ovgsr-split-1", "name": "mine", "seen": own.seen[2:], "unseen": [*own.seen[:2], own.unseen[0]]}
    mine.write_text(json.dumps(record), encoding="utf-8")
    _, notices = _of_model(student, sketch_root, mine, *arguments)
    assert notices[-1].startswith(f"the student was trained on 2 of the split's unseen verbs ({own.seen[0]} first)")
    record["seen"] = [*own.seen[2:], "jugling"]
    mine.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(DataError, match="the split 'mine' names 'jugling'"):
        _of_model(student, sketch_root, mine, *arguments)
