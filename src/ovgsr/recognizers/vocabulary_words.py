"""A user's own words as a vocabulary: ``--verbs feeding,riding`` or a file, completed from what is known.

A text file has one word a line; what follows ``#`` is a comment; a verb may carry its frame: ``feeding: agent, food,
eater, place``. A ``.json`` file is a vocabulary as ``Vocabulary.to_json`` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from torch import Tensor

from ovgsr.captions import progressive
from ovgsr.recognizers.frames import borrow_frames
from ovgsr.vocabulary import Noun, Verb, Vocabulary, VocabularyError, swig_vocabulary

Kind = Literal["verb", "noun"]
_FILE_ENDINGS = (".txt", ".json")


@dataclass(frozen=True)
class _Entry:
    """One word with its frame, if any, and where it stands, for messages."""

    word: str
    roles: tuple[str, ...]
    where: str


def parse_words(argument: str, kind: Kind = "verb") -> list[str]:
    """The words of ``"feeding,riding"``, of a ``.txt`` file (one a line) or of a ``.json`` vocabulary.

    Raises VocabularyError with the file, the line and the remedy where a word is empty or named twice, or where the
    file cannot be read.
    """
    if _is_json(argument):
        offered = _read_json(Path(argument.strip()), kind)
        return [verb.name for verb in offered.verbs] if kind == "verb" else [noun.key for noun in offered.nouns]
    return [entry.word for entry in _entries(argument, kind)]


def user_vocabulary(
    base: Vocabulary,
    verbs: str | None,
    nouns: str | None,
    embed: Callable[[Sequence[str]], Tensor],
    *,
    known: Vocabulary | None = None,
) -> Vocabulary:
    """``base`` with the verbs and the nouns that a user names; what is None stays as in ``base``.

    A verb that ``base``, ``known`` or the built-in SWiG vocabulary has keeps its frame and definition (``feed`` finds
    ``feeding``). Any other one without a frame of its own borrows that of the nearest known verb by text and says so in
    ``borrowed_from``; ``embed`` gives unit vectors (n, D) for n texts. A noun is looked up by synset, then by word;
    an unknown one stands for itself. Raises VocabularyError as :func:`parse_words` does.
    """
    if verbs is None and nouns is None:
        return base
    sources = [base, *([known] if known is not None else []), swig_vocabulary()]
    offered = replace(
        base,
        verbs=base.verbs if verbs is None else _user_verbs(verbs, sources),
        nouns=base.nouns if nouns is None else _user_nouns(nouns, sources),
    )
    everything = {verb.name: verb for source in reversed(sources) for verb in source.verbs}
    return borrow_frames(offered, Vocabulary(tuple(everything.values())), embed)


def _is_file(argument: str) -> bool:
    return argument.strip().lower().endswith(_FILE_ENDINGS) and "," not in argument


def _is_json(argument: str) -> bool:
    return _is_file(argument) and argument.strip().lower().endswith(".json")


def _entries(argument: str, kind: Kind) -> list[_Entry]:
    if _is_file(argument):
        entries = _text_file_entries(Path(argument.strip()), kind)
    else:
        entries = [
            _Entry(" ".join(word.split()), (), f"--{kind}s, entry {number}")
            for number, word in enumerate(argument.split(","), start=1)
        ]
        for entry in entries:
            if ":" in entry.word:
                raise VocabularyError(
                    f"{entry.where}: {entry.word!r} has a colon; a frame is given in a .txt file, one {kind} a line"
                )
    first: dict[str, _Entry] = {}
    for entry in entries:
        if not entry.word:
            raise VocabularyError(f"{entry.where}: no {kind} stands here; remove the comma or name one")
        if (earlier := first.setdefault(entry.word.lower(), entry)) is not entry:
            raise VocabularyError(f"{entry.where}: {entry.word!r} was named before ({earlier.where}); remove one")
    if not entries:
        raise VocabularyError(f"{argument}: the file names no {kind}; write at least one, one a line")
    return entries


def _text_file_entries(path: Path, kind: Kind) -> list[_Entry]:
    entries = []
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        where = f"{path}, line {number}"
        content, comment, _ = line.partition("#")
        if not content.strip():
            if comment:
                continue
            raise VocabularyError(f"{where}: the line is empty; remove it or begin it with '#'")
        word, colon, frame = content.partition(":")
        if colon and kind == "noun":
            raise VocabularyError(f"{where}: a noun has no frame; remove the colon and what follows")
        roles = tuple(" ".join(role.split()).lower() for role in frame.split(",")) if colon else ()
        if colon and (not all(roles) or len(set(roles)) != len(roles)):
            raise VocabularyError(f"{where}: a role is empty or named twice; write 'verb: agent, item, place'")
        if not word.strip():
            raise VocabularyError(f"{where}: a frame without its verb; write 'verb: agent, item, place'")
        entries.append(_Entry(" ".join(word.split()), roles, where))
    return entries


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise VocabularyError(f"{path}: there is no such file; name one, or give words between commas") from None
    except UnicodeDecodeError as error:
        raise VocabularyError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise VocabularyError(f"{path}: cannot be read ({error.strerror}); give a readable text file") from None


def _read_json(path: Path, kind: Kind) -> Vocabulary:
    try:
        offered = Vocabulary.from_json(json.loads(_read_text(path)))
    except json.JSONDecodeError as error:
        raise VocabularyError(f"{path}, line {error.lineno}: not JSON ({error.msg}); correct the line") from None
    except VocabularyError as error:
        if str(error).startswith(str(path)):
            raise
        raise VocabularyError(f"{path}: {error}") from None
    if not (offered.verbs if kind == "verb" else offered.nouns):
        raise VocabularyError(f"{path}: the field '{kind}s' names none; add at least one")
    return offered


def _user_verbs(argument: str, sources: Sequence[Vocabulary]) -> tuple[Verb, ...]:
    if _is_json(argument):
        return _read_json(Path(argument.strip()), "verb").verbs
    chosen: dict[str, _Entry] = {}
    found = []
    for entry in _entries(argument, "verb"):
        verb = _known_verb(entry.word, sources) or Verb(entry.word)
        if entry.roles and entry.roles != verb.roles:
            verb = _with_frame(verb, entry.roles)
        if verb.name in chosen:
            raise VocabularyError(
                f"{entry.where}: {entry.word!r} is the verb {verb.name!r}, which was named before "
                f"({chosen[verb.name].where}); remove one"
            )
        chosen[verb.name] = entry
        found.append(verb)
    return tuple(found)


def _known_verb(word: str, sources: Sequence[Vocabulary]) -> Verb | None:
    """The known verb of that name, else of its lower-case or its progressive form."""
    for name in (word, word.lower(), progressive(word.lower())):
        for source in sources:
            if name in source:
                return source.verb(name)
    return None


def _with_frame(verb: Verb, roles: tuple[str, ...]) -> Verb:
    """The verb with a user's frame; an abstract that speaks of other roles is dropped."""
    same = set(roles) == set(verb.roles)
    definitions = {role: text for role, text in verb.role_definitions.items() if role in roles}
    return replace(verb, roles=roles, abstract=verb.abstract if same else "", role_definitions=definitions)


