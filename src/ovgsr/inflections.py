"""Which verbs a text names, in any inflection: the guard that keeps unseen verbs out of every rationale.

A form of a verb counts wherever it stands as a whole word, with one exception. The base form, the agent noun and a few
past forms that are better known as other words (``ground``, ``left``) can also be nouns. Inside a noun phrase that the
caller names (the words of the picture's own annotation: ``water``, ``nail``, ``drum``, ``cell phone``) these do not
count. The forms in -ing and -s and the other past forms always count, those of ``watering can`` included.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from ovgsr.irregular_verbs import (
    BASES,
    NO_AGENT,
    NO_SILENT_E,
    OTHER_SPELLINGS,
    SILENT_E,
    STRESSED_LAST,
    agent_nouns,
    irregular_pasts,
)
from ovgsr.noun_phrases import head_word, readable_word, word_set
from ovgsr.situation import EMPTY_NOUN, Situation
from ovgsr.vocabulary import Vocabulary

SOMETHING = "something"
LONGEST_GAP = 3
"""So many words may stand inside a verb of several words: "picks the red ball up"."""

_HOMOGRAPHS = word_set("bit dove felt ground left rose saw wound")
_BEFORE_A_NOUN = word_set(
    "a an the this that these those his her its their my your our no some any each every one two of on in to at from "
    "near over under above below along onto into with by upper lower far top bottom bare open wet dry hard"
)
_GERUND = re.compile(r"[a-z]*[aeiouy][a-z]*ing$")
_VOWELS = re.compile(r"[aeiouy]+")
_LONG_WITH_E = re.compile(r"(?:at|id|ad|od|ud|ut|in|ar|ir|or|ur|um|ap|ib|ak|ik|ok|ag|ig|ug)$")
_WORD = re.compile(r"[a-z]+")
_UNUSUAL = re.compile(
    r"[^A-Za-z ,;:.]|[A-Za-z]\.[A-Za-z]|[a-z][A-Z]|[A-Z][A-Z]|\bI(?!(?:t|n|f|s|ts|nto|nside|nstead)\b)[a-z]"
)
"""What may hide a form: anything but plain prose. A capital I can stand for an l."""

_LOOK_ALIKES = str.maketrans(
    "аеорсухіјѕһԁԛԝкмнвтгпишαορνικτυεηωχγβϲϳıɡɑɩʟɪɴʀᴀᴄᴅᴇᴋᴍᴏᴘᴛᴜᴠᴡᴢłøđħŧ",
    "aeopcyxijshdqwkmhbtrnuwaopviktuenwxybcjigailinracdekmoptuvwzlodht",
)
"""Letters of other scripts and shapes that look like Latin ones (Cyrillic, Greek, small capitals, strokes)."""

_DIGITS = {"0": "o", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s"}


def base_form(verb_name: str) -> str:
    """The dictionary form: ``carry`` for ``carrying``, ``sit on`` for ``sitting_on``; a base form stays."""
    first, _, rest = _plain(verb_name).partition(" ")
    return f"{_base_of_word(first)} {rest}".strip()


def gerund(verb_name: str) -> str:
    """The form in -ing: ``carrying`` for ``carry``, ``sitting on`` for ``sit_on``; a gerund stays."""
    first, _, rest = _plain(verb_name).partition(" ")
    word = min(_gerunds(_base_of_word(first)), key=lambda form: (form != first, len(form)))
    return f"{word} {rest}".strip()


def inflected_forms(verb_name: str) -> frozenset[str]:
    """Every form of a verb, lower case: carry, carries, carried, carrying, carrier, carriers.

    Names are gerunds (``carrying``) or base forms, perhaps of several words (``sit_on``), whose first is inflected.
    British and American spellings are both given. Agent nouns in -er are given where they are not another word.
    """
    first, _, rest = _plain(verb_name).partition(" ")
    forms = _forms_of_word(first)
    if not rest:
        return forms
    if first == "no":
        return frozenset({f"no {rest}"})  # HICO-DET's "no_interaction"
    return frozenset(f"{form} {rest}" for form in forms - _agent_forms(first))


def noun_like_forms(verb_name: str) -> frozenset[str]:
    """The forms that can also be nouns, and do not count inside an annotated noun phrase (see the module)."""
    first, _, rest = _plain(verb_name).partition(" ")
    if rest:
        return frozenset()
    return frozenset({_base_of_word(first)} | _agent_forms(first) | (_forms_of_word(first) & _HOMOGRAPHS))


def mentions(text: str, verb_names: Iterable[str], nouns: Iterable[str] = ()) -> set[str]:
    """Which of the verbs a text names, in any form, as whole words.

    Case, punctuation, accents, hyphens, invisible characters, letters of other scripts that look Latin, digits for
    letters and spelt-out words do not hide a form. ``nouns`` are noun phrases in which the forms that can be nouns do
    not count (see the module, and :func:`nameable_words`).
    """
    index = _index(tuple(verb_names))
    named = tuple(nouns)
    found: set[str] = set()
    for words in _readings(text):
        within_noun: set[int] | None = None
        for position, word in enumerate(words):
            for verb, rest, noun_like, homograph in index.get(word, ()):
                if verb in found or (rest and not _follows(words, position, rest)):
                    continue
                if noun_like:
                    if within_noun is None:
                        within_noun = _positions_within(words, {_words_of(noun) for noun in named} - {()})
                    if position in within_noun or (homograph and _stands_as_noun(words, position)):
                        continue
                found.add(verb)
    return found


def nameable_words(situation: Situation, vocabulary: Vocabulary) -> frozenset[str]:
    """The noun phrases that a picture's annotation allows: the names of the roles, and every annotator's synonyms.

    What one annotator sees in a role that the majority leaves empty is not among them.
    """
    filled = [noun for noun in situation.nouns.values() if noun.noun != EMPTY_NOUN]
    keys = {key for noun in filled for key in noun.accepted | {noun.noun}}
    return frozenset(situation.roles).union(*(words_for(key, vocabulary) for key in keys))


def words_for(key: str, vocabulary: Vocabulary) -> tuple[str, ...]:
    """All words for a noun's key, the one that a person would say first; heads of compounds last."""
    if key == EMPTY_NOUN:
        return ()
    known = vocabulary.noun(key).words if vocabulary.answer_index(key) is not None else (key,)
    said = [readable_word(key, vocabulary), *(" ".join(word.replace("_", " ").split()) for word in known)]
    heads = [head for word in said if (head := head_word(word)) and len(head) > 2]
    return tuple(dict.fromkeys(word for word in [*said, *heads] if word))


