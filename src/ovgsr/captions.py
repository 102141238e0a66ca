"""A situation as one English sentence: "a woman feeds bread to a dog in a park".

A verb's abstract (a sentence with the role names in capitals, as in imSitu) is filled in; a verb without one gets a
sentence built from its roles. The sentence says what the situation says and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ovgsr.noun_phrases import is_plural, noun_phrase, place_phrase, plural_of, readable_word, word_set
from ovgsr.situation import Situation
from ovgsr.vocabulary import Verb, Vocabulary

PLACE_ROLE = "place"
PERSON_ROLES = word_set(
    "addressee adressee agent agents audience baptized beneficiary blocked blocker boaters buyer coagent confronted "
    "coparticipant crownedentity eater entityhelped experiencer farmer follower gatherers giver hugged individuals "
    "interviewee listener mourner naggedperson patient perceiver performer reassured receiver reciever recipient "
    "recipients restrained seller served student suspect teacher tickled traveler victim"
)
"""Roles whose unknown filler is "someone"; the others' is "something"."""

SUBJECT_ROLES = (
    *("agent", "agents", "teacher", "seller", "farmer", "traveler", "mourner", "boaters", "blocker", "carrier"),
    *("individuals", "gatherers", "brancher", "sprouter", "decomposer", "agenttype", "human"),
)

_ROLES_BY_PREPOSITION = {
    "with": "tool instrument brush weapon firearm connector glue liquid substance agentpart coagent coparticipant "
    "cover crown dye fastener fluid heatsource parachute sealant strap vehicle wrappingitem",
    "to": "destination goal end recipient recipients recipientpart beneficiary addressee adressee listener audience "
    "eater buyer served receiver",
    "from": "source start seller components component cause",
    "on": "surface contact ground stage scaffold bottom medium coagentpart victimpart objectpart bodypart",
    "in": "container foodcontainer shelter hidingitem skill competition",
    "at": "occasion event target",
    "over": "obstacle",
    "along": "path",
    "against": "against",
    "around": "center",
    "for": "goalitem payment",
}
ROLE_PREPOSITIONS: Mapping[str, str] = {
    role: preposition for preposition, roles in _ROLES_BY_PREPOSITION.items() for role in roles.split()
}
"""How a role joins a sentence that no abstract shapes; roles that are not here are the verb's object."""

_PREPOSITIONS = word_set(
    "about above across after against along amid among around as at atop because before behind below beneath beside "
    "besides between beyond by carrying containing down during for from front holding in including inside into like "
    "near next of off on onto out outside over past round through throughout to top toward towards under underneath up "
    "upon using via wearing with within without"
)
_PHRASE_TAILS = word_set("because down front in next off on onto out over top up")
_PLACE_PREPOSITIONS = word_set("at in on inside within")
_ARTICLES = word_set("a an the some any")
_POSSESSIVES = word_set("its their his her")
_BARE_AFTER = _POSSESSIVES | {"by", "own"}
_PRONOUNS = _POSSESSIVES | {"it", "them", "him"}
_RELATIVE = word_set("that who which")
_DESCRIBING = _RELATIVE | word_set("with in of under below held such")
_ROLE_TOKEN = re.compile(r"[A-Z][A-Z0-9]{2,}$")


def caption(situation: Situation, vocabulary: Vocabulary) -> str:
    """One sentence for a situation, lower case, without a full stop.

    A noun that the vocabulary does not offer stands as its own key, a verb that it does not offer as its name.
    """
    words = {role: readable_word(noun.noun, vocabulary) for role, noun in situation.nouns.items()}
    name = situation.verb
    verb = vocabulary.verb(name) if name in vocabulary else Verb(name)
    tokens = _tokens(verb.abstract)
    slots = {token.lower() for token in tokens if _ROLE_TOKEN.match(token)}
    if slots & set(words):
        filled = _Template(name, tokens, words).fill()
        extra = {role: word for role, word in words.items() if word and role not in slots and role in ROLE_PREPOSITIONS}
        return _tidy([*filled, *_attachments(extra)])
    return _tidy(_from_roles(name, words))


def _tokens(abstract: str) -> list[str]:
    """Words, punctuation marks, and possessive endings as tokens of their own: ``AGENT 's HAND``."""
    return re.findall(r"'s?(?=\s)|[^\W_]+(?:[-_][^\W_]+)*|[^\w\s]", abstract)


