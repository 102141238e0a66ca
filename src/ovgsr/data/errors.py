"""The one exception that reading a data set raises."""

from __future__ import annotations

from ovgsr.errors import OvgsrError


class DataError(OvgsrError):
    """A data set that cannot be used; the sentence names the file, the field and the remedy."""
