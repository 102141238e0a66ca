from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from PIL import Image
from torch import Tensor

from ovgsr.data.detections import DetectedBox, Detections
from ovgsr.data.errors import DataError
from ovgsr.models.checkpoint import CheckpointError
from ovgsr.models.pair_checkpoint import PairCheckpoint
from ovgsr.recognizers.interaction_words import user_interaction_words
from ovgsr.recognizers.pairs import PairRecognizer
from ovgsr.vocabulary import TEXT_TEMPLATES_VERSION

Make = Callable[..., PairCheckpoint]


class SpellingEncoder:
    """Texts by their letters: another text is another vector, and nothing has to be loaded."""

    width, fingerprint = 12, "spelling"

    def __init__(self) -> None:
        self.read: set[str] = set()

    def encode(self, texts: Sequence[str]) -> Tensor:
        self.read.update(texts)
        rows = [
            torch.bincount(torch.tensor([ord(c) % self.width for c in text]), minlength=self.width) for text in texts
        ]
        return torch.nn.functional.normalize(torch.stack(rows).float(), dim=-1)


@pytest.fixture
def recognizer(make_pair_checkpoint: Make) -> PairRecognizer:
    fingerprint = f"spelling;templates-{TEXT_TEMPLATES_VERSION}"
    return PairRecognizer(make_pair_checkpoint(fingerprint=fingerprint, kept=50, nms=None), SpellingEncoder())


PICTURE = Image.effect_noise((60, 40), 80)


def _told(recognizer: PairRecognizer, *offer: object) -> dict[tuple[str, str], float]:
    prediction = recognizer(PICTURE, recognizer.offer(*offer))  # type: ignore[arg-type]
    return {(pair.verb, pair.object): pair.score for pair in reversed(prediction.pairs)}


def test_which_combinations_are_scored(recognizer: PairRecognizer) -> None:
    words = recognizer.checkpoint.vocabulary
    by_default = _told(recognizer)
    assert by_default.keys() == {("ride", "horse"), ("hold", "baseball_bat")}, "what training was offered"
    everything = _told(recognizer, words)
    assert len(everything) == 4
    assert {key: everything[key] for key in by_default} == pytest.approx(by_default), "a mask changes no score"
    assert _told(recognizer, words, [("hold", "horse"), ("eat", "cake")]).keys() == {("hold", "horse")}
    with pytest.raises(CheckpointError, match="no combination of a verb and an object is offered"):
        recognizer.offer(words, [("eat", "cake")])


def test_any_words_may_be_offered(recognizer: PairRecognizer) -> None:
    words = user_interaction_words(recognizer.checkpoint.vocabulary, "juggling, hold, riding", "torch, horse")
    assert [(verb.name, verb.gerund) for verb in words.verbs] == [
        ("juggling", "juggling"), ("hold", "holding"), ("ride", "riding")
    ]  # fmt: skip
    told = _told(recognizer, words)
    assert len(told) == 6
    assert {"someone is juggling.", "torch"} <= recognizer.text_encoder.read  # type: ignore[attr-defined]
    only_verbs = user_interaction_words(recognizer.checkpoint.vocabulary, "sit on", None)
    assert [(verb.name, verb.gerund) for verb in only_verbs.verbs] == [("sit_on", "sitting on")]
    assert only_verbs.nouns == recognizer.checkpoint.vocabulary.nouns
    only_things = user_interaction_words(recognizer.checkpoint.vocabulary, None, "tennis racket")
    assert [(noun.key, noun.text) for noun in only_things.nouns] == [("tennis_racket", "tennis racket")]


def test_boxes_are_in_pixels_of_the_picture(recognizer: PairRecognizer) -> None:
    small, large = recognizer.predict([PICTURE, PICTURE.resize((600, 400))], recognizer.offer(), file_names=["a", "b"])
    assert (small.file_name, small.width, small.height, large.width) == ("a", 60, 40, 600)
    for one in small.pairs + large.pairs:
        for left, top, right, bottom in (one.human_box_xyxy, one.object_box_xyxy):
            assert 0 <= left < right <= 600
            assert 0 <= top < bottom <= 400
    assert max(pair.human_box_xyxy[2] for pair in small.pairs) <= 60
    assert recognizer.predict([], recognizer.offer()) == []


def test_words_of_another_text_encoder_are_refused(make_pair_checkpoint: Make) -> None:
    stranger = PairRecognizer(make_pair_checkpoint(fingerprint="another"), SpellingEncoder())
    with pytest.raises(CheckpointError, match="this checkpoint reads words embedded by 'another'"):
        stranger.offer()


def test_a_detectors_boxes_and_what_the_result_says_of_them(recognizer: PairRecognizer) -> None:
    boxes = (DetectedBox((5.0, 5.0, 20.0, 30.0), "person", 0.9), DetectedBox((10.0, 12.0, 50.0, 35.0), "horse", 0.8))
    offer = recognizer.offer(detections=Detections("DETR-R50", "COCO", {"a.jpg": boxes}))
    (prediction,) = recognizer.predict([PICTURE], offer, file_names=["folder/a.jpg"])
    assert prediction.notices == ("boxes and objects are those of the detector DETR-R50, trained on COCO",)
    told = {(pair.verb, pair.object): pair for pair in prediction.pairs}
    assert told["ride", "horse"].human_box_xyxy == boxes[0].box_xyxy
    assert told["ride", "horse"].object_box_xyxy == boxes[1].box_xyxy
    assert told["hold", "baseball_bat"].score == 0, "the detector saw none"
    with pytest.raises(DataError, match=r"b\.jpg: the detector's file has no line"):
        recognizer.predict([PICTURE], offer, file_names=["b.jpg"])
