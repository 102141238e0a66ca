"""Whole runs: against a server that misbehaves, killed, stopped, resumed; and what must never get into a store."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.teacher.chat_server import PASSING, ChatServer, Fault, user_text
from tests.teacher.jrg.test_rationale_store import IDENTITY
from tests.teacher.replies import data_of, obedient_reply, reply_text, throwing_facts, throwing_picture

from ovgsr.data.swig import read_annotations, read_split, read_vocabulary, with_verbs
from ovgsr.situation import AnnotatedImage, GroundedNoun, Situation
from ovgsr.teacher.jrg.assignments import Assignments
from ovgsr.teacher.jrg.generate import (
    NO_REPLY,
    SILENCE,
    USELESS,
    Ask,
    Author,
    GenerationReport,
    OfflineAuthor,
    PromptedAuthor,
    generate,
    picture_seed,
)
from ovgsr.teacher.jrg.parsing import Judgements, read_reply
from ovgsr.teacher.jrg.rationales import RationaleError, annotation_sha256
from ovgsr.teacher.jrg.store import RationaleStore, StoreIdentity, StoreWriter
from ovgsr.teacher.jrg.templates import RationaleTemplate
from ovgsr.teacher.llm.backend import LlmError, LlmFailure, LlmReply, LlmRequest
from ovgsr.teacher.llm.openai_model import OpenAiModel
from ovgsr.verb_split import VerbSplit


class RestlessClock:
    """Waits for nothing, and lets a waiting thread's time pass."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.lock = threading.Lock()

    def now(self) -> float:
        with self.lock:
            return self.seconds

    def date(self) -> float:
        return self.now()

    def wait(self, seconds: float, stop: threading.Event) -> None:
        with self.lock:
            self.seconds += max(0.0, seconds)


class Scripted:
    """A language model whose answers a function makes; it counts what it was asked."""

    is_llm = True
    name = "scripted:1"

    def __init__(self, answer: Callable[[LlmRequest], str | LlmFailure]) -> None:
        self.answer = answer
        self.requests: list[LlmRequest] = []
        self.closed = 0

    def replies(self, requests: Iterable[LlmRequest]) -> Iterator[LlmReply | LlmFailure]:
        try:
            for request in requests:
                self.requests.append(request)
                found = self.answer(request)
                yield found if isinstance(found, LlmFailure) else LlmReply(request.key, found, "scripted")
        finally:
            self.closed += 1


@pytest.fixture(scope="module")
def training(sketch_root: Path) -> tuple[VerbSplit, tuple[AnnotatedImage, ...], Assignments]:
    split, vocabulary = read_split(sketch_root), read_vocabulary(sketch_root)
    assert split is not None
    images = with_verbs(read_annotations(sketch_root, "train"), split.training)
    return split, images, Assignments(vocabulary, split, images, _alike, k=2, seed=0)


def _alike(first: str, second: str) -> float:
    """Some similarity: the same in every process."""
    return random.Random("/".join(sorted((first, second)))).random()


Training = tuple[VerbSplit, tuple[AnnotatedImage, ...], Assignments]


def prompted(model: Any, training: Training) -> Author:
    return PromptedAuthor(model, training[2].prompt(RationaleTemplate.load()))


def run(folder: Path, author: Author, training: Training, **settings: Any) -> GenerationReport:
    images = settings.pop("images", training[1])
    with StoreWriter(folder, IDENTITY) as store:
        return generate(images, training[2].facts, author, store, **settings)


def obey(body: dict[str, Any]) -> str:
    return json.dumps(obedient_reply(data_of(user_text(body))))


def stored(folder: Path) -> dict[str, dict[str, Any]]:
    """Every record by picture, without where it comes from; a picture twice is an error."""
    found: dict[str, dict[str, Any]] = {}
    for path in folder.glob("rationales*.jsonl"):
        for line in path.read_bytes().splitlines():
            record = json.loads(line)
            assert record["file_name"] not in found
            del record["provenance"]
            found[record["file_name"]] = record
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, training: Training) -> Path:
    """A store made through a server without faults."""
    folder = tmp_path_factory.mktemp("stores") / "undisturbed"
    with ChatServer(obey) as server:
        report = run(folder, prompted(_client(server), training), training)
    assert (report.written, report.retried, report.quarantined) == (120, 0, 0)
    return folder


