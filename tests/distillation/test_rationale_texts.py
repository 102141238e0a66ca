"""Rationales as embeddings: which texts, centred how, in whose row; and that a claim never tells the truth."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ovgsr.distillation.rationale_data import RationaleData, write_template_rationales
from ovgsr.distillation.rationale_texts import RationaleTexts
from ovgsr.losses.alignment import NO_RATIONALE
from ovgsr.situation import AnnotatedImage, GroundedNoun, Situation
from ovgsr.teacher.jrg.rationales import Gaze, Glimpse, Negative, PictureRationales, Provenance
from ovgsr.vocabulary import Noun, Verb, Vocabulary

WIDTH = 5


class Hashing:
    """Another text, another vector."""

    width, fingerprint = WIDTH, "hashing"

    def encode(self, texts: Sequence[str]) -> Tensor:
        return torch.stack([self.one(text) for text in texts])

    @staticmethod
    def one(text: str) -> Tensor:
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        return torch.randn(WIDTH, generator=torch.Generator().manual_seed(seed))


WORDS = Vocabulary(
    verbs=(
        Verb("throwing", ("agent", "item"), "to send something through the air"),
        Verb("cutting", ("agent", "item", "tool")),
        Verb("barking", ("agent",)),
    ),
    nouns=(Noun("n1", ("man",)), Noun("n2", ("dog",)), Noun("n3", ("ball",))),
)
PROVENANCE = Provenance("t", "m", False, 0, "")


def _image(name: str, verb: str, **nouns: str) -> AnnotatedImage:
    return AnnotatedImage(name, 10, 10, (Situation(verb, {r: GroundedNoun(n) for r, n in nouns.items()}),))


def _written(name: str, verb: str, glimpse: Glimpse, **gazes: Gaze) -> PictureRationales:
    return PictureRationales(name, "", verb, glimpse, gazes, PROVENANCE)


IMAGES = (
    # The annotation's order of roles is another than the frame's.
    _image("a.jpg", "throwing", item="n3", agent="n1"),
    _image("b.jpg", "cutting", agent="n9", item="n3", tool=""),
    _image("c.jpg", "barking", agent="n2"),
    _image("d.jpg", "throwing", agent="n1", item=""),
)
WRITTEN = {
    "a.jpg": _written(
        "a.jpg",
        "throwing",
        Glimpse("a flies", (Negative("verb", "cutting", "not cutting"), Negative("verb", "swimming", "not swimming"))),
        item=Gaze(
            "the ball flies", (Negative("filler", "a dog", "no dog"), Negative("place", "on the left", "no left"))
        ),
        agent=Gaze("the man throws", (Negative("role", "item", "he is no item"),)),
    ),
    "b.jpg": _written(
        "b.jpg", "cutting", Glimpse("b is cut"), item=Gaze("a thing is cut"), agent=Gaze("somebody cuts")
    ),
    "d.jpg": _written("d.jpg", "throwing", Glimpse("d flies"), agent=Gaze("the man throws")),
}


def _texts(negatives: str = "claim") -> RationaleTexts:
    return RationaleTexts(IMAGES, WRITTEN, WORDS, Hashing(), negatives=negatives)  # type: ignore[arg-type]


POSITIVES = {"a flies", "the ball flies", "the man throws", "b is cut", "a thing is cut", "somebody cuts", "d flies"}
NEGATIVES = [
    (
        "claim",
        {
            "someone is cutting. it involves agent, item, tool.",  # of swimming, which is no verb here, nothing is said
            "The item of throwing is a dog.",
            "The item of throwing is on the left in the picture.",
            "It is the item of throwing.",
        },
    ),
    ("rationale", {"not cutting", "not swimming", "no dog", "no left", "he is no item"}),
    ("none", set()),
]


@pytest.mark.parametrize(("form", "negatives"), NEGATIVES)
def test_which_texts_are_embedded(form: str, negatives: set[str]) -> None:
    texts = _texts(form)
    assert set(texts.texts) == POSITIVES | negatives
    assert len(texts.texts) == len(set(texts.texts)), "one of a kind"
    assert len(texts) == 3, "pictures that have rationales"


def test_positives_and_negatives_are_centred_each_by_their_own_mean() -> None:
    texts, (_, negatives) = _texts(), NEGATIVES[0]
    for part in (POSITIVES, negatives):
        rows = torch.tensor([texts.texts.index(text) for text in sorted(part)])
        raw = Hashing().encode(sorted(part))
        torch.testing.assert_close(texts.embeddings[rows], raw - raw.mean(dim=0))


def _row(texts: RationaleTexts, text: str) -> Tensor:
    return texts.embeddings[texts.texts.index(text)]


def test_glimpses_row_by_row_and_a_missing_one_counts_for_nothing() -> None:
    texts, readings = _texts(), torch.randn(3, WIDTH)
    found = texts.glimpses([2, 0, 1], readings)
    assert found.readings is readings
    assert found.groups.tolist() == [NO_RATIONALE, 0, 1]
    assert not found.positives[0].any()
    torch.testing.assert_close(found.positives[1], _row(texts, "a flies"))
    torch.testing.assert_close(found.positives[2], _row(texts, "b is cut"))
    assert found.negative_mask.tolist() == [[False], [True], [False]]
    torch.testing.assert_close(found.negatives[1, 0], _row(texts, "someone is cutting. it involves agent, item, tool."))
    nobody = texts.glimpses([2], readings[:1])
    assert nobody.groups.tolist() == [NO_RATIONALE]
    assert nobody.negatives.shape == (1, 0, WIDTH)


def test_gazes_are_rows_in_frame_order_and_their_places_agree() -> None:
    texts = _texts()
    indices = [1, 2, 0, 3]
    readings = torch.arange(4 * 3 * WIDTH, dtype=torch.float32).reshape(4, 3, WIDTH)
    found = texts.gazes(indices, readings)
    # b: agent, item (no tool); c: none; a: agent, item; d: agent
    assert found.pictures.tolist() == [0, 0, 2, 2, 3]
    assert texts.places(indices).tolist() == [0, 1, 0, 1, 0]
    for row, (picture, place) in enumerate(zip(found.pictures, texts.places(indices), strict=True)):
        assert torch.equal(found.readings[row], readings[picture, place])
    written = ["somebody cuts", "a thing is cut", "the man throws", "the ball flies", "the man throws"]
    torch.testing.assert_close(found.positives, torch.stack([_row(texts, text) for text in written]))
    man, ball, unknown = 1, 3, 4  # places among the answers, the empty one first; a filler outside stands apart
    assert found.groups.tolist() == [unknown, ball, man, ball, man]
    agent, item = 0, 1  # of the sorted roles
    assert found.role_types.tolist() == [agent, item, agent, item, agent]
    assert found.negative_mask.tolist() == [[False] * 2, [False] * 2, [True, False], [True, True], [False] * 2]
    torch.testing.assert_close(found.negatives[2, 0], _row(texts, "It is the item of throwing."))
    torch.testing.assert_close(found.negatives[3, 0], _row(texts, "The item of throwing is a dog."))


def test_a_batch_without_gazes_has_no_row() -> None:
    found = _texts().gazes([2], torch.randn(1, 3, WIDTH))
    assert found.readings.shape == (0, WIDTH)
    assert len(found.groups) == len(found.pictures) == 0
    assert _texts().places([2]).tolist() == []


def test_no_rationale_at_all() -> None:
    texts = RationaleTexts(IMAGES, {}, WORDS, Hashing())
    assert (len(texts), texts.texts, texts.embeddings.shape) == (0, (), (0, WIDTH))
    assert texts.glimpses([0, 1], torch.zeros(2, WIDTH)).groups.tolist() == [NO_RATIONALE] * 2


def test_the_template_writers_claims_never_tell_the_truth(sketch_root: Path, tmp_path: Path) -> None:
    """Over a whole data set: a wrong verb's sentence does not name the verb, a wrong filler's not what fills the role.

    A judgement as it was written does: that is why claims are said instead.
    """
    data = RationaleData.read(sketch_root)
    written = write_template_rationales(tmp_path / "rationales", data).read(data.images)
    words = {noun.key: noun.words for noun in data.vocabulary.nouns}
    claims = told = 0
    for image in data.images:
        if image.file_name not in written:
            continue
        verb, own = image.situation.verb, written[image.file_name]
        for text in _negatives_of([image], own, data.vocabulary, glimpse=True):
            assert not re.search(rf"\b{verb}\b", text, re.IGNORECASE), (verb, text)
            claims += 1
        told += sum(re.search(rf"\b{verb}\b", n.text) is not None for n in own.glimpse.negatives)
        for role, gaze in own.gazes.items():
            fillers = {word for key in image.situation.nouns[role].accepted for word in words.get(key, ())}
            for text in _negatives_of([image], own, data.vocabulary, role=role):
                assert text not in (gaze.positive, own.glimpse.positive)
                named = [w for w in fillers if re.search(rf"\bis (an? )?{re.escape(w)}\.", text, re.IGNORECASE)]
                assert not named, (role, text)
                assert f"It is the {role} of" not in text
                claims += 1
    assert claims > 200
    assert told > 30


def _negatives_of(
    images: Sequence[AnnotatedImage],
    own: PictureRationales,
    vocabulary: Vocabulary,
    *,
    glimpse: bool = False,
    role: str = "",
) -> list[str]:
    """The negative texts of one judgement alone."""
    positive = own.glimpse.positive if glimpse else own.gazes[role].positive
    part = PictureRationales(
        own.file_name,
        own.annotation_sha256,
        own.verb,
        own.glimpse if glimpse else Glimpse(positive),
        {} if glimpse else {role: own.gazes[role]},
        own.provenance,
    )
    texts = RationaleTexts(images, {own.file_name: part}, vocabulary, Hashing())
    return [text for text in texts.texts if text != positive]
