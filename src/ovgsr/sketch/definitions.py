"""What each verb means, in words: read from `definitions.toml`, which is what an open-vocabulary model reads."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class RoleText:
    """Frame element and definition of one role."""

    framenet: str
    definition: str


@dataclass(frozen=True, slots=True)
class VerbText:
    """Definition texts of one verb; `roles` and the keys of `role_texts` are in frame order."""

    verb: str
    framenet: str
    definition: str
    abstract: str
    role_texts: Mapping[str, RoleText]

    @property
    def roles(self) -> tuple[str, ...]:
        """The frame: role names in order."""
        return tuple(self.role_texts)


@cache
def definitions() -> Mapping[str, VerbText]:
    """Verb -> its texts, in the order of the file."""
    text = resources.files(__package__).joinpath("definitions.toml").read_text(encoding="utf-8")
    found = {}
    for verb, entry in tomllib.loads(text).items():
        roles = {role: RoleText(framenet, words) for role, framenet, words in entry["roles"]}
        found[verb] = VerbText(verb, entry["framenet"], entry["def"], entry["abstract"], MappingProxyType(roles))
    return MappingProxyType(found)
