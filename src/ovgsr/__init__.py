"""Open-vocabulary grounded situation recognition: a verb, who and what takes part, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovgsr.situation import AnnotatedImage, Frame, GroundedNoun, ImagePrediction, Situation
from ovgsr.verb_split import VerbSplit
from ovgsr.vocabulary import Noun, Verb, Vocabulary, swig_vocabulary

if TYPE_CHECKING:
    from ovgsr.recognizers.student import SituationRecognizer

__version__ = "0.1.0"

__all__ = [
    "AnnotatedImage",
    "Frame",
    "GroundedNoun",
    "ImagePrediction",
    "Noun",
    "Situation",
    "SituationRecognizer",
    "Verb",
    "VerbSplit",
    "Vocabulary",
    "swig_vocabulary",
]


def __getattr__(name: str) -> Any:
    """``SituationRecognizer`` on first use: importing torch takes seconds that the other names do not need."""
    if name == "SituationRecognizer":
        from ovgsr.recognizers.student import SituationRecognizer

        return SituationRecognizer
    raise AttributeError(f"module 'ovgsr' has no attribute {name!r}")