def _client(server: ChatServer) -> OpenAiModel:
    return OpenAiModel("tiny-chat", server.base_url, concurrency=4, clock=RestlessClock(), jitter=random.Random(0))


@pytest.mark.parametrize("share", [0.01, 0.2], ids=["1 %", "20 %"])
def test_a_misbehaving_server_changes_nothing(
    tmp_path: Path, training: Training, undisturbed: Path, share: float
) -> None:
    rng = random.Random(5)
    faults: list[Fault | None] = [rng.choice(PASSING) if rng.random() < share else None for _ in range(2000)]
    bad = ["no JSON at all", "{}", reply_text(), '{"glimpse": 3, "gazes": []}', "{" * 2000]
    turns: dict[str, int] = {}

    def answer(body: dict[str, Any]) -> str:
        data = data_of(user_text(body))
        key = json.dumps(data)
        turns[key] = turns.get(key, 0) + 1
        lot = random.Random(f"{key}/{turns[key]}")
        if turns[key] < 3 and lot.random() < share:
            return lot.choice(bad)
        if turns[key] < 3 and lot.random() < share:  # an unseen verb, well hidden in a good reply
            good = obedient_reply(data)
            good["glimpse"]["negatives"][0]["text"] += " Nobody lifts anything."
            return json.dumps(good)
        return json.dumps(obedient_reply(data))

    with ChatServer(answer, lambda number: faults[number]) as server:
        report = run(tmp_path / "s", prompted(_client(server), training), training)
    assert report.written == 120
    assert report.quarantined == 0
    assert 100 * share <= report.retried <= sum(report.complaints.values())
    assert stored(tmp_path / "s") == stored(undisturbed)  # same pictures, same texts; nothing twice, nothing lost


def test_an_unseen_verb_is_asked_about_again_and_then_quarantined(tmp_path: Path, training: Training) -> None:
    stubborn = training[1][0].file_name

    def answer(request: LlmRequest) -> str:
        good = obedient_reply(data_of(request.user))
        if request.key.startswith(stubborn):
            good["glimpse"]["negatives"][0]["text"] += " Nobody was feeding it."
        return json.dumps(good)

    model = Scripted(answer)
    report = run(tmp_path, prompted(model, training), training, images=training[1][:4], attempts=3)
    assert (report.written, report.retried, report.quarantined) == (3, 2, 1)
    assert report.reasons == {"unseen_verb": 1}
    asked = [request for request in model.requests if request.key.startswith(stubborn)]
    assert len(asked) == 3
    assert len({request.seed for request in asked}) == 3
    assert "word 13 of glimpse.negatives[0].text" not in asked[0].user
    assert "An earlier answer could not be used" in asked[1].user
    assert not re.search(r"\bfe+d", asked[1].user.rsplit("An earlier answer", 1)[1])  # no prompt names an unseen verb
    entry = RationaleStore.open(tmp_path).quarantined()[stubborn]
    assert entry.codes == ("unseen_verb",)
    assert entry.attempts == 3
    assert "Nobody was feeding it." in entry.reply
    assert stubborn not in RationaleStore.open(tmp_path)
    again = run(tmp_path, prompted(model, training), training, images=training[1][:4])
    assert (again.already, again.quarantined_before, again.written) == (3, 1, 0)
    docile = Scripted(lambda request: json.dumps(obedient_reply(data_of(request.user))))
    mended = run(tmp_path, prompted(docile, training), training, images=training[1][:4], retry_quarantined=True)
    assert (mended.already, mended.written) == (3, 1)
    assert not RationaleStore.open(tmp_path).quarantined()


