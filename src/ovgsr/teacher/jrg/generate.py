"""Rationales for every training picture that has none: ask, check, keep or ask again, give up with a reason.

Resumable at any moment: what is on disk is not asked for again, and what was under way is asked for by the next run.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Protocol

from ovgsr.errors import OvgsrError
from ovgsr.inflections import mentions
from ovgsr.situation import AnnotatedImage
from ovgsr.teacher.jrg.facts import Facts
from ovgsr.teacher.jrg.parsing import Judgements, Rejected, judged, read_reply
from ovgsr.teacher.jrg.rationales import PictureRationales, Provenance, annotation_sha256
from ovgsr.teacher.jrg.store import Quarantined, StoreWriter
from ovgsr.teacher.jrg.validation import Reason
from ovgsr.teacher.llm.backend import LanguageModel, LlmError, LlmReply, LlmRequest

NO_REPLY = "no_reply"
"""The code of a picture that got no answer at all. It is not the picture's fault: the next run asks again."""
REFUSED, NO_PROMPT = "refused", "no_prompt"
USELESS = 100
"""So many pictures in quarantine one after the other end a run: the model cannot do it, and every try costs."""
SILENCE = 50
"""So many requests in a row without an answer, or refused, end a run: the server is at fault, not the pictures."""

_REPLY_TOKENS, _TEXT_TOKENS = 256, 90
"""A reply may have so many tokens, and so many for each text in it: twice what 35 words and their JSON take."""

Progress = Callable[[int, int, str | None], None]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a language model is asked about one picture."""

    system: str
    user: str
    schema: Mapping[str, Any] | None = None

    @property
    def sha256(self) -> str:
        """A fingerprint of all three parts."""
        text = json.dumps([self.system, self.user, self.schema], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Ask:
    """One attempt at one picture. ``complaints`` are what was wrong with the attempt before."""

    image: AnnotatedImage
    facts: Facts
    seed: int
    attempt: int = 1
    complaints: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt. ``ask_again`` is False where another attempt would get the same answer."""

    ask: Ask
    result: Judgements | Rejected
    reply: str
    prompt_sha256: str
    model: str
    ask_again: bool = True


class Author(Protocol):
    """Whoever writes: a language model with a template, or the writer that needs no model."""

    @property
    def name(self) -> str:
        """For the store: rationales of two authors are never mixed."""

    @property
    def is_llm(self) -> bool:
        """Whether a language model writes."""

    def answers(self, asks: Iterable[Ask]) -> Generator[Answer, None, None]:
        """One answer an ask, as they come; ``asks`` is consumed lazily. Closing it gives up what is under way."""


class PromptedAuthor:
    """A language model; ``prompt`` puts a picture into words for it."""

    def __init__(self, model: LanguageModel, prompt: Callable[[Ask], Prompt]) -> None:
        self._model = model
        self._prompt = prompt

    @property
    def name(self) -> str:
        """The model's name."""
        return self._model.name

    @property
    def is_llm(self) -> bool:
        """What the model says of itself."""
        return self._model.is_llm

    def answers(self, asks: Iterable[Ask]) -> Generator[Answer, None, None]:
        """Replies in the backend's order, parsed and judged. Raises LlmError where no request can succeed."""
        under_way: dict[str, tuple[Ask, str]] = {}
        unaskable: deque[Answer] = deque()

        def requests() -> Iterator[LlmRequest]:
            for ask in asks:
                try:
                    request, sha256 = self._request(ask)
                except OvgsrError as error:
                    unaskable.append(_unaskable(ask, error))
                    continue
                under_way[request.key] = (ask, sha256)
                yield request

        replies = self._model.replies(requests())
        try:
            for reply in replies:
                ask, sha256 = under_way.pop(reply.key)
                if isinstance(reply, LlmReply):
                    yield Answer(ask, read_reply(reply.text, ask.facts), reply.text, sha256, reply.model)
                else:
                    reason = Reason(NO_REPLY if reply.retryable else REFUSED, reply.reason)
                    yield Answer(ask, Rejected((reason,)), "", sha256, "", ask_again=reply.retryable)
                while unaskable:
                    yield unaskable.popleft()
            while unaskable:
                yield unaskable.popleft()
        finally:
            close = getattr(replies, "close", None)
            if close is not None:
                close()

    def _request(self, ask: Ask) -> tuple[LlmRequest, str]:
        prompt = self._prompt(ask)
        prompt = Prompt(prompt.system, prompt.user + _complaint_text(ask), prompt.schema)
        request = LlmRequest(
            key=f"{ask.image.file_name}#{ask.attempt}",
            system=prompt.system,
            user=prompt.user,
            schema=prompt.schema,
            seed=ask.seed,
            max_tokens=_REPLY_TOKENS + _TEXT_TOKENS * (1 + ask.facts.k) * (1 + len(ask.facts.fillers)),
        )
        return request, prompt.sha256


