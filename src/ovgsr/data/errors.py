"""The one exception that reading a data set raises."""


class DataError(ValueError):
    """A data set that cannot be used; the sentence names the file, the field and the remedy."""
