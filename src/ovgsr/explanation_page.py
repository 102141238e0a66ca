"""An explanation as one HTML file: the picture, where the model looked, what it weighed, and what it found alike.

Words may be anybody's (vocabularies, rationales, file names): every text is escaped, and characters that would hide or
reorder other text are spelt out. The page needs nothing from elsewhere and runs no script.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from markupsafe import Markup
from PIL import Image, ImageDraw
from torch import Tensor

from ovgsr.captions import caption
from ovgsr.drawing import draw_situation, role_colours
from ovgsr.files import write_atomically, write_bytes_atomically
from ovgsr.noun_phrases import readable_word
from ovgsr.rationale_page import page_template, report_style
from ovgsr.recognizers.explaining import Explanation, ReadoutName, RoleReading, SceneReading, VerbReading
from ovgsr.report import EmbeddedPicture, embed_picture
from ovgsr.situation import BoxXyxy
from ovgsr.teacher.picture_maps import HEAT, attention_map, attention_shares
from ovgsr.vocabulary import Vocabulary

PAGE_BYTES = 3_000_000
"""What all the pictures of a page may take together, before base64 makes it a third more."""
LONGEST_TEXT = 2_000
NEVER = -1e6
"""Log-probabilities below this are of words that a closed-vocabulary model cannot say."""

READOUTS: Mapping[ReadoutName, str] = {"recognition": "Recognition", "distilled": "Distilled"}


@dataclass(frozen=True)
class ExplanationPictures:
    """The pictures of an explanation: the situation drawn, and heat maps by readout and by role."""

    situation: Image.Image
    readouts: Mapping[ReadoutName, Image.Image]
    roles: Mapping[str, Image.Image]

    def by_name(self) -> dict[str, Image.Image]:
        """Each picture under a file name without ending; roles are numbered, for they may be any words."""
        named = {"situation": self.situation}
        named |= {f"scene_{readout}": image for readout, image in self.readouts.items()}
        for number, (role, image) in enumerate(self.roles.items(), start=1):
            named[f"role_{number}_{re.sub(r'[^A-Za-z0-9]+', '_', role)[:40]}"] = image
        return named


@dataclass(frozen=True)
class ExplanationPage:
    """A page. ``image`` is the picture that was explained; ``notes`` are sentences to read first."""

    explanation: Explanation
    image: Image.Image
    pictures: ExplanationPictures
    file_name: str = ""
    model: str = ""
    notes: Sequence[str] = ()
    command: str = ""

    @property
    def readings(self) -> tuple[SceneReading, ...]:
        """The readouts of the scene."""
        return self.explanation.readings


def draw_explanation(explanation: Explanation, image: Image.Image) -> ExplanationPictures:
    """The situation drawn on ``image``, and each look as heat over it; a role's box is drawn on its look."""
    region = _whole(image)
    colours = role_colours(explanation.situation.roles)

    def heat(looks: Tensor) -> Image.Image:
        return attention_map(image, looks, explanation.grid, region)

    def heat_and_box(role: RoleReading) -> Image.Image:
        drawn, box = heat(role.looks), role.answer.box_xyxy
        if box is not None:
            across, down = drawn.width / image.width, drawn.height / image.height
            corners = [box[0] * across, box[1] * down, box[2] * across - 1, box[3] * down - 1]
            corners[2:] = [max(corners[2], corners[0]), max(corners[3], corners[1])]
            pen = ImageDraw.Draw(drawn)
            pen.rectangle(corners, outline=(0, 0, 0), width=5)
            pen.rectangle(corners, outline=colours[role.role], width=3)
        return drawn

    return ExplanationPictures(
        situation=draw_situation(image, explanation.situation, explanation.vocabulary, caption=False),
        readouts={reading.readout: heat(reading.looks) for reading in explanation.readings},
        roles={role.role: heat_and_box(role) for role in explanation.roles},
    )


def write_explanation_page(path: Path, page: ExplanationPage) -> int:
    """Writes the page as UTF-8, atomically; the folder is made where it is missing. Returns its bytes."""
    content = render_explanation_page(page).encode("utf-8", errors="replace")
    write_bytes_atomically(path, content)
    return len(content)


def write_explanation_pictures(folder: Path, pictures: ExplanationPictures) -> list[Path]:
    """Each picture as a PNG in ``folder``, which is made where it is missing; returns their paths."""
    written = []
    for name, image in pictures.by_name().items():
        path = folder / f"{name}.png"
        write_atomically(path, lambda temporary, image=image: image.save(temporary, format="PNG"))  # type: ignore[misc]
        written.append(path)
    return written


def render_explanation_page(page: ExplanationPage) -> str:
    """The page as text."""
    explanation, situation = page.explanation, page.explanation.situation
    best = explanation.verbs[0]
    budget = PAGE_BYTES // (1 + len(page.pictures.readouts) + len(page.pictures.roles))

    def embedded(image: Image.Image) -> EmbeddedPicture:
        found = embed_picture(image, budget)
        return replace(found, address=Markup(found.address))  # no text of anybody's: neither escaped nor cut

    return page_template("explanation.html.j2", LONGEST_TEXT).render(
        page=page,
        explained=explanation,
        sentence=sentence_of(explanation),
        best=best,
        asked=None if best.verb == situation.verb else next(v for v in explanation.verbs if v.verb == situation.verb),
        chance=percent,
        verbs=[_verb_row(verb, situation.verb) for verb in explanation.verbs],
        has_distilled=best.distilled is not None,
        looks=[(READOUTS[r.readout], page.pictures.readouts[r.readout], _shares(page, r.looks)) for r in page.readings],
        roles=[_role_card(role, page) for role in explanation.roles],
        nearest=[(READOUTS[r.readout], _bars(r.nearest_verbs)) for r in page.readings if r.nearest_verbs],
        texts=[(known, cosine(likeness)) for known, likeness in explanation.nearest_texts],
        compared_with=READOUTS.get(explanation.compared_with or "recognition", "").lower(),
        embedded=embedded,
        style=report_style(),
        heat=Markup(", ".join(f"rgb{colour}" for colour in HEAT)),
    )


