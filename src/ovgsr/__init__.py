"""Open-vocabulary grounded situation recognition: a verb, who and what takes part, and where."""

from __future__ import annotations

from ovgsr.situation import AnnotatedImage, Frame, GroundedNoun, ImagePrediction, Situation
from ovgsr.vocabulary import Noun, Verb, VerbSplit, Vocabulary, swig_vocabulary

__version__ = "0.1.0"

__all__ = [
    "AnnotatedImage",
    "Frame",
    "GroundedNoun",
    "ImagePrediction",
    "Noun",
    "Situation",
    "Verb",
    "VerbSplit",
    "Vocabulary",
    "swig_vocabulary",
]
