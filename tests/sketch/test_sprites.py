"""The catalogue, the sprites and the places of SketchSWiG."""

from __future__ import annotations

import hashlib
import itertools
import random

import pytest
from PIL import Image, ImageChops, ImageStat

from ovgsr.sketch.places import PLACES, draw_place
from ovgsr.sketch.sprites import EFFECTS, LONGEST_SIDE, head_id, parse_sheet, sheets, sprite, sprite_id
from ovgsr.sketch.things import SYNSET_FORM, UNSEEN_NOUNS, Thing, named, nouns, things
from ovgsr.vocabulary import swig_nouns

# Changes only when a drawing or the rasteriser changes; then look at the new sprites and renew it.
ATLAS_SHA256 = "1777337b3b1b0ecde66226bb61d1e7e80effa193ef7bc99a63fd4ae5b391d871"
PLACES_SHA256 = "00795719bfb411c88b07c9d46f875b8b6d0586a354a6a90a546184360ce82a8a"

DRAWABLE = [thing for thing in things().values() if thing.category != "place"]


def _id_of(name: str, category: str) -> str:
    return head_id(name) if category == "person" else sprite_id(name)


def _thumbnail(name: str) -> Image.Image:
    """A sprite in the middle of a grey square, 24 pixels wide: about its size in a picture."""
    drawing = sprite(name)
    square = Image.new("RGBA", (LONGEST_SIDE, LONGEST_SIDE), (128, 128, 128, 255))
    square.alpha_composite(drawing, ((LONGEST_SIDE - drawing.width) // 2, (LONGEST_SIDE - drawing.height) // 2))
    return square.convert("RGB").resize((24, 24), Image.Resampling.BOX)


def _mean_difference(first: Image.Image, second: Image.Image) -> float:
    """Mean absolute difference of all channels, 0 to 255."""
    means = ImageStat.Stat(ImageChops.difference(first, second)).mean
    return sum(means) / len(means)


class TestCatalogue:
    def test_names_and_synsets_are_unique_and_well_formed(self) -> None:
        synsets = [thing.synset for thing in things().values()]
        assert len(synsets) == len(set(synsets))
        for thing in things().values():
            for synset in (thing.synset, thing.synonym, thing.hypernym):
                assert not synset or SYNSET_FORM.fullmatch(synset), (thing.name, synset)
            assert thing.synset not in (thing.synonym, thing.hypernym), thing.name
            assert thing.hypernym, f"{thing.name} needs a broader answer"
            assert 0.15 <= thing.size <= 1.0, thing.name

    def test_world_is_large_enough(self) -> None:
        assert len(things()) >= 150
        assert len(named("place")) == 16
        assert len(named("person")) == 14
        assert len(named("ball", "food")) == len(named("ball")) + len(named("food"))

    def test_unseen_nouns_are_things_that_can_be_drawn(self) -> None:
        assert len(UNSEEN_NOUNS) == 8
        for name in UNSEEN_NOUNS:
            assert things()[name].category not in ("place", "person")

    def test_every_mentioned_synset_has_words_and_a_definition(self) -> None:
        for thing in things().values():
            for synset in filter(None, (thing.synset, thing.synonym, thing.hypernym)):
                noun = nouns()[synset]
                assert noun.words
                assert 3 <= len(noun.definition.split()) <= 9, noun
        definitions = [noun.definition for noun in nouns().values()]
        assert len(definitions) == len(set(definitions)), "two synsets share a definition"

    def test_hypernym_links_stay_in_the_file_and_end(self) -> None:
        for start in nouns().values():
            noun, steps = start, 0
            while noun.hypernym:
                noun, steps = nouns()[noun.hypernym], steps + 1
                assert steps < 20, f"the chain of {start.synset} does not end"

    @pytest.mark.parametrize(
        ("name", "synset", "word"),
        [
            ("dog", "n02084071", "domestic dog"),  # the animal, not the sausage
            ("camera", "n02942699", "photographic camera"),  # not the television camera
            ("bed", "n02818832", "bed"),  # the furniture, not the flower bed
            ("box", "n02883344", "box"),  # the container, not the seat in a theatre
            ("fish", "n02512053", "fish"),  # the animal; its meat is the synonym
        ],
    )
    def test_sense(self, name: str, synset: str, word: str) -> None:
        assert things()[name].synset == synset
        assert word in nouns()[synset].words

    def test_every_synset_is_a_noun_of_swig_with_the_same_words(self) -> None:
        for synset, noun in nouns().items():
            assert swig_nouns()[synset].words == noun.words

    def test_unknown_category_is_named(self) -> None:
        with pytest.raises(KeyError, match="weapon"):
            named("weapon")


class TestSprites:
    @pytest.mark.parametrize("thing", DRAWABLE, ids=lambda thing: thing.name)
    def test_every_thing_has_a_drawing_that_fills_its_frame(self, thing: Thing) -> None:
        drawing = sprite(_id_of(thing.name, thing.category))
        assert drawing.mode == "RGBA"
        assert max(drawing.size) == LONGEST_SIDE
        box_xyxy = drawing.getchannel("A").point([0] * 41 + [255] * 215).getbbox()
        assert box_xyxy is not None
        left, top, right, bottom = box_xyxy
        assert left <= 2 and top <= 2 and drawing.width - right <= 2 and drawing.height - bottom <= 2

    def test_sheets_hold_things_heads_and_effects_and_nothing_else(self) -> None:
        expected = {_id_of(thing.name, thing.category) for thing in DRAWABLE} | set(EFFECTS)
        assert set(sheets()) == expected

    def test_no_two_look_alike_at_24_pixels(self) -> None:
        thumbnails = {name: _thumbnail(name) for name in sheets()}
        closest = min(
            (_mean_difference(thumbnails[first], thumbnails[second]), first, second)
            for first, second in itertools.combinations(thumbnails, 2)
        )
        # 12 of 255 over the whole square is a different silhouette or a different colour of most of the drawing.
        assert closest[0] > 12, closest

    def test_atlas_is_the_same_everywhere(self) -> None:
        digest = hashlib.sha256()
        for name in sorted(sheets()):
            drawing = sprite(name)
            digest.update(f"{name} {drawing.width}x{drawing.height}".encode())
            digest.update(drawing.tobytes())
        assert digest.hexdigest() == ATLAS_SHA256

    def test_stroke_only_shapes_and_nested_groups_are_drawn_where_they_are(self) -> None:
        # The staff of the note ends at y = 4 and its heads at 82 + 12 of 100: higher than wide, and both ends dark.
        note = sprite("note")
        assert note.height == LONGEST_SIDE > note.width
        assert note.getpixel((note.width - 4, 12)) == (43, 36, 48, 255)

    def test_missing_sprite_is_named(self) -> None:
        with pytest.raises(KeyError, match="flying-saucer"):
            sprite("flying saucer")


def _sheet(body: str) -> str:
    cell = f'<g id="x" transform="translate(130 10)">{body}</g>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" stroke="#000">{cell}</svg>'


class TestSheetReader:
    def test_cell_offset_is_dropped_inner_offset_kept_and_style_inherited(self) -> None:
        body = (
            '<g transform="translate(5 6)" fill="#fff"><rect x="1" y="2" width="10" height="20" stroke-width="3"/></g>'
        )
        (shape,) = parse_sheet(_sheet(body), "a.svg")["x"]
        assert list(shape.points) == [(6.0, 8.0), (16.0, 8.0), (16.0, 28.0), (6.0, 28.0)]
        assert (shape.fill, shape.stroke, shape.stroke_width, shape.is_closed) == ("#fff", "#000", 3, True)

    def test_curve_passes_through_its_middle_and_ends_where_it_says(self) -> None:
        (shape,) = parse_sheet(_sheet('<path d="M0 0 Q 10 20 20 0"/>'), "a.svg")["x"]
        # The middle of a quadratic curve is a quarter of each end and half of the control point: (10, 10).
        assert (10.0, 10.0) in shape.points
        assert list(shape.points[-1]) == [20.0, 0.0]
        assert not shape.is_closed

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            (_sheet("<text>hi</text>"), "<text> is not read"),  # a font would differ between machines
            (_sheet('<path d="m0 0 l5 5"/>'), "absolute M L Q C Z"),  # relative commands
            (_sheet('<path d="L5 5"/>'), "absolute M L Q C Z"),  # no starting point
            (_sheet('<g transform="rotate(5)"/>'), "use translate"),  # only shifts
            (_sheet("").replace("</svg>", '<g id="x"/></svg>'), "used twice"),
            ("<!DOCTYPE svg>" + _sheet(""), "document type"),  # entities could expand without end
        ],
    )
    def test_what_is_outside_the_subset_is_refused_by_name(self, text: str, complaint: str) -> None:
        with pytest.raises(ValueError, match=complaint) as caught:
            parse_sheet(text, "a.svg")
        assert "a.svg" in str(caught.value)