def test_a_picture_without_an_answer_is_asked_about_again_by_the_next_run(tmp_path: Path, training: Training) -> None:
    images = training[1][:3]

    def answer(request: LlmRequest) -> str | LlmFailure:
        if request.key.startswith(images[1].file_name):
            return LlmFailure(request.key, "the connection was cut", retryable=True)
        if request.key.startswith(images[2].file_name):
            return LlmFailure(request.key, "the content filter refused it", retryable=False)
        return json.dumps(obedient_reply(data_of(request.user)))

    model = Scripted(answer)
    report = run(tmp_path, prompted(model, training), training, images=images, attempts=2)
    assert (report.written, report.quarantined) == (1, 2)
    assert report.reasons == {NO_REPLY: 1, "refused": 1}
    assert len(model.requests) == 1 + 2 + 1  # a refusal is not asked again
    first, second = [request for request in model.requests if request.key.startswith(images[1].file_name)]
    assert first.user == second.user  # silence is no fault of the answer, so nothing is complained about
    docile = Scripted(lambda request: json.dumps(obedient_reply(data_of(request.user))))
    again = run(tmp_path, prompted(docile, training), training, images=images)
    assert (again.already, again.written, again.quarantined_before) == (1, 1, 1)


def test_a_silent_server_ends_the_run(tmp_path: Path, training: Training) -> None:
    good = {image.file_name for image in training[1][:2]}

    def answer(request: LlmRequest) -> str | LlmFailure:
        if request.key.partition("#")[0] in good:
            return json.dumps(obedient_reply(data_of(request.user)))
        return LlmFailure(request.key, "out of order", retryable=True)

    model = Scripted(answer)
    with pytest.raises(LlmError, match=rf"the last {SILENCE} requests got no answer \(out of order\)"):
        run(tmp_path, prompted(model, training), training)
    assert len(model.requests) == 2 + SILENCE
    assert model.closed == 1
    assert set(stored(tmp_path)) == good


def test_a_server_that_refuses_everything_ends_the_run(tmp_path: Path, training: Training) -> None:
    """A context that is too short for any prompt must not put a whole data set into quarantine."""
    model = Scripted(lambda request: LlmFailure(request.key, "the prompt does not fit", retryable=False))
    with pytest.raises(LlmError, match=r"\(the prompt does not fit\).*--retry-quarantined"):
        run(tmp_path, prompted(model, training), training)
    assert len(model.requests) == SILENCE


def test_a_model_that_cannot_do_it_ends_the_run(tmp_path: Path, training: Training) -> None:
    """Replies come, and none can be used: the rest of the data set is not paid for."""
    images = [replace(training[1][0], file_name=f"throwing_{number}.jpg") for number in range(USELESS + 20)]
    model = Scripted(lambda request: "I am sorry, but no.")
    with pytest.raises(LlmError, match=rf"the last {USELESS} pictures were all quarantined.*--retry-quarantined"):
        run(tmp_path, prompted(model, training), training, images=images, attempts=2)
    assert len(RationaleStore.open(tmp_path).quarantined()) == USELESS


def test_an_annotation_that_makes_no_prompt_costs_its_picture_only(tmp_path: Path, training: Training) -> None:
    image = training[1][0]
    empty = {role: GroundedNoun("", None, annotators=("", "", "")) for role in image.situation.roles}
    bare = replace(image, situations=(Situation(image.situation.verb, empty),))
    model = Scripted(lambda request: json.dumps(obedient_reply(data_of(request.user))))
    for number, images in enumerate([(bare,), (bare, training[1][1])]):
        report = run(tmp_path / str(number), prompted(model, training), training, images=images)
        assert (report.written, report.reasons) == (len(images) - 1, {"no_prompt": 1})
    assert "empty" in RationaleStore.open(tmp_path / "1").quarantined()[image.file_name].reasons[0][1]