class _Template:
    """Fills an abstract from left to right; ``done`` is the sentence so far."""

    def __init__(self, verb: str, tokens: list[str], words: Mapping[str, str]) -> None:
        self.verb = verb
        self.tokens = tokens
        self.words = words
        self.done: list[str] = []
        self.mentioned: dict[str, str] = {}  # role -> its word
        self.before_verb = True
        self.modified = False  # the subject has a phrase of its own: "An AGENT with one arm out throws"
        self.subjects = 0
        self.subject_plural = False
        self.last_plural = False  # of the role filled last, for "that runs" / "that run"

    def fill(self) -> list[str]:
        position = 0
        while position < len(self.tokens):
            token = self.tokens[position]
            if self._is_role(position):
                position = self._fill_slot(token.lower(), position)
            else:
                self._add_word(token, position)
            position += 1
        return self.done

    def _token(self, position: int) -> str:
        return self.tokens[position] if 0 <= position < len(self.tokens) else ""

    def _is_role(self, position: int) -> bool:
        return bool(_ROLE_TOKEN.match(self._token(position)))

    def _add_word(self, token: str, position: int) -> None:
        word = token if self.done or not token[:1].isupper() else token.lower()
        if self.before_verb and self.subjects:
            if self._is_main_verb(token, position):
                self.before_verb = False
                word = agree(word, self.subject_plural)
        elif self._token(position - 1) in _RELATIVE and self._is_role(position - 2):
            word = agree(word, self.last_plural) if word.endswith("s") else word
        elif self.subject_plural and self._is_further_verb(token, position):
            word = agree(word, True)
        elif not self.subjects and token.islower() and token not in _ARTICLES and self.done:
            self.before_verb = False  # "it rains at a PLACE": no role is the subject
        if self._token(position - 1) == "the" and word in self.mentioned:
            word = self.mentioned[word]  # an abstract that says "the agent" in small letters
        self.done.append(word)

    def _is_main_verb(self, token: str, position: int) -> bool:
        if token in _ARTICLES or token in ("and", "or") or not token.isalpha() or token.endswith("ly"):
            return False
        if token in _PREPOSITIONS:
            self.modified = True
            return False
        third_person = token.endswith("s") and not token.endswith("ss")
        return not self.modified or self._names_verb(token) or (third_person and self._is_role(position - 1))

    def _names_verb(self, token: str) -> bool:
        return token.endswith("s") and progressive(agree(token, True)) == self.verb

    def _is_further_verb(self, token: str, position: int) -> bool:
        """Whether the word is a second verb of the subject: "bends and LIFTS an ITEM"."""
        if self._names_verb(token):
            return True
        if self._token(position - 1) not in ("and", "then", "while"):
            return False
        following = self._token(position + 1)
        return following in _ARTICLES or following in _PRONOUNS or self._is_role(position + 1)

    def _fill_slot(self, role: str, position: int) -> int:
        """Writes or drops one role. Returns the position of the last token that it used."""
        article, adjective = self._take_article()
        word = self.words.get(role, "")
        following = self._token(position + 1)
        if not word:
            return self._drop(role, position, following)
        previous = self.done[-1] if self.done else ""
        if previous == "or" and len(self.done) > 1 and self.done[-2] not in _PREPOSITIONS:
            del self.done[-2:]  # "with hands or a TOOL": the tool is known
            previous = self.done[-1] if self.done else ""
        self._note_number(word, previous)
        if role == PLACE_ROLE and (place := self._place(word, previous)):
            self.done.append(place)
        elif previous in ("several", "many"):
            self.done.append(plural_of(word))
        elif article is None and (previous in _BARE_AFTER or previous.endswith(("'s", "s'"))):
            self.done.append(word)
        else:
            self.done.append(self._phrase(role, word, article, adjective, following))
        self.mentioned[role] = word
        if following in ("'s", "'"):
            self.done[-1] += "'" if is_plural(word) and word.endswith("s") else "'s"
            return position + 1
        return self._after_description(position)

    def _take_article(self) -> tuple[str | None, str]:
        """Removes the article before a slot, and the adjective between the two, from the sentence so far."""
        done = self.done
        if done and done[-1] in _ARTICLES:
            return done.pop(), ""
        if len(done) > 1 and done[-2] in ("a", "an") and done[-1] not in _PREPOSITIONS and done[-1].islower():
            adjective = done.pop()
            return done.pop(), f"{adjective} "
        return None, ""

    def _phrase(self, role: str, word: str, article: str | None, adjective: str, following: str) -> str:
        is_part = role == "ground" or role.endswith("part")
        if role in self.mentioned or (article == "the" and (is_part or following == "of")):
            return word if word.startswith("the ") else f"the {adjective}{word}"
        if self.done[-2:] == ["many", "of"]:
            self.done.pop()
            return plural_of(word)
        phrase = noun_phrase(f"{adjective}{word}")
        if word in self.mentioned.values() and phrase.startswith(("a ", "an ")):
            return f"another {adjective}{word}"
        return phrase

    def _note_number(self, word: str, previous: str) -> None:
        self.last_plural = is_plural(word)
        if self.before_verb and (previous not in _PREPOSITIONS or not self.subjects):
            self.subjects += 1
            self.subject_plural = is_plural(word) or self.subjects > 1 or self.done[:1] == ["many"]

    def _place(self, word: str, previous: str) -> str:
        phrase = place_phrase(word)
        adverbial = phrase.split()[0] not in _PLACE_PREPOSITIONS
        if previous in _PLACE_PREPOSITIONS or (adverbial and previous in _PREPOSITIONS):
            self.done.pop()
            return phrase
        return ""

    def _after_description(self, position: int) -> int:
        """Skips what the abstract says of a role in general, once its noun is known: "such as leaves", "or animal"."""
        following, second = self._token(position + 1), self._token(position + 2)
        plain = second.islower() and second not in _ARTICLES
        if following == "or" and plain:
            return position + 2
        if (following, second) == ("such", "as"):
            return self._end_of_words(position + 2)
        return self._end_of_words(position + 1) if following == "of" and plain else position

    def _end_of_words(self, position: int) -> int:
        """The last of the plain words after ``position``: before a preposition, "and", a stop or a role."""
        while (token := self._token(position + 1)).isalpha() and token not in _PREPOSITIONS and token != "and":
            if self._is_role(position + 1):
                break
            position += 1
        return position

    def _drop(self, role: str, position: int, following: str) -> int:
        """Leaves an empty role out together with its preposition; a subject or an object becomes a pronoun."""
        done = self.done
        nobody = "someone" if role in PERSON_ROLES else "something"
        if done and done[-1] in _POSSESSIVES:
            done.pop()
        if following in ("of", "and", "or", "'s", "'"):
            rest = position + 2 + (self._token(position + 2) in _ARTICLES)
            noun_follows = following in ("and", "or") and done[-1:] and done[-1] in _PREPOSITIONS
            noun_follows = noun_follows and not self._token(rest).endswith("s") and not self._is_role(rest + 1)
            if self._is_role(rest) or noun_follows:  # "the PART of a WHOLE", "with a TOOL and foam"
                if following in ("'s", "'"):
                    done.append("the")
                return position + 1
        if done and done[-1] in ("and", "or", ",") and self.mentioned:
            done.pop()
        elif self.before_verb and not self.mentioned:
            self.done = [nobody]
            self.subjects += 1
        elif done and done[-1] in _PREPOSITIONS:
            self._drop_preposition()
            return position if self.before_verb else self._after_dropped(position)
        else:
            done.append(nobody)
        return position

    def _drop_preposition(self) -> None:
        done = self.done
        if done[-1] in ("of", "to") and len(done) > 1 and done[-2] in _PHRASE_TAILS:
            done.pop()  # "out of", "next to", "because of"
            if done[-1] in ("top", "front") and len(done) > 1:
                done.pop()
        done.pop()
        if done[-3:] == ["with", "the", "help"]:
            del done[-3:]
        if len(done) > 1 and done[-1] == "or" and done[-2] in _PREPOSITIONS:
            del done[-2:]  # "into or onto"

    def _after_dropped(self, position: int) -> int:
        """Skips what only described the role that was left out: "with a TOOL [that sucks in dust]"."""
        first = self._token(position + 1)
        if first == ",":  # "from a START, the open hands, down to": an apposition
            closing = next((p for p in range(position + 2, len(self.tokens)) if not self._token(p).islower()), 0)
            return closing if self._token(closing) == "," else position
        if first not in _DESCRIBING and not first.endswith("ed"):
            return position
        while (token := self._token(position + 1)).isalpha() and token != "and" and not self._is_role(position + 1):
            after = position + 2 + (self._token(position + 2) in _ARTICLES)
            if token in _PREPOSITIONS and (self._is_role(after) or self._is_role(after + 1)):
                break
            position += 1
        return position


