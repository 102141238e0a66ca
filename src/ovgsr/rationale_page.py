"""Rationales as one HTML file on which a person can judge them, and where the teacher looks.

Annotations and an LLM's replies are hostile input: every text on the page is escaped, and characters that would hide or
reorder other text are spelt out. The page needs nothing from elsewhere and runs no script.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from itertools import chain, zip_longest
from pathlib import Path

import jinja2
from markupsafe import Markup
from PIL import Image

from ovgsr.captions import caption
from ovgsr.drawing import AGENT_COLOUR, draw_situation, role_colours
from ovgsr.files import write_bytes_atomically
from ovgsr.inflections import inflected_forms
from ovgsr.noun_phrases import readable_word
from ovgsr.report import EmbeddedPicture, embed_picture, format_cell
from ovgsr.situation import EMPTY_NOUN, AnnotatedImage, GroundedNoun, Situation
from ovgsr.teacher.jrg.facts import grammatical_numbers
from ovgsr.teacher.jrg.rationales import Gaze, Glimpse, Negative, PictureRationales
from ovgsr.teacher.jrg.store import Quarantined, StoreIdentity
from ovgsr.teacher.picture_maps import HEAT
from ovgsr.teacher.picture_view import TeacherView
from ovgsr.vocabulary import Vocabulary

PAGE_BYTES = 8_000_000
"""What all the pictures of a page may take together, before base64 makes it a third more."""
MOST_PICTURE_BYTES, FEWEST_PICTURE_BYTES = 70_000, 12_000
LONGEST_TEXT = 5_000
"""Characters of one text that are shown; no rationale and no kept reply comes near it, a damaged store may."""

NO_LLM = "These rationales were written by rules from the annotation, not by a language model"
_ODD = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories of characters that are no visible text: controls, bidirectional marks, halves of characters."""
_PLAIN_TEXT = re.compile(r"[\x20-\x7e]*")


@dataclass(frozen=True)
class PageEntry:
    """One picture: its annotation, and either its rationales or why it has none."""

    annotated: AnnotatedImage
    image: Image.Image | None
    rationales: PictureRationales | None = None
    quarantined: Quarantined | None = None
    view: TeacherView | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RationalePage:
    """A page. ``facts`` are counts to see first, ``reasons`` the quarantined pictures by reason code."""

    identity: StoreIdentity
    vocabulary: Vocabulary
    entries: Sequence[PageEntry]
    facts: Sequence[tuple[str, int]] = ()
    reasons: Mapping[str, int] | None = None
    notes: Sequence[str] = ()
    command: str = ""


def spread_over_verbs(images: Iterable[AnnotatedImage], count: int, seed: int) -> list[AnnotatedImage]:
    """``count`` pictures, every verb's first one before any verb's second; the same for any order of ``images``."""

    def drawn(name: str) -> bytes:
        return hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogatepass")).digest()

    by_verb: dict[str, list[AnnotatedImage]] = {}
    for image in sorted(images, key=lambda image: drawn(image.file_name)):
        by_verb.setdefault(image.situation.verb, []).append(image)
    rounds = zip_longest(*(by_verb[verb] for verb in sorted(by_verb, key=drawn)))
    return [image for image in chain.from_iterable(rounds) if image is not None][:count]


def on_picture(annotated: AnnotatedImage, image: Image.Image) -> Situation:
    """The annotated situation with its boxes in pixels of ``image``, which may be a copy of another size."""
    across, down = image.width / annotated.width, image.height / annotated.height

    def moved(noun: GroundedNoun) -> GroundedNoun:
        if noun.box_xyxy is None:
            return noun
        left, top, right, bottom = noun.box_xyxy
        return replace(noun, box_xyxy=(left * across, top * down, right * across, bottom * down))

    situation = annotated.situation
    return replace(situation, nouns={role: moved(noun) for role, noun in situation.nouns.items()})


def write_rationale_page(path: Path, page: RationalePage) -> int:
    """Writes the page as UTF-8, atomically; the folder is made where it is missing. Returns its bytes."""
    content = render_rationale_page(page).encode("utf-8", errors="replace")
    write_bytes_atomically(path, content)
    return len(content)


