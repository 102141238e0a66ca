"""Tests of ``ovgsr.teacher``."""
