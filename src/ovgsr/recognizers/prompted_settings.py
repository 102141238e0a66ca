"""How a multimodal LLM is asked when it is the recognizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ovgsr.errors import OvgsrError

VerbReadout = Literal["likelihood", "caption"]
RoleReadout = Literal["json", "likelihood"]
VerbCalibration = Literal["none", "blank", "pictures"]


class PromptError(OvgsrError):
    """A setting of the prompted recognizer that cannot be used."""


@dataclass(frozen=True, slots=True)
class PromptSettings:
    """The questions and the way the answers are read. Raises PromptError on a value that means nothing."""

    verb_readout: VerbReadout = "likelihood"
    """``caption``: verbs that the model's own caption names come first; the likelihood ranks them and the rest."""
    role_readout: RoleReadout = "json"
    """``json``: one reply a frame, with boxes; ``likelihood``: every noun scored as the end of a sentence."""
    question: str = "what is happening?"
    subject: str = "someone"
    """The likelihood of a verb is that of "carrying" after "someone is"."""
    per_token: bool = False
    """Log-likelihoods divided by the number of tokens, for verbs and nouns."""
    calibration: VerbCalibration = "none"
    """Verb likelihoods divided by those on a grey picture (``blank``) or on reference pictures (``pictures``)."""
    shortlist: int = 100
    """The most nouns whose full likelihood is computed for one role."""
    ask_boxes: bool | None = None
    """One question more a role that was read by likelihood, for its box; None: only where the family detects."""
    batch_pictures: int = 8
    batch_candidates: int = 64
    caption_tokens: int = 40
    reply_tokens: int = 384

    def __post_init__(self) -> None:
        choices = {"verb_readout": VerbReadout, "role_readout": RoleReadout, "calibration": VerbCalibration}
        for name, kind in choices.items():
            if getattr(self, name) not in get_args(kind):
                raise PromptError(f"{name} must be one of {', '.join(get_args(kind))}, not {getattr(self, name)!r}")
        for name in ("shortlist", "batch_pictures", "batch_candidates", "caption_tokens", "reply_tokens"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise PromptError(f"{name} must be a whole number of at least 1, not {value!r}")
        for name in ("question", "subject"):
            if not str(getattr(self, name)).strip():
                raise PromptError(f"{name} must be words, not empty")