def sayable_word(keys: Iterable[str], vocabulary: Vocabulary, avoided: Iterable[str], nouns: Iterable[str]) -> str:
    """The first word for one of the nouns that names none of the verbs, such as ``can`` for a watering can.

    Where there is none, a noun's hypernym or, at last, "something".
    """
    answers, verbs, phrases = tuple(dict.fromkeys(keys)), tuple(avoided), tuple(nouns)
    words = [word for key in answers for word in words_for(key, vocabulary)]
    words += [vocabulary.noun(key).hypernym for key in answers if vocabulary.answer_index(key)]
    return next((word for word in words if word and not mentions(word, verbs, phrases)), SOMETHING)


@lru_cache(maxsize=65_536)
def _words_of(noun: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(_plain(noun)))


def _plain(text: str) -> str:
    return " ".join(text.casefold().replace("_", " ").replace("-", " ").split())


def _base_of_word(word: str) -> str:
    if word in BASES:
        return BASES[word]
    if not _GERUND.match(word) or word in irregular_pasts():
        return word
    stem = word[:-3]
    if stem in NO_SILENT_E:
        return stem
    if stem in SILENT_E or _has_silent_e(stem):
        return f"{stem}e"
    long = len(_VOWELS.findall(stem)) > 1
    doubled = len(stem) > 2 and stem[-1] == stem[-2] and stem[-1] not in "aeiouszf"
    return stem[:-1] if doubled and (stem[-1] != "l" or (long and stem not in ("install", "befall"))) else stem


