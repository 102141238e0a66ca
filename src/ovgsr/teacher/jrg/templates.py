"""Templates: the texts that ask a language model for one picture's rationales. Versioned files with a fingerprint.

A template is a folder: ``template.toml`` (its id and limits), ``system.txt``, ``user.txt`` and ``few_shots.json``. What
annotators wrote is untrusted: it enters a prompt as JSON data in one fenced block and nowhere else, reduced to letters,
digits and a little punctuation, so that it can neither leave the block nor change the shape that is asked for. Names of
verbs and roles, which the reply's shape is made of, must be plain words or the picture is refused.

Examples whose verbs are not all training verbs, or that name an unseen verb in any form, are left out of a prompt.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from typing import Any

from ovgsr.captions import PLACE_ROLE
from ovgsr.errors import OvgsrError
from ovgsr.inflections import SOMETHING, mentions, sayable_word, words_for
from ovgsr.situation import EMPTY_NOUN, AnnotatedImage
from ovgsr.teacher.jrg.places_in_words import place_in_words
from ovgsr.teacher.jrg.scene_in_words import without_forbidden
from ovgsr.verb_split import VerbSplit
from ovgsr.vocabulary import Vocabulary

FORMAT, FEW_SHOT_FORMAT = "ovgsr-rationale-template-1", "ovgsr-rationale-few-shots-1"
FILES = ("few_shots.json", "system.txt", "template.toml", "user.txt")
LARGEST_FILE = 200_000
LONGEST_ANSWER = 80
"""Characters of one annotator's answer that are shown: a gloss of words without spaces has no bound of its own."""
_SLOTS = {"system.txt": {"most_words"}, "user.txt": {"glimpse_negatives", "gaze_negatives", "examples", "data"}}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9 _-]{0,47}")


class TemplateError(OvgsrError):
    """A template, or a picture's annotation, that no prompt can be made of."""


@dataclass(frozen=True, slots=True)
class RenderedTemplate:
    """What is sent for one picture: two texts and the JSON schema of the reply."""

    system: str
    user: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FewShot:
    """A worked example: what would be known of a picture, and a good reply."""

    data: Mapping[str, Any]
    reply: Mapping[str, Any]

    @property
    def verbs(self) -> tuple[str, ...]:
        """Its verb and the confusable ones."""
        return (self.data["verb"], *(entry["verb"] for entry in self.data["confusable_verbs"]))


@dataclass(frozen=True)
class RationaleTemplate:
    """A loaded template. ``sha256`` is the fingerprint of all its files: another text is another template."""

    id: str
    sha256: str
    system: str
    user: str
    few_shots: tuple[FewShot, ...]
    most_words: int
    annotator_words: int
    definition_characters: int

    @classmethod
    def load(cls, name: str | Path = "jrg-1") -> RationaleTemplate:
        """A template of the package by its id, or one of your own by its folder. Raises TemplateError."""
        folder = _folder(name)
        contents = {file: _content(folder, file) for file in FILES}
        digest = hashlib.sha256()
        for file, content in contents.items():
            digest.update(f"{file}\0{len(content)}\0".encode() + content)
        texts = {file: _text(folder, file, content) for file, content in contents.items()}
        settings = _settings(folder, texts["template.toml"])
        for file, slots in _SLOTS.items():
            _check_slots(folder, file, texts[file], slots)
        return cls(
            sha256=digest.hexdigest(),
            system=texts["system.txt"].strip(),
            user=texts["user.txt"].strip(),
            few_shots=_few_shots(folder, texts["few_shots.json"]),
            **settings,
        )

    def render(
        self,
        image: AnnotatedImage,
        vocabulary: Vocabulary,
        split: VerbSplit,
        *,
        confusable: Sequence[str],
        wrong_fillers: Mapping[str, Sequence[str]],
        k: int,
    ) -> RenderedTemplate:
        """The prompt for one training picture; ``k`` negatives of each are asked for, or as many as there can be.

        Raises TemplateError where a verb is no training verb, nothing fills any role, or a name is no plain word.
        """
        data = picture_data(image, vocabulary, split, confusable, wrong_fillers, self)
        schema = reply_schema(data, k)
        examples = [shot for shot in self.few_shots if is_usable(shot, split)]
        user = Template(self.user).substitute(
            glimpse_negatives=_glimpse_negatives(data, k),
            gaze_negatives=f"{k} for each role, of the kinds that are possible for it, no two with the same text.",
            examples="\n".join(_example(shot, number, k) for number, shot in enumerate(examples, 1)),
            data=_dump(data),
        )
        return RenderedTemplate(Template(self.system).substitute(most_words=self.most_words), user, schema)


