"""Every verb that can be drawn, gathered from the files they are grouped in."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from ovgsr.sketch import verbs_body, verbs_cleaning, verbs_company, verbs_mouth, verbs_moving, verbs_tools
from ovgsr.sketch.registry import VerbSketch, sketches

GROUPS = (verbs_moving, verbs_mouth, verbs_cleaning, verbs_tools, verbs_body, verbs_company)
"""The modules that register the verbs when they are imported."""


@cache
def verb_sketches() -> Mapping[str, VerbSketch]:
    """Verb -> its spatial grammar."""
    return MappingProxyType(dict(sketches()))