class OfflineAuthor:
    """A writer in this process, e.g. the template writer; its texts go through the same rules as a model's."""

    def __init__(self, name: str, fingerprint: str, write: Callable[[Ask], Judgements], *, is_llm: bool) -> None:
        self.name = name
        self.is_llm = is_llm
        self._fingerprint = fingerprint
        self._write = write

    def answers(self, asks: Iterable[Ask]) -> Generator[Answer, None, None]:
        """Written at once, in order."""
        for ask in asks:
            try:
                judgements = self._write(ask)
            except OvgsrError as error:
                yield _unaskable(ask, error)
                continue
            result = judged(judgements, ask.facts)
            reply = "" if isinstance(result, Judgements) else json.dumps(_plain(judgements), indent=1)
            yield Answer(ask, result, reply, self._fingerprint, self.name)


@dataclass
class GenerationReport:
    """What a run did. ``reasons`` counts codes of pictures quarantined in this run, one each a picture and code."""

    total: int = 0
    already: int = 0
    stale: int = 0
    quarantined_before: int = 0
    written: int = 0
    retried: int = 0
    quarantined: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    complaints: Counter[str] = field(default_factory=Counter)
    """Codes of every answer that could not be used, those mended by a later attempt included."""
    characters: int = 0
    seconds: float = 0.0
    example: PictureRationales | None = None


def generate(
    images: Sequence[AnnotatedImage],
    facts_of: Callable[[AnnotatedImage], Facts],
    author: Author,
    store: StoreWriter,
    *,
    attempts: int = 3,
    retry_quarantined: bool = False,
    progress: Progress | None = None,
    report: GenerationReport | None = None,
) -> GenerationReport:
    """Writes rationales for the pictures that have none from their annotation of today.

    ``report`` is filled as the run goes, so that a caller has the numbers of a run that was stopped. Raises LlmError
    where the language model cannot be used, fell silent or refuses every request; what was received is stored then, as
    after Ctrl-C.
    """
    run = _Run(facts_of, store, attempts, progress or (lambda done, total, note: None), report or GenerationReport())
    started = time.monotonic()
    try:
        run.to_do(images, retry_quarantined)
        while run.fresh or run.again:
            with closing(author.answers(run.asks())) as answers:
                for answer in answers:
                    run.take(answer)
    finally:
        store.flush()
        run.report.seconds += time.monotonic() - started
    return run.report