def agree(verb: str, plural: bool) -> str:
    """A present-tense verb form in the number of its subject: feeds / feed, is / are, carries / carry."""
    irregular = {"is": "are", "has": "have", "does": "do", "goes": "go"}
    singular = verb in irregular or (verb.endswith("s") and not verb.endswith("ss"))
    if singular != plural:
        return verb
    if singular:
        if verb in irregular:
            return irregular[verb]
        if verb.endswith("ies") and len(verb) > 4:
            return f"{verb[:-3]}y"
        return verb[:-2] if re.search(r"(?:ch|sh|ss|x|zz|o)es$", verb) else verb[:-1]
    backwards = {base: form for form, base in irregular.items()}
    if verb in backwards:
        return backwards[verb]
    if re.search(r"[^aeiou]y$", verb):
        return f"{verb[:-1]}ies"
    return f"{verb}es" if re.search(r"(?:ch|sh|ss|x|z)$", verb) else f"{verb}s"


def progressive(name: str) -> str:
    """A verb's name as it follows "is": feeding, riding a bike; a base form gets its ending (ride, sit on)."""
    first, _, rest = name.replace("_", " ").strip().partition(" ")
    if not first.endswith("ing") or len(first) < 5:
        if re.search(r"[^aeiouy]e$|[^aeiou]ue$", first):
            first = first[:-1]
        elif re.fullmatch(r"[^aeiou]*[aeiou][bdgklmnprt]", first):
            first += first[-1]
        first += "ing"
    return f"{first} {rest}".strip()


