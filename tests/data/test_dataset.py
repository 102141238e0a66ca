from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from ovgsr.data.augment import Augmentation
from ovgsr.data.collate import collate
from ovgsr.data.dataset import SituationDataset
from ovgsr.data.errors import DataError
from ovgsr.data.swig import image_folder, read_annotations, read_vocabulary
from ovgsr.data.targets import encode_all_targets, encode_targets
from ovgsr.models.preprocess import Preprocess, load_image
from ovgsr.situation import AnnotatedImage, GroundedNoun, Situation
from ovgsr.tensors import IGNORE
from ovgsr.vocabulary import Verb

from .conftest import BALL, DOG, MAN, Write

PREPROCESS = Preprocess(8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def _dataset(root: Path, **options: object) -> SituationDataset:
    options = {"vocabulary": read_vocabulary(root)} | options
    images = read_annotations(root, "train")
    return SituationDataset(images, image_folder(root), open_image=load_image, preprocess=PREPROCESS, **options)  # type: ignore[arg-type]


def test_targets_by_hand(write_swig: Write) -> None:
    root = write_swig()
    vocabulary = read_vocabulary(root)
    first, second = read_annotations(root, "train")
    targets = encode_targets(first, vocabulary, max_roles=4)
    assert targets.verb_index.tolist() == [0]
    assert targets.role_mask.tolist() == [[True, True, True, False]]
    man, dog, ball = (vocabulary.answer_index(key) for key in (MAN, DOG, BALL))
    # agent, item, place (the empty answer is 0), padding; three annotators each
    assert targets.noun_index.tolist() == [[[man] * 3, [ball, dog, dog], [0, 0, ball], [IGNORE] * 3]]
    assert targets.grounded.tolist() == [[True, True, False, False]]
    expected = torch.tensor([[0.25, 0.5, 0.5, 1.0], [0.875, 0.5, 0.25, 0.5], [0, 0, 0, 0], [0, 0, 0, 0]])
    torch.testing.assert_close(targets.boxes_cxcywh[0], expected)  # of [0,0,20,20] and [30,5,40,15] in 40 x 20
    both = encode_all_targets([first, second], vocabulary, max_roles=3)
    assert both.verb_index.tolist() == [0, 1]
    assert both.role_mask[1].tolist() == [True, False, False]


def _image(verb: str, **nouns: GroundedNoun) -> AnnotatedImage:
    return AnnotatedImage("x.jpg", 40, 20, (Situation(verb, nouns),))


BOXES = [
    # written, grounded, cx cy w h
    ((-1.0, -1.0, -1.0, 5.0), False, (0, 0, 0, 0)),  # empty once clamped to the picture
    ((10.0, -1.0, 30.0, 10.0), True, (0.5, 0.25, 0.5, 0.5)),  # a -1 is clamped to 0
    ((10.0, 0.0, 50.0, 20.0), True, (0.625, 0.5, 0.75, 1.0)),  # past the right edge
    ((20.0, 5.0, 10.0, 15.0), False, (0, 0, 0, 0)),  # inverted
    ((0.0, 0.0, 40.0, 20.0), True, (0.5, 0.5, 1.0, 1.0)),  # the whole picture
]


@pytest.mark.parametrize(("box", "grounded", "expected"), BOXES)
def test_target_boxes(
    write_swig: Write, box: tuple[float, float, float, float], grounded: bool, expected: tuple[float, ...]
) -> None:
    vocabulary = read_vocabulary(write_swig())
    targets = encode_targets(_image("barking", agent=GroundedNoun(DOG, box)), vocabulary, 1)
    assert targets.grounded.tolist() == [[grounded]]
    torch.testing.assert_close(targets.boxes_cxcywh[0, 0], torch.tensor(expected, dtype=torch.float32))


def test_targets_follow_the_vocabulary_and_say_what_does_not_fit(write_swig: Write) -> None:
    vocabulary = read_vocabulary(write_swig())
    dog = GroundedNoun(DOG, annotators=(DOG, "n99999999", ""))
    # Roles in another order than the frame's; one annotator's noun is outside the vocabulary.
    image = _image("throwing", item=dog, place=GroundedNoun(""), agent=GroundedNoun(MAN))
    targets = encode_targets(image, vocabulary, 3)
    index = vocabulary.answer_index(DOG)
    assert targets.noun_index[0, 1].tolist() == [index, IGNORE, 0]
    assert targets.noun_index[0, 0].tolist() == [vocabulary.answer_index(MAN), IGNORE, IGNORE]  # fewer annotators
    with pytest.raises(DataError, match=r"x\.jpg: the verb 'flying' is not in the vocabulary"):
        encode_targets(_image("flying", agent=dog), vocabulary, 3)
    with pytest.raises(DataError, match=r"x\.jpg: the roles of 'barking' are item in the annotation and agent"):
        encode_targets(_image("barking", item=dog), vocabulary, 3)
    with pytest.raises(DataError, match=r"x\.jpg: 'throwing' has 3 roles, more than 2"):
        encode_targets(image, vocabulary, 2)
    bare = replace(vocabulary, verbs=(Verb("barking"),))
    with pytest.raises(DataError, match="unknown in the vocabulary"):
        encode_targets(_image("barking", agent=dog), bare, 3)


def test_examples_and_batches(write_swig: Write) -> None:
    dataset = _dataset(write_swig())
    assert len(dataset) == 2
    batch = collate([dataset[0], dataset[1]])
    assert batch.pixels.shape == (2, 3, 8, 8)
    # The fixture's colour of the first picture, (20, 100, 50), within JPEG's error.
    torch.testing.assert_close(batch.pixels[0, :, 4, 4] * 255, torch.tensor([20.0, 100.0, 50.0]), atol=4, rtol=0)
    assert batch.sizes_wh.tolist() == [[40, 20], [40, 20]]
    assert batch.indices.tolist() == [0, 1]
    assert batch.targets is not None
    assert batch.targets.verb_index.tolist() == [0, 1]
    assert batch.targets.role_mask.tolist() == [[True, True, True], [True, False, False]]
    assert dataset[-1].index == 1
    with pytest.raises(IndexError):
        dataset[2]


def test_batches_of_other_paddings_and_without_targets(write_swig: Write) -> None:
    root = write_swig()
    short, long = _dataset(root), _dataset(root, max_roles=5)
    batch = collate([short[1], long[0]])
    assert batch.targets is not None
    assert batch.targets.role_mask.tolist() == [[True] + [False] * 4, [True] * 3 + [False] * 2]
    assert batch.targets.noun_index[0, 3].tolist() == [IGNORE] * 3
    assert batch.targets.boxes_cxcywh.shape == (2, 5, 4)
    untargeted = _dataset(root, vocabulary=None)
    assert collate([untargeted[0]]).targets is None
    with pytest.raises(ValueError, match="some have none"):
        collate([untargeted[0], short[0]])


def test_a_new_epoch_reaches_persistent_workers(write_swig: Write) -> None:
    dataset = _dataset(write_swig(), augmentation=Augmentation(brightness=0.5), seed=1)
    loader = DataLoader(
        dataset,
        batch_size=2,
        num_workers=1,
        persistent_workers=True,
        collate_fn=collate,
        multiprocessing_context="fork",
    )
    for epoch in (0, 1, 0):
        dataset.set_epoch(epoch)
        (batch,) = list(loader)
        assert torch.equal(batch.pixels, collate([dataset[0], dataset[1]]).pixels)
    first = dataset[0].pixels
    dataset.set_epoch(1)
    assert not torch.equal(dataset[0].pixels, first)


def test_augmented_boxes_reach_the_targets(write_swig: Write) -> None:
    only_flip = Augmentation(1.0, (1.0, 1.0), 0.0, 0.5, 0.0, 0.0, 0.0)
    root = write_swig()
    targets = _dataset(root, augmentation=only_flip)[0].targets
    assert targets is not None
    torch.testing.assert_close(targets.boxes_cxcywh[0, 0], torch.tensor([0.75, 0.5, 0.5, 1.0]))  # was cx 0.25
    assert targets.boxes_cxcywh[0, 2].tolist() == [0, 0, 0, 0]
    plain = _dataset(root)[0].targets
    assert plain is not None
    assert torch.equal(targets.grounded, plain.grounded)


def test_the_picture_cache_keeps_to_its_budget(write_swig: Write) -> None:
    root = write_swig()
    opened: list[str] = []

    def open_image(path: Path) -> Image.Image:
        opened.append(path.name)
        return load_image(path)

    # One picture of 40 x 20 x 3 = 2,400 bytes fits, the second does not.
    dataset = _dataset(root, cache_images=4000)
    dataset._open_image = open_image
    first = [dataset[0], dataset[1]]
    again = [dataset[0], dataset[1]]
    assert opened == ["throwing_1.jpg", "barking_1.jpg", "barking_1.jpg"]
    for before, after in zip(first, again, strict=True):
        assert torch.equal(before.pixels, after.pixels)


def test_a_bad_picture_is_named(write_swig: Write) -> None:
    root = write_swig()
    path = root / "images_512" / "barking_1.jpg"
    path.write_bytes(path.read_bytes()[:100])
    dataset = _dataset(root)
    with pytest.raises(DataError, match=r"barking_1\.jpg.*picture 1 of the data set"):
        dataset[1]
    path.unlink()
    with pytest.raises(DataError, match=r"barking_1\.jpg: there is no such file"):
        dataset[1]