def render_rationale_page(page: RationalePage) -> str:
    """The page as text."""
    pictures = sum(len(entry.view.maps) if entry.view else 0 for entry in page.entries) + len(page.entries)
    budget = min(MOST_PICTURE_BYTES, max(FEWEST_PICTURE_BYTES, PAGE_BYTES // max(pictures, 1)))

    def embedded(image: Image.Image) -> EmbeddedPicture:
        found = embed_picture(image, budget)
        return replace(found, address=Markup(found.address))  # no text of anybody's: neither escaped nor cut

    return page_template("rationales.html.j2").render(
        page=page,
        articles=[_article(entry, page.vocabulary) for entry in page.entries],
        number=format_cell,
        embedded=embedded,
        style=report_style(),
        heat=Markup(", ".join(f"rgb{colour}" for colour in HEAT)),
        no_llm=NO_LLM if page.identity.is_llm is not True else "",
    )


@cache
def page_template(name: str, longest_text: int = LONGEST_TEXT) -> jinja2.Template:
    """A page's template, in which every text is escaped, made visible and cut to ``longest_text`` characters."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(_short(value, longest_text)) if type(value) is str else value,
    )
    return environment.from_string(_file(name))


@cache
def report_style() -> Markup:
    """The style sheet of the reports, so that the pages look alike."""
    return Markup(_file("report.html.j2").partition("<style>")[2].partition("</style>")[0])


def _file(name: str) -> str:
    return (resources.files("ovgsr") / "templates" / name).read_text(encoding="utf-8")


def visible(text: str) -> str:
    """The text with every character that is invisible, or reorders its neighbours, spelt out as ⟨U+202E⟩."""
    if _PLAIN_TEXT.fullmatch(text):
        return text
    return "".join(
        f"⟨U+{ord(character):04X}⟩"
        if unicodedata.category(character) in _ODD and character not in "\n\t"
        else character
        for character in text
    )


Marked = tuple[tuple[str, bool], ...]
"""A text in pieces; the marked ones are what is wrong in it."""


@dataclass(frozen=True)
class _Judged:
    """A negative as it is shown."""

    label: str
    wrong: str
    pieces: Marked


@dataclass(frozen=True)
class _ShownGaze:
    """A role: its colour, what fills it, and the judgements about it."""

    role: str
    colour: str
    filler: str
    also: tuple[str, ...]
    positive: str
    negatives: tuple[_Judged, ...]


@dataclass(frozen=True)
class _Article:
    """A page entry laid out."""

    entry: PageEntry
    verb: str
    definition: str
    sentence: str
    drawing: Image.Image | None
    glimpse: str
    negatives: tuple[_Judged, ...]
    gazes: tuple[_ShownGaze, ...]
    empty: tuple[str, ...]
    origin: str
    reply: str


def _article(entry: PageEntry, vocabulary: Vocabulary) -> _Article:
    situation, written = entry.annotated.situation, entry.rationales
    glimpse = written.glimpse if written else Glimpse("")
    gazes = dict(written.gazes) if written else {}
    filled = [role for role, noun in situation.nouns.items() if noun.noun != EMPTY_NOUN]
    listed = [*filled, *(role for role in gazes if role not in filled)]
    drawing = None
    if entry.image is not None:
        drawing = draw_situation(entry.image, on_picture(entry.annotated, entry.image), vocabulary, caption=False)
    return _Article(
        entry,
        situation.verb,
        vocabulary.verb(situation.verb).definition,
        caption(situation, vocabulary),
        drawing,
        glimpse.positive,
        _judged(glimpse.negatives, "judged wrong"),
        tuple(_shown_gaze(role, gazes.get(role, Gaze("")), situation, vocabulary) for role in listed),
        tuple(role for role in situation.roles if role not in listed),
        _origin(written) if written else "",
        entry.quarantined.reply if entry.quarantined else "",
    )


def _shown_gaze(role: str, gaze: Gaze, situation: Situation, vocabulary: Vocabulary) -> _ShownGaze:
    noun = situation.nouns.get(role, GroundedNoun(EMPTY_NOUN))
    word = readable_word(noun.noun, vocabulary)
    others = (readable_word(key, vocabulary) or "nothing" for key in noun.annotators if key != noun.noun)
    colour = role_colours(situation.roles).get(role, AGENT_COLOUR)
    also = tuple(other for other in dict.fromkeys(others) if other != word)
    return _ShownGaze(role, f"rgb{colour}", word or "nothing", also, gaze.positive, _judged(gaze.negatives, "wrong"))


def _judged(negatives: Sequence[Negative], label: str) -> tuple[_Judged, ...]:
    return tuple(
        _Judged(
            label if str(one.kind) == "verb" else f"{label} {one.kind}",
            one.wrong,
            marked(_short(one.text), str(one.kind), one.wrong[:200]),
        )
        for one in negatives
    )


def marked(text: str, kind: str, wrong: str) -> Marked:
    """The text in pieces, with every form of what is ``wrong`` in it marked: inflections, singular and plural."""
    forms = {wrong.replace("_", " ").strip().lower(), *grammatical_numbers(wrong)}
    if kind == "verb" and re.fullmatch(r"[A-Za-z][A-Za-z _-]*", wrong):
        forms |= inflected_forms(wrong)
    patterns = [r"[\s_-]+".join(map(re.escape, form.split())) for form in sorted(forms - {""}, key=len, reverse=True)]
    if kind == "role" and wrong.isalpha():
        patterns.append(r"\s?".join(wrong))  # "agentpart" is said as "agent part"
    if not patterns:
        return ((text, False),)
    pieces = re.split(rf"(?<!\w)({'|'.join(patterns)})(?!\w)", text, flags=re.IGNORECASE)
    return tuple((piece, number % 2 == 1) for number, piece in enumerate(pieces) if piece)


def _origin(written: PictureRationales) -> str:
    made = written.provenance
    author = f"language model {made.model}" if made.is_llm is True else f"{made.model}, no language model"
    tries = f"{made.attempts} attempt{'' if made.attempts == 1 else 's'}"
    return _short(
        f"template {made.template} · {author} · seed {made.seed} · {tries} · prompt {str(made.prompt_sha256)[:12]}"
    )


def _short(text: str, longest: int = LONGEST_TEXT) -> str:
    return text if len(text) <= longest else f"{text[:longest]} … (cut: {len(text)} characters)"


def quarantine_counts(entries: Iterable[Quarantined]) -> dict[str, int]:
    """How many pictures were quarantined for each reason code, the commonest first. A picture may have several."""
    counts: dict[str, int] = {}
    for entry in entries:
        for code in entry.codes:
            counts[code] = counts.get(code, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
