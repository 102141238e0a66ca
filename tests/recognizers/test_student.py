from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovgsr.data.swig import image_folder, read_annotations, read_vocabulary
from ovgsr.models.checkpoint import Calibration, CheckpointError
from ovgsr.models.preprocess import ImageError
from ovgsr.recognizers.annotated import predict_annotated
from ovgsr.recognizers.protocol import Recognizer
from ovgsr.recognizers.student import DeviceError, SituationRecognizer
from ovgsr.situation import ImagePrediction
from ovgsr.training.build import DRAWN_NOTICE
from ovgsr.vocabulary import Verb, Vocabulary, VocabularyError, swig_vocabulary


@pytest.fixture
def recognizer(trained_run: Path) -> SituationRecognizer:
    return SituationRecognizer.from_pretrained(trained_run / "student")


@pytest.fixture(scope="module")
def pictures(sketch_root: Path) -> list[Image.Image]:
    """Three pictures of three shapes."""
    files = sorted((sketch_root / "images_512").iterdir())
    sizes = ((96, 96), (40, 120), (333, 77))
    return [Image.open(file).convert("RGB").resize(size) for file, size in zip(files[::40], sizes, strict=False)]


def _same(first: ImagePrediction, second: ImagePrediction) -> None:
    """Equal but for rounding in sums over other batch sizes."""
    assert [verb for verb, _ in first.ranking] == [verb for verb, _ in second.ranking]
    scores = [[score for _, score in prediction.ranking] for prediction in (first, second)]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-3)
    assert first.situations.keys() == second.situations.keys()
    for verb, situation in first.situations.items():
        for role, answer in situation.nouns.items():
            other = second.situations[verb].nouns[role]
            assert answer.noun == other.noun
            assert (answer.box_xyxy is None) == (other.box_xyxy is None)
            np.testing.assert_allclose(answer.box_xyxy or (), other.box_xyxy or (), atol=0.1)


def test_pictures_of_different_sizes_in_one_batch(recognizer: SituationRecognizer, pictures: list[Image.Image]) -> None:
    predictions = recognizer.predict(pictures, file_names=["a", "b", "c"], top_k=2)
    assert [prediction.file_name for prediction in predictions] == ["a", "b", "c"]
    for picture, prediction in zip(pictures, predictions, strict=True):
        assert (prediction.width, prediction.height) == picture.size
        _same(prediction, recognizer.predict([picture], top_k=2)[0])
    assert len({prediction.ranking for prediction in predictions}) == 3
    assert recognizer.predict([]) == []


def test_the_ranking_holds_every_offered_verb_and_sums_to_one(
    recognizer: SituationRecognizer, pictures: list[Image.Image]
) -> None:
    offers: Sequence[Vocabulary | None] = (
        None,
        recognizer.vocabulary.with_verbs(["throwing"]),
        recognizer.vocabulary.with_verbs(["throwing", "eating", "flying", "hurling"]),
        swig_vocabulary().with_nouns(recognizer.vocabulary.nouns).with_verbs(swig_vocabulary().verb_names[::10]),
    )
    for vocabulary in offers:
        offered = vocabulary or recognizer.vocabulary
        for prediction in recognizer.predict(pictures, vocabulary, top_k=0):
            assert sorted(verb for verb, _ in prediction.ranking) == sorted(offered.verb_names)
            scores = [score for _, score in prediction.ranking]
            assert scores == sorted(scores, reverse=True)
            assert sum(scores) == pytest.approx(1, abs=1e-4)
            assert prediction.situations == {}


TOP_K = [
    # top_k, frames filled
    (1, 1),
    (5, 5),
    (999, 44),  # more than there are: every one
]


