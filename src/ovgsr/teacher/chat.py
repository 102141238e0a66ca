"""The text around a picture: a family's own chat format, and the tokens of an answer in the place where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ovgsr.teacher.loading import TeacherError, argument_names

_MARK = "OVGSRANSWER"


@dataclass(frozen=True)
class Continuation:
    """An answer's start and the candidates that go on from it, as token ids.

    ``dropped`` tokens of the prompt's end are replaced by ``start``: a tokenizer may join characters over the border.
    """

    dropped: int
    start: tuple[int, ...]
    candidates: tuple[tuple[int, ...], ...] = ()


class ChatFormat:
    """How one family is asked a question about a picture.

    A processor with a chat template is asked in it: one user turn with the picture first, then the assistant's turn.
    Without a template the prompt is the picture's placeholder, a newline, the question and a newline; PaliGemma, whose
    processor writes that format itself, gets the placeholder and the question.
    """

    def __init__(self, processor: Any) -> None:
        self._processor, self._tokenizer = processor, processor.tokenizer
        # The PaliGemma processors, and only they, take the text that follows a prefix: they write newline and start.
        self.has_prefix = "suffix" in argument_names(type(processor).__call__)
        self.placeholder: str = processor.image_token
        self._reserved = _steering_texts(processor)
        self._joint: str | None = None

    def prompt(self, question: str) -> str:
        """The text to be given to the processor, with one placeholder. Raises TeacherError for reserved words."""
        self.refuse_steering(question, "the question")
        if self._processor.chat_template:
            text = self._render(question)
            if text is not None:
                return text
        if self.has_prefix:
            return f"{self.placeholder}{question}"
        return f"{self.placeholder}\n{question}\n"

    def writes_start(self, prompt: str) -> bool:
        """Whether the prompt begins with the start-of-text token, which the tokenizer must then not add again."""
        start = self._tokenizer.bos_token
        return bool(start) and prompt.startswith(start)

    def continued(self, prompt: str, answer_start: str, candidates: Sequence[str] = ()) -> Continuation:
        """Token ids of ``answer_start`` after the prompt, and of each candidate after that.

        Every text is tokenised where it stands, with the prompt's end before it: "carrying" after "someone is" is the
        token of " carrying". A space is put between a word (or . , : ; ! ?) and a word. What tokens the
        contexts of all candidates share belongs to the start; the rest, at times a piece of its end that a tokenizer
        joins to what follows, is scored with each candidate, so that all are scored from the same place.

        Raises TeacherError for a candidate without a token of its own.
        """
        for text in (answer_start, *candidates):
            self.refuse_steering(text, "an answer")
        tail = prompt.rsplit(self.placeholder, 1)[-1] + ("\n" if self.has_prefix else "")
        asked = self._ids(tail)
        joint = self._join(prompt) if answer_start or candidates else ""
        context = tail + joint + answer_start if answer_start else tail
        ids = self._ids(context)
        if not candidates:
            shared = _common(asked, ids)
            return Continuation(len(asked) - shared, tuple(ids[shared:]))
        texts = [
            context + (_gap(answer_start, candidate) if answer_start else joint) + candidate for candidate in candidates
        ]
        spelled = [self._ids(text) for text in texts]
        shared = min(_common(ids, candidate) for candidate in spelled)
        kept = min(_common(asked, ids), shared)
        ends = tuple(tuple(candidate[shared:]) for candidate in spelled)
        for candidate, end in zip(candidates, ends, strict=True):
            if not candidate or not end:
                raise TeacherError(f"the candidate {candidate!r} has no token of its own; leave out empty candidates")
        return Continuation(len(asked) - kept, tuple(ids[kept:shared]), ends)

    def reply(self, start: Sequence[int], ids: Sequence[int]) -> str:
        """The text of generated ``ids`` after the answer's ``start``, special tokens left out."""
        before = self._decode(start)
        whole = self._decode([*start, *ids])
        if start and whole.startswith(before):
            return whole[len(before) :].rstrip()
        return self._decode(ids).strip()

    def refuse_steering(self, text: str, what: str) -> None:
        """Raises TeacherError where a text holds a token that would make a second picture or end the turn."""
        for reserved in self._reserved:
            if reserved in text:
                raise TeacherError(
                    f"{what} holds {reserved!r}, which is no text to this teacher but the place of a picture or the "
                    f"border of a turn; take it out of {text[:60]!r}"
                )

    def _render(self, question: str) -> str | None:
        turns = [self._turn(question)]
        try:
            text = str(self._processor.apply_chat_template(turns, add_generation_prompt=True))
        except Exception:  # a template is a program of the model's authors and may raise anything
            return None
        # Templates for text only write the list of parts as it is, or leave the picture out.
        return text if text.count(self.placeholder) == 1 else None

    def _turn(self, question: str) -> dict[str, Any]:
        asked = [{"type": "text", "text": question}] if question else []
        return {"role": "user", "content": [{"type": "image"}, *asked]}

    def _join(self, prompt: str) -> str:
        """What the chat template writes between the head of the assistant's turn and the answer: often one space."""
        if self._joint is None:
            self._joint = ""
            answered = {"role": "assistant", "content": [{"type": "text", "text": _MARK}]}
            head = self._render("") if self._processor.chat_template else None
            if head is not None:
                try:
                    whole = str(self._processor.apply_chat_template([self._turn(""), answered]))
                except Exception:  # as above
                    whole = ""
                between = whole.partition(_MARK)[0].removeprefix(head)
                if _MARK in whole and whole.startswith(head) and not between.strip():
                    self._joint = between
        return self._joint if not prompt[-1:].isspace() else ""

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))


def _gap(before: str, after: str) -> str:
    meets = bool(before) and (before[-1].isalnum() or before[-1] in ".,:;!?")
    return " " if meets and after[:1].isalnum() else ""


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    pairs = zip(first, second, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def _steering_texts(processor: Any) -> tuple[str, ...]:
    """Tokens that user text must not hold: of pictures and films, of a text's start and end, and of the chat template.

    Other added tokens, such as Qwen's for boxes, are words of the model and may be asked with.
    """
    tokenizer, template = processor.tokenizer, str(processor.chat_template or "")
    names = ("image_token", "video_token", "boi_token", "eoi_token", "fake_image_token", "global_image_tag")
    pictures = {str(getattr(owner, name, None) or "") for owner in (processor, tokenizer) for name in names}
    added = {token.content for token in tokenizer.added_tokens_decoder.values()}
    # Templates mostly write the ends by a variable (eos_token), so that their text does not hold them.
    turns = {text for text in added if text in template or text in (tokenizer.bos_token, tokenizer.eos_token)}
    return tuple(sorted((pictures | turns) - {""}))
