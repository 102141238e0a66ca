"""Tests of reading, checking, augmenting and batching annotated pictures."""