def _user_nouns(argument: str, sources: Sequence[Vocabulary]) -> tuple[Noun, ...]:
    if _is_json(argument):
        return _read_json(Path(argument.strip()), "noun").nouns
    entries = _entries(argument, "noun")
    chosen: dict[str, _Entry] = {}
    found = []
    for entry, noun in zip(entries, _look_up([entry.word for entry in entries], sources), strict=True):
        if noun.key in chosen:
            earlier = chosen[noun.key]
            raise VocabularyError(
                f"{entry.where}: {entry.word!r} and {earlier.word!r} ({earlier.where}) are one noun, {noun.key}; "
                "remove one"
            )
        chosen[noun.key] = entry
        found.append(noun)
    return tuple(found)


def _look_up(words: Sequence[str], sources: Sequence[Vocabulary]) -> list[Noun]:
    """Each word in the first source that has it as a key or as a word; a plain noun where none has."""
    found: list[Noun] = [Noun(word, (word,)) for word in words]
    for source in reversed(sources):
        for position, noun in enumerate(source.nouns_by_word(words)):
            if source.answer_index(noun.key) is not None:
                found[position] = _called(noun, words[position])
    return found


def _called(noun: Noun, word: str) -> Noun:
    """The noun under the user's own word for it: who asks for a gizmo is not told of an appliance."""
    if word == noun.key or word.lower() == noun.gloss.lower():
        return noun
    others = tuple(other for other in noun.words if other.lower() != word.lower())
    return replace(noun, words=(word, *others))