@pytest.mark.parametrize(("top_k", "filled"), TOP_K)
def test_the_best_verbs_frames_are_filled(
    recognizer: SituationRecognizer, pictures: list[Image.Image], top_k: int, filled: int
) -> None:
    for prediction in recognizer.predict(pictures, top_k=top_k):
        best = [verb for verb, _ in prediction.ranking[:top_k]]
        assert list(prediction.situations) == best
        assert len(best) == filled
        assert prediction.best.verb == best[0]
        for verb, situation in prediction.situations.items():
            assert situation.roles == recognizer.vocabulary.verb(verb).roles
            assert situation.score == pytest.approx(dict(prediction.ranking)[verb], abs=1e-5)


def test_boxes_lie_in_the_picture(recognizer: SituationRecognizer, pictures: list[Image.Image]) -> None:
    boxes = 0
    for picture, prediction in zip(pictures, recognizer.predict(pictures, top_k=44), strict=True):
        for situation in prediction.situations.values():
            for answer in situation.nouns.values():
                assert answer.noun == "" or answer.noun in {noun.key for noun in recognizer.vocabulary.nouns}
                assert answer.score is not None
                assert 0 < answer.score <= 1
                if answer.box_xyxy is not None:
                    left, top, right, bottom = answer.box_xyxy
                    assert 0 <= left < right <= picture.width
                    assert 0 <= top < bottom <= picture.height
                    boxes += 1
    assert boxes > 0


def test_the_frame_asked_for_never_moves_the_ranking(
    recognizer: SituationRecognizer, pictures: list[Image.Image]
) -> None:
    plain = recognizer.predict(pictures, top_k=1)
    for asked in (["throwing"] * 3, ["sleeping", "eating", "throwing"]):
        predictions = recognizer.predict(pictures, top_k=1, frames_of=asked)
        for before, after, verb in zip(plain, predictions, asked, strict=True):
            assert after.ranking == before.ranking, "to the bit"
            assert verb in after.situations
            assert set(after.situations) == {verb, after.ranking[0][0]}
    with pytest.raises(VocabularyError, match="the verb 'flying' is not in the vocabulary"):
        recognizer.predict(pictures, frames_of=["flying"] * 3)


def test_the_constant_moves_verbs_outside_training_only(
    recognizer: SituationRecognizer, pictures: list[Image.Image]
) -> None:
    recognizer.checkpoint.calibration = Calibration(2.0)
    offered = recognizer.vocabulary.with_verbs(["throwing", "eating", "watering", "feeding"])
    plain = recognizer.predict(pictures, offered, calibrated=False)
    moved = recognizer.predict(pictures, offered)
    for before, after in zip(plain, moved, strict=True):
        old, new = dict(before.ranking), dict(after.ranking)
        assert new["throwing"] / new["eating"] == pytest.approx(old["throwing"] / old["eating"], rel=1e-3)
        assert new["watering"] / new["feeding"] == pytest.approx(old["watering"] / old["feeding"], rel=1e-3)
        gain = (new["watering"] / new["throwing"]) / (old["watering"] / old["throwing"])
        assert gain == pytest.approx(np.exp(2.0), rel=1e-3)
    among_training = [recognizer.predict(pictures, calibrated=on) for on in (False, True)]
    assert [p.ranking for p in among_training[0]] == [p.ranking for p in among_training[1]]


def test_every_result_says_that_the_model_knows_drawings_only(
    recognizer: SituationRecognizer, pictures: list[Image.Image]
) -> None:
    assert recognizer.notices == (DRAWN_NOTICE,)
    for prediction in recognizer.predict(pictures):
        assert prediction.notices == (DRAWN_NOTICE,)
        assert prediction.to_json()["notices"] == [DRAWN_NOTICE]


def test_a_borrowed_frame_is_recorded(recognizer: SituationRecognizer, pictures: list[Image.Image]) -> None:
    offered = recognizer.vocabulary.with_verbs(["throwing", "defenestrating"])
    prediction = recognizer.predict(pictures[:1], offered, top_k=2)[0]
    situation = prediction.situations["defenestrating"]
    lender = situation.frame_borrowed_from
    assert lender in recognizer.vocabulary or lender in swig_vocabulary()
    assert situation.roles
    record = json.loads(json.dumps(prediction.to_json()))
    assert record["frames_borrowed_from"] == {"defenestrating": lender}
    assert situation.to_json()["frame_borrowed_from"] == lender
    assert prediction.situations["throwing"].frame_borrowed_from is None


