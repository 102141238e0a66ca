"""Tests of ``ovgsr.evaluation``."""
