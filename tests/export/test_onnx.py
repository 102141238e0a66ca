"""Exports of tiny random students: the same answers as PyTorch's, for any pictures and words, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

import ovgsr.export.onnx as exporting
import ovgsr.recognizers.onnx as running
from ovgsr.cli.main import app
from ovgsr.interactions import ScoredPair
from ovgsr.models.checkpoint import Calibration, CheckpointError, StudentCheckpoint
from ovgsr.models.pair_checkpoint import PairCheckpoint
from ovgsr.models.preprocess import Preprocess
from ovgsr.models.text_encoder import TextEncoderError
from ovgsr.recognizers.explaining import explain
from ovgsr.recognizers.onnx import OnnxError
from ovgsr.recognizers.pairs import PairRecognizer
from ovgsr.recognizers.student import SituationRecognizer
from ovgsr.vocabulary import TEXT_TEMPLATES_VERSION, Noun, Verb, Vocabulary

FINGERPRINT = f"spelling;templates-{TEXT_TEMPLATES_VERSION}"
OTHER = Vocabulary(
    (Verb("barking", ("agent",)), Verb("feeding", ("agent", "food", "eater", "place", "source"))),
    (Noun("n2", ("dog",)), Noun("n9", ("bread",))),
    "other",
)
PICTURES = [Image.effect_noise(size, 90).convert("RGB") for size in ((60, 40), (32, 32), (25, 70))]


class Spelling:
    """Texts by their letters, at no cost."""

    width, fingerprint = 12, "spelling"

    def encode(self, texts: Sequence[str]) -> Tensor:
        codes = [torch.tensor([ord(letter) % self.width for letter in text]) for text in texts]
        rows = [torch.bincount(code, minlength=self.width).float() for code in codes]
        return torch.nn.functional.normalize(torch.stack(rows), dim=-1)


@pytest.fixture(scope="module")
def _no_encoder() -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    for module in (exporting, running):
        patch.setattr(module, "load_text_encoder", lambda name: Spelling())
    yield
    patch.undo()


@pytest.fixture(scope="module")
def student(make_checkpoint: Callable[..., StudentCheckpoint]) -> StudentCheckpoint:
    """With everything that a student may have: a second readout, letterboxing, constants."""
    made = make_checkpoint(distilled_readout=True, readout_layers=1, decoder_layers=1)
    made.text_fingerprint = FINGERPRINT
    made.preprocess = Preprocess(32, resize="letterbox")
    made.calibration = Calibration(2.5, 1.5, 0.7)
    made.rare_verbs = ("cutting",)
    return made


@pytest.fixture(scope="module")
def folder(student: StudentCheckpoint, tmp_path_factory: pytest.TempPathFactory, _no_encoder: None) -> Path:
    root = tmp_path_factory.mktemp("situations")
    student.save_pretrained(root / "student")
    exporting.export_onnx(root / "student", root / "out")
    return root / "out"


def _close(ours: dict[str, float], theirs: dict[str, float]) -> bool:
    return ours == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("words", [None, OTHER], ids=["its own words", "other words"])
def test_situations_are_those_of_pytorch(
    student: StudentCheckpoint, folder: Path, count: int, words: Vocabulary | None
) -> None:
    ours = SituationRecognizer.from_pretrained(folder).predict(PICTURES[:count], words, top_k=2)
    theirs = SituationRecognizer(student, Spelling()).predict(PICTURES[:count], words, top_k=2)
    assert len(ours) == count
    for one, other in zip(ours, theirs, strict=True):
        assert _close(dict(one.ranking), dict(other.ranking))
        assert one.situations.keys() == other.situations.keys()
        for verb, situation in one.situations.items():
            for role, noun in situation.nouns.items():
                expected = other.situations[verb].nouns[role]
                assert noun.noun == expected.noun
                assert noun.score == pytest.approx(expected.score, abs=2e-4)
                assert noun.grounded_score == pytest.approx(expected.grounded_score, abs=2e-4)
                assert noun.box_xyxy == pytest.approx(expected.box_xyxy, abs=0.02)


def test_the_words_of_an_export_need_no_text_encoder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise TextEncoderError(f"there is no {name}")

    monkeypatch.setattr(running, "load_text_encoder", missing)
    recognizer = SituationRecognizer.from_pretrained(folder)
    assert len(recognizer.predict(PICTURES[:1])[0].ranking) == 3
    two = recognizer.vocabulary.with_verbs(("barking", "cutting"))
    assert {verb for verb, _ in recognizer.predict(PICTURES[:1], two)[0].ranking} == {"barking", "cutting"}
    with pytest.raises(TextEncoderError):
        recognizer.predict(PICTURES[:1], OTHER)
    monkeypatch.setattr(Spelling, "fingerprint", "grammar")
    monkeypatch.setattr(running, "load_text_encoder", lambda name: Spelling())
    with pytest.raises(CheckpointError, match="words were embedded by 'spelling'; fetch that one"):
        recognizer.predict(PICTURES[:1], OTHER)


def test_pairs_are_those_of_pytorch(
    make_pair_checkpoint: Callable[..., PairCheckpoint], tmp_path: Path, _no_encoder: None
) -> None:
    checkpoint = make_pair_checkpoint(fingerprint=FINGERPRINT, kept=50, nms=None, distilled=True)
    checkpoint.distilled_weight, checkpoint.unmet_weight = 3.0, 9.0
    checkpoint.save_pretrained(tmp_path / "student")
    exporting.export_onnx(tmp_path / "student", tmp_path / "out")
    ours, theirs = PairRecognizer.from_pretrained(tmp_path / "out"), PairRecognizer(checkpoint, Spelling())
    other = Vocabulary((Verb("feed", ("human", "object")),), tuple(Noun(n, (n,)) for n in ("dog", "cow", "cat")), "o")
    for words, count in ((None, 3), (other, 1)):
        found = ours.predict(PICTURES[:count], ours.offer(words))
        for one, expected in zip(found, theirs.predict(PICTURES[:count], theirs.offer(words)), strict=True):
            assert len(one.pairs) == len(expected.pairs) > 0
            for pair, known in zip(_sorted(one.pairs), _sorted(expected.pairs), strict=True):
                assert (pair.verb, pair.object) == (known.verb, known.object)
                assert pair.score == pytest.approx(known.score, abs=1e-4)
                assert pair.human_box_xyxy == pytest.approx(known.human_box_xyxy, abs=0.02)
                assert pair.object_box_xyxy == pytest.approx(known.object_box_xyxy, abs=0.02)


def _sorted(pairs: Sequence[ScoredPair]) -> list[ScoredPair]:
    """By words and place, not by scores, which may be ties but for rounding."""
    return sorted(pairs, key=lambda pair: (pair.verb, pair.object, *map(round, pair.human_box_xyxy), pair.score))


def _run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return str(result.exception) if result.exception else result.output


def test_predict_runs_an_export(folder: Path, tmp_path: Path) -> None:
    PICTURES[0].save(tmp_path / "a.png")
    assert "1 of 1 pictures" in _run("predict", tmp_path / "a.png", "--model", folder, "--out", tmp_path / "out")
    record = json.loads((tmp_path / "out" / "a.json").read_text())
    assert {entry["verb"] for entry in record["verbs"]} == {"throwing", "cutting", "barking"}


def test_the_program_of_the_document_says_the_same(student: StudentCheckpoint, folder: Path, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    PICTURES[0].save(tmp_path / "a.png")
    command = [sys.executable, "-c", program, folder, tmp_path / "a.png"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    best = SituationRecognizer(student, Spelling()).predict(PICTURES[:1])[0].best
    verb, probability = told[0].split()
    assert verb == best.verb
    assert float(probability) == pytest.approx(best.score, abs=2e-4)
    for line, (role, noun) in zip(told[1:], best.nouns.items(), strict=True):
        assert line.startswith(f"{role} {noun.noun} ")
        assert line.endswith("None") == (noun.box_xyxy is None)
        if noun.box_xyxy is not None:
            assert json.loads(line[line.index("[") :]) == pytest.approx(noun.box_xyxy, abs=0.2)


def test_a_damaged_or_incomplete_export_is_named(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "encode.onnx").write_bytes(b"nothing")
    with pytest.raises(OnnxError, match=r"encode\.onnx: not the file that config\.json records; copy the whole"):
        SituationRecognizer.from_pretrained(copy)
    config = json.loads((copy / "config.json").read_text())
    del config["onnx"]["files"]["encode.onnx"]
    (copy / "encode.onnx").unlink()
    with pytest.raises(CheckpointError, match=r"no encode\.onnx"):
        SituationRecognizer.from_pretrained(copy)
    with pytest.raises(OnnxError, match=r"ONNX Runtime cannot open this graph .*; export it again"):
        running.Graph(folder / "config.json")


def test_what_an_export_cannot_do_is_said(
    folder: Path, tmp_path: Path, make_checkpoint: Callable[..., StudentCheckpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OnnxError, match="runs on the CPU here, not on 'meta'"):
        SituationRecognizer.from_pretrained(folder, device="meta")
    with pytest.raises(ValueError, match="does not tell where it looks; explain the checkpoint"):
        explain(SituationRecognizer.from_pretrained(folder), PICTURES[0])
    make_checkpoint(head="closed").save_pretrained(tmp_path / "closed")
    assert "model.head=closed" in _run("export", tmp_path / "closed", "--out", tmp_path / "new")
    assert "this is an export already" in _run("export", folder, "--out", tmp_path / "new")
    assert "opset 3 cannot be written; choose from 18 to 23" in _run("export", folder, "--out", "x", "--opset", "3")
    for out in (tmp_path / "closed", tmp_path / "student.onnx", tmp_path):
        assert "an export is a folder of several files" in _run("export", tmp_path / "closed", "--out", out)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(OnnxError, match=r"running an exported student needs the extra 'onnx': pip install"):
        SituationRecognizer.from_pretrained(folder)
    monkeypatch.setattr(exporting, "find_spec", lambda name: None)
    assert "exporting needs the extra 'onnx'" in _run("export", tmp_path / "closed", "--out", tmp_path / "new")