class _Run:
    def __init__(
        self,
        facts_of: Callable[[AnnotatedImage], Facts],
        store: StoreWriter,
        attempts: int,
        progress: Progress,
        report: GenerationReport,
    ) -> None:
        self.facts_of = facts_of
        self.store = store
        self.attempts = attempts
        self.progress = progress
        self.report = report
        self.fresh: deque[AnnotatedImage] = deque()
        self.again: deque[Ask] = deque()
        self.silent = 0
        self.given_up = 0  # in a row

    def to_do(self, images: Sequence[AnnotatedImage], retry_quarantined: bool) -> None:
        """Puts aside what is there already."""
        found, report = self.store.read(), self.report
        missing = found.missing(images)
        report.total, report.already = len(images), len(images) - len(missing)
        report.stale = len(found.stale(images))
        given_up: set[str] = set()
        if not retry_quarantined:
            entries = found.quarantined(missing).items()
            given_up = {name for name, entry in entries if entry.codes != (NO_REPLY,)}
        report.quarantined_before = len(given_up)
        self.fresh.extend(image for image in missing if image.file_name not in given_up)
        self._tell()

    def asks(self) -> Iterator[Ask]:
        """Second attempts first: a model that cannot do it is found out early, not at the end."""
        while self.again or self.fresh:
            if self.again:
                yield self.again.popleft()
            else:
                image = self.fresh.popleft()
                yield Ask(image, self.facts_of(image), picture_seed(self.store.identity.seed, image.file_name, 1))

    def take(self, answer: Answer) -> None:
        """Keeps an answer, or asks again, or gives the picture up."""
        ask, report = answer.ask, self.report
        if isinstance(answer.result, Judgements):
            self.silent = self.given_up = 0
            record = self._record(answer, answer.result)
            self.store.add(record)
            report.written += 1
            report.characters += sum(map(len, record.texts()))
            report.example = report.example or record
            self._tell()
            return
        reasons = answer.result.reasons
        report.complaints.update({reason.code for reason in reasons})
        answered = all(reason.code not in (NO_REPLY, REFUSED) for reason in reasons)
        self.silent = 0 if answered else self.silent + 1
        if answer.ask_again and ask.attempt < self.attempts:
            report.retried += 1
            number = ask.attempt + 1
            seed = picture_seed(self.store.identity.seed, ask.image.file_name, number)
            self.again.append(Ask(ask.image, ask.facts, seed, number, reasons if answered else ask.complaints))
        else:
            self._give_up(answer, reasons)
        if self.silent >= SILENCE:
            raise LlmError(
                f"the last {SILENCE} requests got no answer ({reasons[0].sentence}); what came before is stored. Look "
                "at the server, then run the same command again, with --retry-quarantined where requests were refused"
            )

    def _give_up(self, answer: Answer, reasons: tuple[Reason, ...]) -> None:
        image, report = answer.ask.image, self.report
        pairs = tuple((reason.code, reason.sentence) for reason in reasons)
        sha256 = annotation_sha256(image)
        self.store.quarantine(Quarantined(image.file_name, sha256, pairs, answer.reply, answer.ask.attempt))
        report.quarantined += 1
        report.reasons.update({reason.code for reason in reasons})
        self._tell()
        self.given_up += 1
        if self.given_up >= USELESS:
            raise LlmError(
                f"the last {USELESS} pictures were all quarantined, the last because {reasons[0].sentence}; what came "
                "before is stored. Try another model or template with --limit, or go on with --retry-quarantined"
            )

    def _record(self, answer: Answer, judgements: Judgements) -> PictureRationales:
        ask, identity = answer.ask, self.store.identity
        return PictureRationales(
            file_name=ask.image.file_name,
            annotation_sha256=annotation_sha256(ask.image),
            verb=ask.facts.verb,
            glimpse=judgements.glimpse,
            gazes=judgements.gazes,
            provenance=Provenance(
                template=identity.template,
                model=answer.model or identity.model,
                is_llm=identity.is_llm,
                seed=ask.seed,
                prompt_sha256=answer.prompt_sha256,
                attempts=ask.attempt,
            ),
        )

    def _tell(self) -> None:
        report = self.report
        done = report.already + report.quarantined_before + report.written + report.quarantined
        self.progress(done, report.total, f"{report.quarantined} quarantined" if report.quarantined else None)


def picture_seed(seed: int, file_name: str, attempt: int) -> int:
    """A seed of 31 bits for one attempt at one picture, whatever the order of the pictures."""
    digest = hashlib.sha256(f"{seed}/{file_name}/{attempt}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _complaint_text(ask: Ask) -> str:
    """What the next attempt is told. A sentence that quotes a forbidden verb out of the reply is reduced to its code:
    no prompt ever names one."""
    if not ask.complaints:
        return ""
    lines = [
        f"- {reason.code if mentions(reason.sentence, ask.facts.forbidden, ask.facts.nouns) else reason.sentence}"
        for reason in ask.complaints[:12]
    ]
    return "\n\n".join(["", "An earlier answer could not be used:\n" + "\n".join(lines), "Write the whole JSON anew."])


def _unaskable(ask: Ask, error: OvgsrError) -> Answer:
    """An annotation that makes no prompt (no role filled, an odd name) costs its picture, not the run."""
    return Answer(ask, Rejected((Reason(NO_PROMPT, str(error)),)), "", "", "", ask_again=False)


def _plain(judgements: Judgements) -> dict[str, Any]:
    """What an author wrote, for the quarantine."""
    texts: dict[str, Any] = {"glimpse": [judgements.glimpse.positive]}
    texts["glimpse"] += [[one.kind, one.wrong, one.text] for one in judgements.glimpse.negatives]
    texts["gazes"] = {
        role: [gaze.positive, *([one.kind, one.wrong, one.text] for one in gaze.negatives)]
        for role, gaze in judgements.gazes.items()
    }
    return texts