def picture_data(
    image: AnnotatedImage,
    vocabulary: Vocabulary,
    split: VerbSplit,
    confusable: Sequence[str],
    wrong_fillers: Mapping[str, Sequence[str]],
    template: RationaleTemplate,
) -> dict[str, Any]:
    """What a prompt says of a picture, as plain data without any text that could be more than data."""
    situation, unseen = image.situation, (*split.unseen, *split.dev_unseen)
    for name in (situation.verb, *confusable):
        if name not in split.training:
            raise TemplateError(
                f"{image.file_name}: {name!r} is no training verb; give pictures of training verbs only"
            )
    verb = vocabulary.verb(situation.verb)
    for name in (verb.name, *confusable, *situation.roles):
        if not _NAME.fullmatch(name):
            raise TemplateError(f"{image.file_name}: the name {name!r} is no plain word; correct imsitu_space.json")
    filled = {role: noun for role, noun in situation.nouns.items() if noun.noun != EMPTY_NOUN}
    if not filled:
        raise TemplateError(f"{image.file_name}: the annotators left every role of {verb.name!r} empty; leave it out")

    def about(text: str) -> str:
        return clean_text(without_forbidden(text, unseen, template.definition_characters))

    roles = {}
    for role, noun in filled.items():
        keys = [key for key in dict.fromkeys((noun.noun, *noun.annotators)) if key != EMPTY_NOUN]
        words = [sayable_word((key,), vocabulary, unseen, words_for(key, vocabulary)) for key in keys]
        shown = [clean_text(" ".join(word.split()[: template.annotator_words])[:LONGEST_ANSWER]) for word in words]
        box = noun.box_xyxy
        roles[role] = {
            "meaning": about(verb.role_text(role).removeprefix(f"{role}: ")),
            "annotators": list(dict.fromkeys(word for word in shown if word)) or [SOMETHING],
            "place": None if box is None else place_in_words(box, image.width, image.height),
        }
    return {
        "verb": verb.name,
        "definition": about(verb.definition),
        "frame": list(situation.roles),
        "roles": roles,
        "empty_roles": [role for role in situation.roles if role not in filled],
        "confusable_verbs": [{"verb": v, "definition": about(vocabulary.verb(v).definition)} for v in confusable],
        "wrong_fillers": {role: _clean_words(wrong_fillers.get(role, ()), unseen) for role in filled},
    }


def reply_schema(data: Mapping[str, Any], k: int) -> dict[str, Any]:
    """The JSON schema of the reply to a prompt with these data: every field required, no other field allowed."""
    verbs = [entry["verb"] for entry in data["confusable_verbs"]]
    text = {"type": "string"}
    glimpse = _object(verb={"type": "string", "enum": verbs} if verbs else text, text=text)
    gazes = {}
    for role, known in data["roles"].items():
        kinds = ["filler"] * bool(data["wrong_fillers"].get(role)) + ["role"] * (len(data["frame"]) > 1)
        kinds += ["place"] * (known["place"] is not None)
        kind = {"type": "string", "enum": kinds} if kinds else text
        negative = _object(kind=kind, wrong=text, text=text)
        gazes[role] = _object(positive=text, negatives=_list_of(negative, k if kinds else 0))
    return _object(
        glimpse=_object(positive=text, negatives=_list_of(glimpse, min(k, len(verbs)))), gazes=_object(**gazes)
    )