def test_one_picture_from_a_file_or_from_memory(recognizer: SituationRecognizer, sketch_root: Path) -> None:
    file = sorted((sketch_root / "images_512").iterdir())[0]
    by_path, by_text = recognizer(file, top_k=1), recognizer(str(file), top_k=1)
    in_memory = recognizer(Image.open(file), top_k=1)
    assert by_path == by_text
    assert by_path.file_name == str(file)
    assert (in_memory.file_name, in_memory.ranking) == ("", by_path.ranking)
    with pytest.raises(ImageError, match="there is no such file"):
        recognizer(sketch_root / "nothing.jpg")


def test_an_empty_offer_is_refused(recognizer: SituationRecognizer, pictures: list[Image.Image]) -> None:
    with pytest.raises(CheckpointError, match="the vocabulary offers no verb; name at least one"):
        recognizer.predict(pictures, Vocabulary(()))


def test_without_nouns_every_role_is_empty(recognizer: SituationRecognizer, pictures: list[Image.Image]) -> None:
    offered = Vocabulary((Verb("throwing", ("agent", "item")),))
    for prediction in recognizer.predict(pictures, offered):
        answers = prediction.best.nouns.values()
        assert {(answer.noun, answer.box_xyxy, answer.score) for answer in answers} == {("", None, 1.0)}


def test_an_offer_is_embedded_once(
    recognizer: SituationRecognizer, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = recognizer.vocabulary.with_verbs(["throwing", "eating"])
    first = recognizer.predict(pictures, other)

    def refuse(_: object) -> None:
        raise AssertionError("embedded again")

    monkeypatch.setattr(recognizer.text_encoder, "encode", refuse)
    assert recognizer.predict(pictures, other) == first
    with pytest.raises(AssertionError, match="embedded again"):
        recognizer.predict(pictures)  # another offer


def test_annotated_pictures_in_order_and_without_a_leak(recognizer: SituationRecognizer, sketch_root: Path) -> None:
    images = read_annotations(sketch_root, "dev")[:7]
    vocabulary, heard = read_vocabulary(sketch_root), []
    folder = image_folder(sketch_root)
    predictions = list(
        predict_annotated(recognizer, images, folder, vocabulary, batch_size=3, progress=lambda *at: heard.append(at))
    )
    assert [prediction.file_name for prediction in predictions] == [image.file_name for image in images]
    assert heard == [(3, 7), (6, 7), (7, 7)]
    for image, prediction in zip(images, predictions, strict=True):
        assert list(prediction.situations) == [image.situation.verb]
        assert (prediction.width, prediction.height) == (image.width, image.height)
    # Other gold verbs, the same pictures: the ranking must not move, not by a bit.
    swapped = [
        type(image)(image.file_name, image.width, image.height, other.situations)
        for image, other in zip(images, reversed(images), strict=True)
    ]
    again = list(predict_annotated(recognizer, swapped, folder, vocabulary, batch_size=3))
    assert [prediction.ranking for prediction in again] == [prediction.ranking for prediction in predictions]


def test_the_student_is_a_recognizer(recognizer: SituationRecognizer) -> None:
    assert isinstance(recognizer, Recognizer)
    assert not recognizer.model.training


@pytest.mark.parametrize("device", ["banana", "cuda:99"])
def test_a_device_that_is_not_there_is_a_sentence(trained_run: Path, device: str) -> None:
    with pytest.raises(DeviceError, match=f"the device '{device}' cannot be used on this machine"):
        SituationRecognizer.from_pretrained(trained_run / "student", device=device)
