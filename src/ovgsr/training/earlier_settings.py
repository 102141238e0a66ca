"""Settings that an earlier version wrote down, read as what they meant then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ovgsr.config import Config

_PAIRS = {"repeats": 1}
_TAUGHT_PAIRS = {"view_boxes": False, "agreeing": False, "shape_features": True}
"""What pair students did before these settings came: not their defaults. The second kind means nothing untaught."""


def completed(kept: Mapping[str, Any], *, taught: bool) -> dict[str, Any]:
    """Settings as ``config.json`` keeps them, with what the version that wrote them did for those that it lacks.

    That is a setting's default, but for a few of pairs. ``taught``: the run learns from a teacher's readings.
    """
    earlier: dict[str, Any] = {}
    if kept.get("task") == "interactions":
        earlier = {"pairs": _PAIRS | (_TAUGHT_PAIRS if taught else {})}
    whole: dict[str, Any] = {}
    for name, default in Config().model_dump(mode="json").items():
        own = kept.get(name, default)
        fills = isinstance(default, dict) and isinstance(own, Mapping)
        whole[name] = {**default, **earlier.get(name, {}), **own} if fills else own
    return {**kept, **whole}
