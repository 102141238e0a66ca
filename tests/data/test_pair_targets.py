from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from ovgsr.data.augment import Augmentation
from ovgsr.data.collate import collate
from ovgsr.data.dataset import SituationDataset
from ovgsr.data.hoi_rows import interaction_situation
from ovgsr.data.pair_targets import AllPairs
from ovgsr.situation import AnnotatedImage
from ovgsr.vocabulary import Noun, Verb, Vocabulary, VocabularyError

WORDS = Vocabulary((Verb("hold"), Verb("ride")), (Noun("horse", ("horse",)), Noun("ball", ("ball",))))
PERSON, HORSE, BALL = (10.0, 0.0, 30.0, 40.0), (0.0, 20.0, 60.0, 50.0), (40.0, 10.0, 44.0, 14.0)
TWO_PAIRS = AnnotatedImage(
    "a.png",
    80,
    50,
    (
        interaction_situation("ride", "horse", PERSON, HORSE),
        interaction_situation("hold", "ball", PERSON, BALL),
        interaction_situation("hold", "horse", (12.0, 0.0, 30.0, 40.0), HORSE),
    ),
)
ONE_PAIR = AnnotatedImage("b.png", 80, 50, (interaction_situation("ride", "horse", PERSON, (-9.0, 20.0, 60.0, 90.0)),))


def _no_change(image: Image.Image) -> Tensor:
    return torch.zeros(3, 4, 4)


def _dataset(folder: Path, augmentation: Augmentation | None = None) -> SituationDataset:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (80, 50)).save(folder / name)
    return SituationDataset(
        [TWO_PAIRS, ONE_PAIR],
        folder,
        open_image=Image.open,
        preprocess=_no_change,
        pairs=AllPairs([TWO_PAIRS, ONE_PAIR], WORDS),
        augmentation=augmentation,
    )


def test_rows_of_one_pair_become_one_target_with_several_verbs() -> None:
    pairs = AllPairs([TWO_PAIRS], WORDS)[0]
    assert pairs.mask.tolist() == [[True, True]]
    assert pairs.object_index.tolist() == [[1, 2]], "answers, of which the first is none"
    assert pairs.verbs.tolist() == [[[True, True], [True, False]]]
    human, horse = pairs.boxes_cxcywh[0, 0]
    torch.testing.assert_close(human, torch.tensor([20.5 / 80, 0.4, 19 / 80, 0.8]))  # the mean of both rows' boxes
    torch.testing.assert_close(horse, torch.tensor([30 / 80, 0.7, 60 / 80, 0.6]))


def test_a_box_is_cut_off_at_the_picture_and_one_outside_takes_its_pair_along() -> None:
    ((_, horse),) = AllPairs([ONE_PAIR], WORDS)[0].boxes_cxcywh[0]
    torch.testing.assert_close(horse, torch.tensor([30 / 80, 0.7, 60 / 80, 0.6]))
    outside = AnnotatedImage("c.png", 80, 50, (interaction_situation("ride", "horse", PERSON, (90.0, 0.0, 95.0, 9.0)),))
    assert AllPairs([outside], WORDS)[0].mask.shape == (1, 0)


def test_a_word_outside_the_vocabulary_is_named() -> None:
    with pytest.raises(VocabularyError, match="'ride' is not in the vocabulary"):
        AllPairs([TWO_PAIRS], WORDS.with_verbs(["hold"]))[0]
    with pytest.raises(VocabularyError, match="'ball' is not in the vocabulary"):
        AllPairs([TWO_PAIRS], WORDS.with_nouns(WORDS.nouns[:1]))[0]


def test_a_batch_is_padded_to_the_picture_with_most_pairs(tmp_path: Path) -> None:
    dataset = _dataset(tmp_path)
    batch = collate([dataset[1], dataset[0]])
    assert batch.targets is None
    assert batch.pairs is not None
    assert batch.pairs.mask.tolist() == [[True, False], [True, True]]
    assert batch.pairs.boxes_cxcywh.shape == (2, 2, 2, 4)
    assert batch.pairs.verbs.shape == (2, 2, 2)
    assert batch.pairs.object_index.tolist() == [[1, 0], [1, 2]]
    torch.testing.assert_close(batch.pairs.boxes_cxcywh[1], AllPairs([TWO_PAIRS], WORDS)[0].boxes_cxcywh[0])


def test_boxes_follow_a_mirrored_picture(tmp_path: Path) -> None:
    still = {"scale": (1.0, 1.0), "translate": 0.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0}
    mirrored = _dataset(tmp_path, Augmentation(flip=1.0, **still))[0].targets  # type: ignore[arg-type]
    assert mirrored is not None
    plain = AllPairs([TWO_PAIRS], WORDS)[0]
    torch.testing.assert_close(mirrored.boxes_cxcywh[..., 0], 1 - plain.boxes_cxcywh[..., 0])
    torch.testing.assert_close(mirrored.boxes_cxcywh[..., 1:], plain.boxes_cxcywh[..., 1:])
