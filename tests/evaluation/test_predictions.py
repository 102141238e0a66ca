"""The predictions file: what is written is read again; what is wrong is named with line, field and remedy."""

from __future__ import annotations

import json
import math

import pytest

from ovgsr.evaluation.predictions import PredictionsError, PredictionsWriter, read_predictions, write_predictions
from ovgsr.situation import GroundedNoun, ImagePrediction, Situation

GOOD = {
    "image": "jumping_10.jpg",
    "verbs": [{"verb": "jumping", "score": 0.71}, {"verb": "leaping", "score": 0.2}],
    "frames": {"jumping": {"agent": {"noun": "n10287213", "score": 0.8, "box": [1, 2, 30, 40.5]}}},
}


def changed(**fields):
    return json.dumps(GOOD | fields)


def frame(answer):
    return changed(frames={"jumping": {"agent": answer}})


def read_text(tmp_path, text, **options):
    path = tmp_path / "p.jsonl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_predictions(path, **options))


def test_what_is_written_is_read_again(tmp_path):
    nouns = {
        "agent": GroundedNoun("n10287213", (0.0, 1.25, 30.0, 40.0), 0.8, 0.9),
        "place": GroundedNoun("", None, 0.5),
    }
    predictions = [
        ImagePrediction(
            file_name="jümping_\udcff10.jpg",  # a name that is no valid UTF-8 on disk
            ranking=(("jumping", 0.7), ("leaping", 0.3)),
            situations={"jumping": Situation("jumping", nouns, 0.7), "leaping": Situation("leaping", nouns, 0.3, "x")},
            width=640,
            height=480,
            notices=("drawn pictures only",),
        ),
        ImagePrediction("b.jpg", (("a", 1.0),), {}),
    ]
    path = tmp_path / "out.jsonl"
    assert write_predictions(path, predictions) == 2
    assert list(read_predictions(path)) == predictions
    assert list(tmp_path.iterdir()) == [path]  # nothing temporary is left


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("old")
    broken = ImagePrediction("b.jpg", (("a", math.nan),), {})
    with pytest.raises(PredictionsError, match=r"b\.jpg holds a number that is not finite"):
        write_predictions(path, [ImagePrediction("a.jpg", (("a", 1.0),), {}), broken])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_made_and_a_file_in_its_place_is_named(tmp_path):
    prediction = ImagePrediction("a.jpg", (("a", 1.0),), {})
    assert write_predictions(tmp_path / "new" / "out.jsonl", [prediction]) == 1
    (tmp_path / "file").write_text("")
    with pytest.raises(PredictionsError, match="cannot be written"):
        write_predictions(tmp_path / "file" / "out.jsonl", [prediction])
    with pytest.raises(PredictionsError, match="use 'with"):
        PredictionsWriter(tmp_path / "x").write(prediction)


TOLERATED = [
    pytest.param(changed() + "\n\n  \n", id="blank lines"),
    pytest.param(b"\xef\xbb\xbf" + changed().encode() + b"\r\n", id="byte-order mark and Windows line ends"),
    pytest.param(changed(unknown_field=1), id="a field of the future"),
    pytest.param(frame({"noun": "n10287213", "score": 0.8, "box": [1, 2, 30, 40.5], "mask": [1]}), id="in an answer"),
]


@pytest.mark.parametrize("text", TOLERATED)
def test_tolerated(tmp_path, text):
    (prediction,) = read_text(tmp_path, text)
    assert prediction.ranking == (("jumping", 0.71), ("leaping", 0.2))
    assert prediction.situations["jumping"].nouns["agent"] == GroundedNoun("n10287213", (1, 2, 30, 40.5), 0.8)
    assert prediction.situations["jumping"].score == 0.71


# SWiG writes "no box" as four times -1; a zero, or a single -1, is a coordinate
@pytest.mark.parametrize(
    ("box", "expected"),
    [([-1, -1, -1, -1], None), ([0, 0, 0, 0], (0, 0, 0, 0)), ([5, -1, 50, 50], (5, -1, 50, 50)), (None, None)],
)
def test_boxes(tmp_path, box, expected):
    (prediction,) = read_text(tmp_path, frame({"noun": "", "box": box}))
    assert prediction.situations["jumping"].nouns["agent"].box_xyxy == expected


def test_only_the_frames_asked_for_are_built(tmp_path):
    frames = {"jumping": GOOD["frames"]["jumping"], "leaping": {"agent": "nonsense"}}
    (prediction,) = read_text(tmp_path, changed(frames=frames), frames_of={"jumping_10.jpg": "jumping"})
    assert set(prediction.situations) == {"jumping"}
    (prediction,) = read_text(tmp_path, changed(frames=frames), frames_of={})
    assert prediction.situations == {}


