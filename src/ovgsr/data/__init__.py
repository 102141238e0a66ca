"""Data sets: reading, checking, augmenting and batching annotated pictures."""
