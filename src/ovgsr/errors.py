"""The one ancestor of every error that bad input causes: its message is a sentence for the user."""

from __future__ import annotations


class OvgsrError(ValueError):
    """Bad input; the message names the file, the field and the remedy. The command line prints it and exits with 1."""


def first_line(error: BaseException) -> str:
    """What another library's error says in its first line, its class where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip()