def test_a_stale_annotation_is_written_about_anew(tmp_path: Path, training: Training) -> None:
    images = list(training[1][:5])
    model = Scripted(lambda request: json.dumps(obedient_reply(data_of(request.user))))
    run(tmp_path, prompted(model, training), training, images=images)
    situation = images[2].situation
    role = next(role for role, noun in situation.nouns.items() if noun.noun)
    answers = (situation.nouns[role].noun,) * 3
    nouns = dict(situation.nouns) | {role: replace(situation.nouns[role], annotators=answers, box_xyxy=None)}
    images[2] = replace(images[2], situations=(replace(situation, nouns=nouns),))
    model.requests.clear()
    report = run(tmp_path, prompted(model, training), training, images=images)
    assert (report.stale, report.already, report.written) == (1, 4, 1)
    assert [request.key for request in model.requests] == [f"{images[2].file_name}#1"]
    record = RationaleStore.open(tmp_path).read(images)[images[2].file_name]
    assert record.annotation_sha256 == annotation_sha256(images[2])
    assert len(RationaleStore.open(tmp_path).read(images)) == 5


def test_ctrl_c_keeps_what_was_received(tmp_path: Path, training: Training) -> None:
    report = GenerationReport()

    def answer(request: LlmRequest) -> str:
        if len(model.requests) == 8:
            raise KeyboardInterrupt
        return json.dumps(obedient_reply(data_of(request.user)))

    model = Scripted(answer)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, prompted(model, training), training, report=report)
    assert report.written == len(stored(tmp_path)) == 7
    assert model.closed == 1


def test_retries_come_first_and_progress_is_told(tmp_path: Path, training: Training) -> None:
    """A model that cannot do it is found out after a few pictures, not after all of them."""
    calls: list[tuple[int, int, str | None]] = []
    model = Scripted(lambda request: "no")
    images = training[1][:3]
    run(tmp_path, prompted(model, training), training, images=images, attempts=2, progress=lambda *c: calls.append(c))
    assert [request.key.partition("#")[2] for request in model.requests] == ["1", "2"] * 3
    assert calls == [(0, 3, None), (1, 3, "1 quarantined"), (2, 3, "2 quarantined"), (3, 3, "3 quarantined")]


def test_seeds_follow_from_picture_and_attempt() -> None:
    seeds = {picture_seed(s, name, attempt) for s in (0, 1) for name in ("a.jpg", "b.jpg") for attempt in (1, 2)}
    assert len(seeds) == 8
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert picture_seed(0, "a.jpg", 1) == picture_seed(0, "a.jpg", 1)


def test_an_offline_writer_is_judged_like_any_other(tmp_path: Path) -> None:
    good = read_reply(reply_text(), throwing_facts())
    assert isinstance(good, Judgements)
    seeds: list[int] = []

    def write(ask: Ask) -> Judgements:
        seeds.append(ask.seed)
        if ask.attempt == 1 or ask.image.file_name == "throwing_2.jpg":
            return replace(good, glimpse=replace(good.glimpse, positive="A man lifts a rubber ball in a park."))
        return good

    author = OfflineAuthor("template:jrg-1", "f" * 64, write, is_llm=False)
    images = [throwing_picture(1), throwing_picture(2)]
    with StoreWriter(tmp_path, IDENTITY) as store:
        report = generate(images, throwing_facts, author, store, attempts=2)
    assert (report.written, report.retried, report.quarantined) == (1, 2, 1)
    assert report.complaints == {"unseen_verb": 3}
    record = RationaleStore.open(tmp_path).read()["throwing_1.jpg"]
    assert record.provenance.attempts == 2
    assert record.provenance.seed == seeds[1]
    assert record.provenance.prompt_sha256 == "f" * 64
    assert not record.provenance.is_llm
    assert "lifts a rubber ball" in RationaleStore.open(tmp_path).quarantined()["throwing_2.jpg"].reply


def test_a_store_of_another_split_is_refused(tmp_path: Path, training: Training) -> None:
    identity = replace(IDENTITY, split_sha256=training[0].fingerprint)
    StoreWriter(tmp_path, identity).close()
    moved = replace(training[0], seen=(*training[0].seen, "feeding"), unseen=training[0].unseen[:0])
    with pytest.raises(RationaleError, match="'split_sha256'"):
        StoreWriter(tmp_path, replace(identity, split_sha256=moved.fingerprint))