def _has_silent_e(stem: str) -> bool:
    """Whether the base form of a gerund ends in -e, by its spelling: juggl, writ, decorat, releas, danc."""
    if len(stem) < 2:
        return False
    last, before = stem[-1], stem[-2]
    if last in "cvu" or (last == "z" and before != "z") or (last == "s" and before != "s"):
        return True
    if last == "l" and before not in "aeioulrw":
        return True
    if last == "g" and before in "drlaeiou":
        return before in "drl" or not (len(stem) > 2 and stem[-3] in "aeio")
    if last not in "bdgklmnprt" or before not in "aeiou":
        return last == "r" and before not in "aeiour"
    if len(stem) > 2 and stem[-3] in "aeiou" and not stem.endswith(("iat", "uat")) and stem[-4:-2] != "qu":
        return False  # two vowels: lean, shout; but officiate
    short = len(_VOWELS.findall(stem)) == 1
    return short or bool(_LONG_WITH_E.search(stem))


@lru_cache(maxsize=4096)
def _forms_of_word(word: str) -> frozenset[str]:
    forms = {word}
    for spelling in _spellings(_base_of_word(word)):
        forms |= {spelling, _third_person(spelling), *_pasts(spelling)}
        forms |= _gerunds(spelling)
    return frozenset(forms) | _agent_forms(word)


def _agent_forms(word: str) -> frozenset[str]:
    agents = {agent for spelling in _spellings(_base_of_word(word)) for agent in _agents(spelling)}
    return frozenset(agents | {f"{agent}s" for agent in agents})


def _spellings(base: str) -> set[str]:
    """American and British: baptize and baptise, color and colour."""
    spellings = {base, OTHER_SPELLINGS.get(base, base)}
    if re.search(r"[a-z]{3,}[iy]ze$", base) and len(_VOWELS.findall(base)) > 2:
        spellings.add(f"{base[:-2]}se")
    return spellings


def _third_person(base: str) -> str:
    if re.search(r"[^aeiou]y$", base):
        return f"{base[:-1]}ies"
    return f"{base}es" if re.search(r"(?:ch|sh|s|x|z|[^aeiou]o)$", base) else f"{base}s"


def _pasts(base: str) -> frozenset[str]:
    irregular = irregular_pasts().get(base)
    if irregular is not None:
        return irregular
    if re.search(r"[^aeiou]y$", base):
        return frozenset({f"{base[:-1]}ied"})
    return frozenset(_with_ending(base, "ed"))


def _with_ending(base: str, ending: str) -> set[str]:
    """-ed or -er on a base form: baked, dyed, dropped, signaled and signalled."""
    return {f"{base}{ending[1:]}"} if base.endswith("e") else {f"{stem}{ending}" for stem in _stems(base)}


def _stems(base: str) -> set[str]:
    """What -ing, -ed and -er are put on: carry, ridd... without a silent e, with the last consonant doubled."""
    if base.endswith("e"):
        return {base} if base.endswith(("ee", "oe", "ye")) or base in ("be", "singe") else {base[:-1]}
    if base in ("fuel", "dial", "duel"):
        return {base, f"{base}l"}
    if re.search(r"[^aeiou][ou]?[aeiou][bdfgklmnprtvz]$|^[aeiou][bdgmnpt]$", base):
        double = base + base[-1]
        if len(_VOWELS.findall(base)) == 1 or base in STRESSED_LAST:
            single_vowel = re.search(r"(?:[^aeiou]|qu)[aeiou].$|^[aeiou].$", base)
            return {double} if single_vowel else {base}
        if base.endswith("l"):
            return {base, double}  # signaling, signalling
    return {base}


