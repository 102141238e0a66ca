"""The text around a picture when a multimodal LLM is the recognizer: questions, and sentences with a gap at the end."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ovgsr.captions import PERSON_ROLES, PLACE_ROLE, SUBJECT_ROLES, progressive
from ovgsr.inflections import inflected_forms
from ovgsr.noun_phrases import noun_phrase, place_phrase, readable_word
from ovgsr.recognizers.spoken_boxes import WORDING, BoxFormat
from ovgsr.situation import EMPTY_NOUN
from ovgsr.vocabulary import Verb, Vocabulary

_ARTICLES = frozenset({"a", "an", "the", "some", "any"})
_ROLE_TOKEN = re.compile(r"[A-Z][A-Z0-9]{2,}$")


@dataclass(frozen=True, slots=True)
class Cloze:
    """The beginning of a sentence that a role's filler goes on, and what follows it."""

    start: str
    is_place: bool = False
    """The filler brings its preposition: "in the park"."""
    end: str = ""


def frame_question(verb: Verb, spoken: BoxFormat) -> str:
    """Asks for a verb's frame as JSON, each role with its description, boxes as the model's family says them."""
    field = "bbox_2d" if spoken == "resized_pixels" else "box"
    meaning = f" ({verb.definition.rstrip('.')})" if verb.definition else ""
    roles = "\n".join(f'- "{role}": {_description(verb, role)}' for role in verb.roles)
    shape = ", ".join(f'"{role}": {{"noun": "...", "{field}": [x1, y1, x2, y2]}}' for role in verb.roles)
    return (
        f"The picture shows someone or something {progressive(verb.name)}{meaning}. "
        f"Say who or what fills each of these roles, and where it is in the picture:\n{roles}\n"
        f"Answer with one JSON object and nothing else: {{{shape}}}. "
        f'"noun" is one or two words, or null where nothing fills the role; "{field}" is {WORDING[spoken]}, '
        "or null where it cannot be seen."
    )


def box_question(word: str, spoken: BoxFormat) -> str:
    """Asks where one thing is, in the words of the family: PaliGemma detects, the others are asked."""
    if spoken == "locations":
        return f"detect {word}"
    return (
        f"Where is {_definite(word)} in the picture? Answer with its bounding box {WORDING[spoken]} and nothing else."
    )


def role_cloze(verb: Verb, role: str) -> Cloze:
    """The sentence whose gap a role's filler fills.

    The one who acts begins it ("a cook" + "is cutting"), the place ends it ("someone is cutting" + "in the kitchen").
    For the others the verb's abstract up to the role, with "someone" and "something" for earlier ones: "someone cuts
    something with". Where the abstract does not reach that far: "in this picture of cutting, the tool is".
    """
    if role in SUBJECT_ROLES:
        return Cloze("", end=f" is {progressive(verb.name)}")
    if role == PLACE_ROLE:
        return Cloze(f"someone is {progressive(verb.name)}", is_place=True)
    tokens = re.findall(r"'s?(?=\s)|[^\W_]+(?:[-_][^\W_]+)*|[^\w\s]", verb.abstract)
    position = next((i for i, token in enumerate(tokens) if token == role.upper()), None)
    before = tokens[:position] if position is not None else []
    if inflected_forms(verb.name).intersection(before):
        return Cloze(_said_of(before))
    return plain_cloze(verb, role)


def plain_cloze(verb: Verb, role: str) -> Cloze:
    """The sentence for a role that no abstract shapes."""
    return Cloze(f"in this picture of {progressive(verb.name)}, the {role} is")


def filler(key: str, role: str, cloze: Cloze, vocabulary: Vocabulary) -> str:
    """A noun as it goes into the sentence, with a space before it: " a knife", " in the park"; " nothing" for none."""
    if key == EMPTY_NOUN:
        return f" {'no one' if role in PERSON_ROLES else 'nothing'}{cloze.end}"
    word = readable_word(key, vocabulary)
    if cloze.is_place:  # known to both who speak: "in the park", where an annotation's caption has "in a park"
        return re.sub(r"^ (\w+) an? ", r" \1 the ", f" {place_phrase(word)}")
    return f" {noun_phrase(word)}{cloze.end}"


def _description(verb: Verb, role: str) -> str:
    return verb.role_text(role).removeprefix(f"{role}: ")


def _definite(word: str) -> str:
    phrase = noun_phrase(word)
    return f"the {word}" if phrase.startswith(("a ", "an ")) or phrase == word else phrase


def _said_of(tokens: list[str]) -> str:
    """The beginning of an abstract with "someone" and "something" for its roles, and without an article at its end."""
    words: list[str] = []
    for token in tokens:
        if not _ROLE_TOKEN.match(token):
            words.append(token if words else token.lower())
            continue
        if words and words[-1] in _ARTICLES:
            words.pop()
        words.append("someone" if token.lower() in PERSON_ROLES else "something")
    if words[-1] in _ARTICLES:
        words.pop()
    return re.sub(r"\s+(?=[,.;:'])", "", " ".join(words))