KILLED = """
import sys, time
from pathlib import Path
from ovgsr.teacher.jrg.generate import OfflineAuthor, generate
from ovgsr.teacher.jrg.parsing import read_reply
from tests.teacher.replies import reply_text, throwing_facts, throwing_picture
from tests.teacher.jrg.test_rationale_store import IDENTITY, StoreWriter

good = read_reply(reply_text(), throwing_facts())

def write(ask):
    time.sleep(0.005)
    return good

with StoreWriter(Path(sys.argv[1]), IDENTITY) as store:
    images = [throwing_picture(number) for number in range(int(sys.argv[2]))]
    author = OfflineAuthor("slow", "e" * 64, write, is_llm=False)
    print(generate(images, throwing_facts, author, store).already, flush=True)
"""


def test_killed_in_the_middle_and_started_again(tmp_path: Path) -> None:
    count, folder, root = 400, tmp_path / "s", Path(__file__).parents[3]
    command = [sys.executable, "-c", KILLED, str(folder), str(count)]
    for wanted in (40, 150):
        process = subprocess.Popen(command, cwd=root)
        while process.poll() is None and _lines(folder) < wanted:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) == -signal.SIGKILL
        assert wanted <= _lines(folder) < count
    before = _lines(folder)
    with (folder / "rationales.jsonl").open("ab") as stream:
        stream.write(b'{"file_name": "throwing_399.jpg", "annotation_sha')  # what a kill in the middle of a line leaves
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=120)
    assert int(done.stdout) == before  # nothing asked twice
    assert set(stored(folder)) == {f"throwing_{number}.jpg" for number in range(count)}  # stored() refuses twins


def _lines(folder: Path) -> int:
    path = folder / "rationales.jsonl"
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def test_a_hostile_reply_stays_in_its_record(tmp_path: Path, training: Training) -> None:
    names = [image.file_name for image in training[1][:4]]
    line = json.dumps({"file_name": names[3], "annotation_sha256": "0" * 64, "verb": "x"})
    hostile = f'"}}\n{line}\n\x00\u2028{line}\ud83d' + "{" * 5000

    def answer(request: LlmRequest) -> str:
        if request.key.startswith(names[0]):
            return hostile
        good = obedient_reply(data_of(request.user))
        if request.key.startswith(names[1]):
            good["../../etc/store.json"] = hostile
        if request.key.startswith(names[2]):
            good["glimpse"]["positive"] = hostile
        return json.dumps(good)

    run(tmp_path / "s", prompted(Scripted(answer), training), training, images=training[1][:4], attempts=2)
    store = RationaleStore.open(tmp_path / "s")
    assert list(store.read()) == [names[3]]
    assert {name: entry.codes for name, entry in store.quarantined().items()} == {
        names[0]: ("no_json",),
        names[1]: ("unknown_field",),
        names[2]: ("too_long",),
    }
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    allowed = {"store.json", "store.lock", "rationales.jsonl", "rationales.lock", "quarantine.jsonl"}
    assert {path.name for path in (tmp_path / "s").iterdir()} == allowed


def test_facts_do_not_depend_on_what_else_is_asked(training: Training) -> None:
    _, images, assignments = training
    alone = Assignments(assignments.vocabulary, assignments.split, images, _alike, k=2, seed=0)
    assert alone.facts(images[7]) == assignments.facts(images[7])
    other = Assignments(assignments.vocabulary, assignments.split, images, _alike, k=2, seed=1)
    assert any(other.facts(image).offered != assignments.facts(image).offered for image in images[:20])
    training_verbs = set(assignments.split.training)
    for image in images:
        facts = assignments.facts(image)
        assert facts.verb not in facts.offered
        assert len(facts.offered) == len(set(facts.offered)) == 2
        assert training_verbs.issuperset(facts.offered)


def test_the_identity_is_written_down(tmp_path: Path) -> None:
    StoreWriter(tmp_path, IDENTITY).close()
    record = json.loads((tmp_path / "store.json").read_text())
    assert record.pop("format") == "ovgsr-rationales-1"
    assert StoreIdentity(**record) == IDENTITY