def sentence_of(explanation: Explanation) -> str:
    """What the explained situation says, as a sentence."""
    said = caption(explanation.situation, explanation.vocabulary)
    return f"{said[:1].upper()}{said[1:]}."


def percent(probability: float) -> str:
    """A probability for people: whole percents, and neither 0 nor 100 of what is only near it."""
    if 0 < probability < 0.01:
        return "under 1 %"
    if 0.99 < probability < 1:
        return "over 99 %"
    return f"{100 * probability:.0f} %"


def cosine(value: float) -> str:
    """Two digits, with a minus sign rather than a hyphen; never a negative zero."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def noun_choices(role: RoleReading, vocabulary: Vocabulary) -> list[tuple[str, float]]:
    """The chosen noun and the next best in words, with their probabilities; meanings of one word are told apart."""
    choices = [(role.answer.noun, role.answer.score or 0.0), *role.next_best]
    words = [readable_word(key, vocabulary) or "nothing" for key, _ in choices]
    told = []
    for word, (key, probability) in zip(words, choices, strict=True):
        if words.count(word) > 1:
            noun = vocabulary.noun(key)
            word = f"{word} ({noun.hypernym or noun.definition or key})"
        told.append((word, probability))
    return told


def looked_at(role: RoleReading, explanation: Explanation, size_wh: tuple[int, int]) -> tuple[float, float] | None:
    """How much of a role's look falls into its box, and of the picture's area, 0..1; None where it has no box."""
    box = role.answer.box_xyxy
    if box is None:
        return None
    region = (0.0, 0.0, float(size_wh[0]), float(size_wh[1]))
    return attention_shares(role.looks, explanation.grid, region, {role.role: box})[role.role]


@dataclass(frozen=True)
class _VerbRow:
    """A verb as it stands in the table. Numbers are ready to read; ``width`` is a bar's, 0..100."""

    verb: str
    rank: int
    chance: str
    width: float
    recognition: str
    distilled: str
    constant: str
    fused: str
    in_training: bool
    chosen: bool


@dataclass(frozen=True)
class _Bar:
    """A word with a number beside it and a bar of ``width`` 0..100."""

    word: str
    number: str
    width: float


@dataclass(frozen=True)
class _RoleCard:
    """A role as it is shown."""

    role: str
    colour: str
    word: str
    image: Image.Image
    bars: tuple[_Bar, ...]
    box: str


def _verb_row(verb: VerbReading, chosen: str) -> _VerbRow:
    return _VerbRow(
        verb.verb,
        verb.rank,
        percent(verb.probability),
        round(100 * verb.probability, 1),
        _log_text(verb.recognition),
        "–" if verb.distilled is None else _log_text(verb.distilled),
        cosine(verb.constant) if verb.constant else "0",
        _log_text(verb.fused),
        verb.in_training,
        verb.verb == chosen,
    )


def _log_text(value: float) -> str:
    return "never" if value < NEVER else cosine(value + 0.0)


def _role_card(role: RoleReading, page: ExplanationPage) -> _RoleCard:
    explanation, answer = page.explanation, role.answer
    bars = tuple(
        _Bar(word, percent(value), round(100 * value, 1)) for word, value in noun_choices(role, explanation.vocabulary)
    )
    shares = looked_at(role, explanation, page.image.size)
    sure = f"the model is {percent(answer.grounded_score or 0.0)} sure that this can be seen"
    if shares is not None:
        looked, area = (percent(share) for share in shares)
        box = f"Box drawn: {sure}. Of the look, {looked} falls into it, on {area} of the area."
    elif answer.noun:
        box = f"No box: {sure}."
    else:
        box = "No box, since nothing fills this role."
    colour = role_colours(explanation.situation.roles)[role.role]
    return _RoleCard(role.role, f"rgb{colour}", bars[0].word, page.pictures.roles[role.role], bars, box)


def _bars(nearest: Sequence[tuple[str, float]]) -> tuple[_Bar, ...]:
    return tuple(_Bar(word, cosine(value), round(100 * max(value, 0.0), 1)) for word, value in nearest)


def _shares(page: ExplanationPage, looks: Tensor) -> str:
    """How much of a look falls into the box of each role, as a sentence."""
    boxes = {role: noun.box_xyxy for role, noun in page.explanation.situation.nouns.items() if noun.box_xyxy}
    shares = attention_shares(looks, page.explanation.grid, _whole(page.image), boxes)
    said = "; ".join(f"{role}: {percent(look)} on {percent(area)} of the area" for role, (look, area) in shares.items())
    return f"Of this look, in the boxes: {said}." if said else ""


def _whole(image: Image.Image) -> BoxXyxy:
    """The student is shown the whole picture, squashed to a square."""
    return 0.0, 0.0, float(image.width), float(image.height)