class TestPlaces:
    def test_the_catalogue_and_the_drawings_agree(self) -> None:
        assert tuple(PLACES) == named("place")

    @pytest.mark.parametrize("name", PLACES)
    def test_same_seed_same_picture_other_seed_other_picture(self, name: str) -> None:
        first, horizon = draw_place(name, random.Random(7), 96)
        again, horizon_again = draw_place(name, random.Random(7), 96)
        other, _ = draw_place(name, random.Random(8), 96)
        assert (first.mode, first.size) == ("RGB", (96, 96))
        assert first.tobytes() == again.tobytes()
        assert horizon == horizon_again
        assert first.tobytes() != other.tobytes()

    @pytest.mark.parametrize("name", PLACES)
    def test_horizon_leaves_room_above_and_below(self, name: str) -> None:
        for seed in range(20):
            _, horizon = draw_place(name, random.Random(seed), 192)
            assert 0.49 * 192 <= horizon <= 0.68 * 192

    def test_places_differ_more_from_each_other_than_from_themselves(self) -> None:
        pictures = {name: [draw_place(name, random.Random(seed), 48)[0] for seed in range(4)] for name in PLACES}
        for name, own in pictures.items():
            within = sum(_mean_difference(a, b) for a, b in itertools.combinations(own, 2)) / 6
            across = [
                _mean_difference(a, b)
                for other, theirs in pictures.items()
                if other != name
                for a, b in zip(own, theirs, strict=True)
            ]
            assert within < sum(across) / len(across), name

    def test_places_are_the_same_everywhere(self) -> None:
        digest = hashlib.sha256()
        for name in PLACES:
            digest.update(draw_place(name, random.Random(0), 192)[0].tobytes())
        assert digest.hexdigest() == PLACES_SHA256

    def test_unknown_place_is_named(self) -> None:
        with pytest.raises(KeyError, match="moon"):
            draw_place("moon", random.Random(0), 96)