def is_usable(shot: FewShot, split: VerbSplit) -> bool:
    """Whether an example may be shown: all its verbs are trained on, and it names no unseen one in any form.

    The fields' names (``empty_roles``) and the role ``place`` are in every prompt, so they are not held against it.
    """
    everything = " . ".join(_texts((shot.data, shot.reply)))
    return set(split.training).issuperset(shot.verbs) and not _names_any(everything, (*split.unseen, *split.dev_unseen))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(tuple(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)


@lru_cache(maxsize=64)
def _names_any(text: str, verbs: tuple[str, ...]) -> bool:
    return bool(mentions(text, verbs, (PLACE_ROLE,)))


def clean_text(text: str) -> str:
    """One line of letters, digits and ``' - , . ( ) /``: nothing that ends a string, a block or a message."""
    plain = re.sub(r"(?<=\w)[:;](?= )", ",", unicodedata.normalize("NFKC", text))
    kept = (c if c.isalnum() or c in " '-,.()/" else " " for c in plain if unicodedata.category(c) != "Cf")
    return re.sub(r"([-,./'()])\1+", r"\1", " ".join("".join(kept).split()))


def _clean_words(words: Iterable[str], forbidden: Sequence[str]) -> list[str]:
    cleaned = [clean_text(word) for word in words if not mentions(word, forbidden)]
    return [word for word in cleaned if 0 < len(word) <= LONGEST_ANSWER]


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list_of(item: Mapping[str, Any], amount: int) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": amount, "maxItems": amount}


def _glimpse_negatives(data: Mapping[str, Any], k: int) -> str:
    amount = min(k, len(data["confusable_verbs"]))
    if not amount:
        return "none, an empty list."
    return f'{amount}, one for each of {amount} different verbs out of "confusable_verbs".'


def _example(shot: FewShot, number: int, k: int) -> str:
    reply = json.loads(json.dumps(shot.reply))
    for judged in (reply["glimpse"], *reply["gazes"].values()):
        judged["negatives"] = judged["negatives"][:k]
    return f"Example {number}, data:\n{_dump(shot.data)}\nExample {number}, answer:\n{_dump(reply)}\n"


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _folder(name: str | Path) -> Path | Traversable:
    if isinstance(name, str) and re.fullmatch(r"[a-z0-9-]+", name):
        folder = resources.files("ovgsr") / "assets" / "rationale_templates" / name
        if folder.is_dir():
            return folder
    if Path(name).is_dir():
        return Path(name)
    own = resources.files("ovgsr") / "assets" / "rationale_templates"
    known = ", ".join(sorted(entry.name for entry in own.iterdir() if entry.is_dir()))
    raise TemplateError(f"there is no template {str(name)!r}; give one of {known}, or a folder with {', '.join(FILES)}")


def _content(folder: Path | Traversable, file: str) -> bytes:
    try:
        with (folder / file).open("rb") as stream:
            content = bytes(stream.read(LARGEST_FILE + 1))
    except OSError:
        raise TemplateError(f"{folder}: the template lacks the file {file}; it needs {', '.join(FILES)}") from None
    if len(content) > LARGEST_FILE:
        raise TemplateError(f"{folder / file}: more than {LARGEST_FILE} bytes; shorten the template")
    return content


def _text(folder: Path | Traversable, file: str, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise TemplateError(f"{folder / file}: this is no UTF-8 text; save it as UTF-8") from None


def _settings(folder: Path | Traversable, text: str) -> dict[str, Any]:
    path = folder / "template.toml"
    try:
        settings = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TemplateError(f"{path}: this is no valid TOML ({error})") from None
    if settings.pop("format", None) != FORMAT:
        raise TemplateError(f"{path}: the field 'format' must be {FORMAT!r}")
    kinds = {"id": str, "most_words": int, "annotator_words": int, "definition_characters": int}
    for field in {**kinds, **settings}:
        if field not in kinds:
            raise TemplateError(f"{path}: the field {field!r} is unknown; remove it")
        if type(settings.get(field)) is not kinds[field] or not settings[field]:
            raise TemplateError(
                f"{path}: the field {field!r} must be a {kinds[field].__name__}, not empty and not zero"
            )
    return settings


def _check_slots(folder: Path | Traversable, file: str, text: str, slots: set[str]) -> None:
    template = Template(text)
    if not template.is_valid() or set(template.get_identifiers()) != slots:
        wanted = ", ".join(f"${slot}" for slot in sorted(slots))
        raise TemplateError(f"{folder / file}: it must hold {wanted} and no other $name; write $$ for a dollar sign")


def _few_shots(folder: Path | Traversable, text: str) -> tuple[FewShot, ...]:
    path = folder / "few_shots.json"
    try:
        record = json.loads(text)
        if record["format"] != FEW_SHOT_FORMAT:
            raise TemplateError(f"{path}: the field 'format' must be {FEW_SHOT_FORMAT!r}")
        shots = tuple(FewShot(entry["data"], entry["reply"]) for entry in record["examples"])
        for number, shot in enumerate(shots, 1):
            judged = [shot.reply["glimpse"], *shot.reply["gazes"].values()]
            texts = [text for one in judged for text in (one["positive"], *(n["text"] for n in one["negatives"]))]
            if set(shot.reply["gazes"]) != set(shot.data["roles"]) or not all(isinstance(t, str) for t in texts):
                raise TemplateError(f"{path}: example {number}: 'gazes' must have a text for each role of its data")
            if not all(isinstance(verb, str) for verb in shot.verbs):
                raise TemplateError(f"{path}: example {number}: verbs must be names")
    except (json.JSONDecodeError, RecursionError) as error:
        raise TemplateError(f"{path}: this is no valid JSON ({error})") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise TemplateError(f"{path}: an example lacks a field or has one of the wrong kind: {error}") from None
    return shots