# text of the file, what the message must say
BAD = [
    pytest.param("", "the file is empty", id="empty file"),
    pytest.param("\n \n", "the file is empty", id="blank file"),
    pytest.param("{", "line 1: not JSON .*one whole object a line", id="cut off"),
    pytest.param(changed() + "\n" + changed()[:-9], "line 2: not JSON", id="second line cut off"),
    pytest.param(f"[{changed()}]", "line 1: an object is expected, not a list.*a line", id="one JSON list"),
    pytest.param("null", "not null", id="null"),
    pytest.param("[" * 100_000, "line 1: cannot be read as JSON", id="nested without end"),
    pytest.param(b"\xff\xfe{\x00", "byte 1 is not UTF-8", id="UTF-16"),
    pytest.param(b"\x89PNG\r\n\x1a\n", "byte 1 is not UTF-8", id="a picture"),
    pytest.param(changed(image=""), "field 'image'", id="no file name"),
    pytest.param(changed(image=7), "field 'image'", id="file name is a number"),
    pytest.param(json.dumps({"image": "a.jpg"}), "field 'verbs'", id="no verbs"),
    pytest.param(changed(verbs=[]), "field 'verbs'.*at least one", id="empty ranking"),
    pytest.param(changed(verbs={"jumping": 0.7}), "field 'verbs'", id="verbs as a map"),
    pytest.param(changed(verbs=["jumping"]), r"verbs\[0\]", id="verbs as names"),
    pytest.param(changed(verbs=[GOOD["verbs"][0], {"verb": "x"}]), r"verbs\[1\]", id="no score"),
    pytest.param(changed(verbs=[{"verb": 3, "score": 1}]), r"verbs\[0\].verb", id="verb is a number"),
    pytest.param(changed(verbs=[{"verb": "", "score": 1}]), r"verbs\[0\].verb", id="verb is empty"),
    pytest.param(changed(verbs=[{"verb": ["a"], "score": 1}]), r"verbs\[0\].verb", id="verb is a list"),
    pytest.param(changed(verbs=[{"verb": "a", "score": "1"}]), r"verbs\[0\].score", id="score is text"),
    pytest.param(changed(verbs=[{"verb": "a", "score": True}]), r"verbs\[0\].score", id="score is true"),
    pytest.param(changed(verbs=[{"verb": "a", "score": None}]), r"verbs\[0\].score", id="score is null"),
    pytest.param('{"image": "a", "verbs": [{"verb": "a", "score": NaN}]}', "NaN is not JSON", id="NaN"),
    pytest.param('{"image": "a", "verbs": [{"verb": "a", "score": 1e999}]}', "finite", id="overflow"),
    pytest.param('{"image": "a", "verbs": [{"verb": "a", "score": 1' + "0" * 400 + "}]}", "finite", id="huge integer"),
    pytest.param(changed(verbs=GOOD["verbs"] * 2), "names 'jumping' twice", id="a verb twice"),
    pytest.param(changed(verbs=GOOD["verbs"][::-1]), "sort the verbs best first", id="not sorted"),
    pytest.param(changed(frames=[]), "field 'frames'", id="frames as a list"),
    pytest.param(changed(frames={"jumping": ["a"]}), "field 'frames.jumping'", id="frame as a list"),
    pytest.param(changed(frames={"": {}}), "without a name", id="nameless frame"),
    pytest.param(frame("n10287213"), "frames.jumping.agent", id="answer as text"),
    pytest.param(frame({"box": None}), 'frames.jumping.agent.noun.*write "" for an empty role', id="no noun"),
    pytest.param(frame({"noun": None}), "frames.jumping.agent.noun", id="noun is null"),
    pytest.param(frame({"noun": "a", "box": [1, 2, 3]}), "frames.jumping.agent.box", id="three numbers"),
    pytest.param(frame({"noun": "a", "box": [1, 2, 3, "4"]}), "frames.jumping.agent.box", id="text in a box"),
    pytest.param(frame({"noun": "a", "box": [1, 2, 3, None]}), "frames.jumping.agent.box", id="null in a box"),
    pytest.param(frame({"noun": "a", "box": {"x": 1}}), "frames.jumping.agent.box", id="box as a map"),
    pytest.param(frame({"noun": "a", "score": "high"}), "frames.jumping.agent.score", id="score of an answer"),
    pytest.param(frame({"noun": "a", "grounded_score": []}), "agent.grounded_score", id="grounded score"),
    pytest.param(changed(width=-1), "field 'width'", id="negative width"),
    pytest.param(changed(height="480"), "field 'height'", id="height as text"),
    pytest.param(changed(notices="drawn"), "field 'notices'", id="notices as text"),
    pytest.param(changed(frames_borrowed_from=[]), "field 'frames_borrowed_from'", id="borrowed as a list"),
    pytest.param(changed(frames_borrowed_from={"jumping": 1}), "frames_borrowed_from.jumping", id="borrowed number"),
]


@pytest.mark.parametrize(("text", "complaint"), BAD)
def test_bad_input(tmp_path, text, complaint):
    with pytest.raises(PredictionsError, match=complaint) as caught:
        read_text(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "p.jsonl"))


def test_files_that_are_none(tmp_path):
    for path in (tmp_path, tmp_path / "missing.jsonl"):
        with pytest.raises(PredictionsError, match="cannot be read"):
            next(iter(read_predictions(path)))


def test_good_lines_before_a_bad_one_are_read(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text(changed() + "\n{\n")
    stream = iter(read_predictions(path))
    assert next(stream).file_name == "jumping_10.jpg"
    with pytest.raises(PredictionsError, match="line 2"):
        next(stream)
