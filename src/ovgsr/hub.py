"""Models of the Hugging Face hub as folders on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ovgsr.errors import OvgsrError, first_line


def download_model(
    name: str,
    failure: Callable[[str], OvgsrError],
    *,
    patterns: Sequence[str],
    ignored: Sequence[str] | None = None,
    revision: str | None = None,
) -> Path:
    """The folder of a model's files that match ``patterns``: from this machine's cache, or downloaded into it.

    Raises what ``failure`` makes of the reason where neither works.
    """
    from huggingface_hub import snapshot_download

    ignore = None if ignored is None else list(ignored)
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(patterns), ignore_patterns=ignore))
    except Exception as error:  # the Hub client raises a dozen kinds, from its own to those of its HTTP library
        raise failure(first_line(error)) from error
