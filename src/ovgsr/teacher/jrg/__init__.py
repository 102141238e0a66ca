"""Judgmental rationale generation: what is asked of an LLM about each training picture, checked and kept."""