def _from_roles(name: str, words: Mapping[str, str]) -> list[str]:
    """Agent, verb, objects, then the rest by preposition, the place last."""
    subject_role = next((role for role in SUBJECT_ROLES if role in words), None)
    subject = words.get(subject_role, "") if subject_role else ""
    others = {role: word for role, word in words.items() if word and role not in (subject_role, PLACE_ROLE)}
    objects = {role: word for role, word in others.items() if role not in ROLE_PREPOSITIONS}
    rest = {role: word for role, word in others.items() if role in ROLE_PREPOSITIONS}
    sentence = [noun_phrase(subject) if subject else "someone", "are" if subject and is_plural(subject) else "is"]
    sentence.append(progressive(name))
    for position, word in enumerate(objects.values()):
        repeated = word == subject or word in list(objects.values())[:position]
        sentence += ["and"] * (position > 0) + [_further(word) if repeated else noun_phrase(word)]
    return [*sentence, *_attachments(rest | {PLACE_ROLE: words.get(PLACE_ROLE, "")}, used={subject})]


def _further(word: str) -> str:
    phrase = noun_phrase(word)
    return f"another {word}" if phrase.startswith(("a ", "an ")) else phrase


def _attachments(words: Mapping[str, str], used: set[str] | None = None) -> list[str]:
    """Roles that follow the verb's object, each with its preposition; the place comes last."""
    parts: list[str] = []
    for role, word in words.items():
        if word and role != PLACE_ROLE:
            preposition = ROLE_PREPOSITIONS[role]
            joined = "and" if parts and parts[-2] == preposition else preposition
            parts += [
                joined if joined == preposition else "and",
                _further(word) if used and word in used else noun_phrase(word),
            ]
    place = words.get(PLACE_ROLE, "")
    return [*parts, place_phrase(place)] if place else parts


def _tidy(parts: list[str]) -> str:
    """One sentence without doubled spaces, stranded commas or a full stop."""
    text = " ".join(part for part in parts if part)
    text = re.sub(r"\s+([,.;:'])", r"\1", text)
    text = re.sub(r"(?:\s*,)+(?=,|\.|$)", "", text)
    text = re.sub(r"\s+(?:and|or)(?=[.,]|$)", "", text)
    return re.sub(r"\s{2,}", " ", text).strip(" .,;")