def _gerunds(base: str) -> set[str]:
    return {f"{base[:-2]}ying"} if base.endswith("ie") else {f"{stem}ing" for stem in _stems(base)}


def _agents(base: str) -> frozenset[str]:
    known = agent_nouns().get(base, frozenset())
    if base in NO_AGENT or known:
        return known
    if re.search(r"[^aeiou]y$", base):
        return frozenset({f"{base[:-1]}ier"} if re.search("[aeiou]", base) else {f"{base[:-1]}ier", f"{base}er"})
    return frozenset(_with_ending(base, "er") | ({f"{base[:-1]}or"} if re.search(r"[a-z]{2}ate$", base) else set()))


@lru_cache(maxsize=1024)
def _index(verb_names: tuple[str, ...]) -> Mapping[str, tuple[tuple[str, tuple[str, ...], bool, bool], ...]]:
    """First word of a form -> (verb, the form's further words, whether it can be a noun, and a past form at that)."""
    index: dict[str, list[tuple[str, tuple[str, ...], bool, bool]]] = {}
    for verb in dict.fromkeys(verb_names):
        noun_like, homographs = noun_like_forms(verb), _HOMOGRAPHS - {base_form(verb)}  # "to saw" is sawing itself
        for form in inflected_forms(verb):
            first, *rest = form.split()
            index.setdefault(first, []).append((verb, tuple(rest), form in noun_like, form in homographs))
    return {word: tuple(entries) for word, entries in index.items()}


def _readings(text: str) -> Iterator[list[str]]:
    """The words of a text in every way that a reader may take it; one way for plain prose."""
    if not _UNUSUAL.search(text):
        yield _joined(_WORD.findall(text.lower()))
        return
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if unicodedata.category(c) not in ("Mn", "Me", "Cf"))
    lower = plain.casefold().translate(_LOOK_ALIKES)
    spellings = {lower}
    if re.search(r"[a-z][I1|!]|[I1|!][a-z]", plain) or re.search(r"[0-9@$]", plain):
        for one in "il":
            written = re.sub(r"(?<=[a-z])[I1|!]|[I1|!](?=[a-z])", one, plain).casefold().translate(_LOOK_ALIKES)
            spellings.add(re.sub(r"(?<=[a-z])[03457@$]|[03457@$](?=[a-z])", lambda m: _DIGITS[m[0]], written))
    for spelling in sorted(spellings):
        whole = re.sub(r"(?<=[a-z]{2})in['’](?![a-z])", "ing", spelling)
        yield _joined(_WORD.findall(whole))
        without_hyphens = re.sub(r"(?<=[a-z])[-‐-―_·.*/]+\s*(?=[a-z])", "", whole)
        if without_hyphens != whole:
            yield _joined(_WORD.findall(without_hyphens))


def _joined(words: list[str]) -> list[str]:
    """Runs of three and more single letters become one word: w a t e r."""
    joined: list[str] = []
    run: list[str] = []
    for word in [*words, ""]:
        if len(word) == 1:
            run.append(word)
            continue
        joined += ["".join(run)] if len(run) > 2 else run
        run = []
        joined += [word] if word else []
    return joined


def _positions_within(words: list[str], phrases: set[tuple[str, ...]]) -> set[int]:
    lengths = {len(phrase) for phrase in phrases}
    return {
        position
        for start in range(len(words))
        for length in lengths
        if tuple(words[start : start + length]) in phrases
        for position in range(start, start + length)
    }


def _follows(words: list[str], position: int, rest: tuple[str, ...]) -> bool:
    last = min(position + 1 + LONGEST_GAP, len(words) - len(rest))
    return any(tuple(words[start : start + len(rest)]) == rest for start in range(position + 1, last + 1))


def _stands_as_noun(words: list[str], position: int) -> bool:
    """Whether a past form is the other word that it is better known as: "on the ground", "in the upper left"."""
    return position > 0 and words[position - 1] in _BEFORE_A_NOUN
