from __future__ import annotations

import numpy as np
from PIL import Image

from ovgsr.hoi_vocabulary import hico_det_vocabulary
from ovgsr.interactions import ScoredPair
from ovgsr.pair_drawing import draw_pairs, found_pairs

PERSON, BICYCLE, DOG = (10.0, 10.0, 60.0, 150.0), (40.0, 80.0, 140.0, 160.0), (200.0, 100.0, 260.0, 150.0)
WORDS = hico_det_vocabulary()
PAIRS = [
    ScoredPair(PERSON, BICYCLE, "ride", "bicycle", 0.9),
    ScoredPair(PERSON, DOG, "walk", "dog", 0.8),
    ScoredPair(PERSON, DOG, "no_interaction", "dog", 0.7),
    ScoredPair(PERSON, BICYCLE, "sit_on", "bicycle", 0.6),
    ScoredPair(PERSON, BICYCLE, "wash", "bicycle", 0.1),
]


def test_what_is_told_of_a_prediction() -> None:
    found = found_pairs(PAIRS)
    assert [pair.phrase(WORDS) for pair in found] == [
        "riding and sitting on a bicycle (90, 60 %)", "walking a dog (80 %)"
    ]  # fmt: skip
    assert len(found_pairs(PAIRS, most=1)) == 1
    assert found_pairs(PAIRS, least=0.95) == []
    stranger = found_pairs([ScoredPair(PERSON, DOG, "juggle", "burning_torch", 0.5)])
    assert stranger[0].phrase(WORDS) == "juggle a burning torch (50 %)"


def test_lines_join_people_and_objects() -> None:
    blank = Image.new("RGB", (320, 240), (255, 255, 255))
    drawn = draw_pairs(blank, found_pairs(PAIRS), WORDS)
    assert drawn.width == 640
    scale = 2
    assert drawn.height > 240 * scale, "a strip below the picture"
    pixels = np.asarray(drawn.convert("RGB")).astype(int)
    for thing, colour in ((BICYCLE, (86, 180, 233)), (DOG, (0, 158, 115))):
        middle = [scale * (PERSON[i] + PERSON[i + 2] + thing[i] + thing[i + 2]) / 4 for i in (0, 1)]
        x, y = round(middle[0]), round(middle[1])
        around = pixels[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3)
        assert (abs(around - np.array(colour)).sum(axis=1) == 0).any(), "the line crosses the middle between both"
    assert draw_pairs(blank, [], WORDS, notice="A notice.").height > 240 * scale


def test_boxes_outside_the_picture_are_listed_only() -> None:
    outside = (900.0, 900.0, 950.0, 950.0)
    drawn = draw_pairs(
        Image.new("RGB", (320, 240)), found_pairs([ScoredPair(PERSON, outside, "ride", "bicycle", 0.9)]), WORDS
    )
    assert not np.asarray(drawn)[: 240 * 2].any()
