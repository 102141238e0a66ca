"""The embedded teacher's pretraining: its token sequences, its losses, and going on after a kill."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image

from ovgsr.sketch.broad_corpus import draw_captioned
from ovgsr.teacher.tiny_llava import build_processor, conversation_ids, train_tokenizer
from ovgsr.training.engine import Engine
from ovgsr.training.teacher_pretraining import Pretraining, PretrainingError, PretrainingPlan


class Drawn:
    """A corpus of a few pictures in memory."""

    def __init__(self, count: int) -> None:
        self.drawn = [draw_captioned(3, index) for index in range(count)]

    def __len__(self) -> int:
        return len(self.drawn)

    def picture(self, index: int) -> npt.NDArray[np.uint8]:
        return np.asarray(self.drawn[index].image)

    def conversation(self, index: int) -> Sequence[tuple[str, str]]:
        return [(turn.question, turn.answer) for turn in self.drawn[index].turns]


@pytest.fixture(autouse=True)
def a_process_of_no_precision() -> Iterator[None]:
    """accelerate fixes one precision a process; the pretraining's differs from other tests' on some machines."""
    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


@pytest.fixture(scope="module")
def corpus() -> Drawn:
    return Drawn(40)


PLAN = PretrainingPlan(word_steps=2, caption_steps=4, batch_size=8, warm_up=1, held_out=8)


class Stopped(Exception):
    pass


def stop_at(step: int) -> object:
    def observe(record: dict[str, object]) -> None:
        if record["step"] == step:
            raise Stopped

    return observe


def losses(folder: Path) -> dict[int, float]:
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {record["step"]: record["loss"] for record in records if "loss" in record}


def test_a_killed_run_goes_on_as_if_never_killed(corpus: Drawn, tmp_path: Path) -> None:
    Pretraining(corpus, tmp_path / "whole", PLAN).run(save_every=1, log_every=1)
    with pytest.raises(Stopped):
        Pretraining(corpus, tmp_path / "cut", PLAN).run(stop_at(4), save_every=1, log_every=1)  # type: ignore[arg-type]
    Pretraining(corpus, tmp_path / "cut", PLAN).run(save_every=1, log_every=1)
    assert losses(tmp_path / "cut") == pytest.approx(losses(tmp_path / "whole"))
    assert sorted(losses(tmp_path / "whole")) == [1, 2, 3, 4, 5, 6]
    with pytest.raises(PretrainingError, match="batch_size"):
        Pretraining(corpus, tmp_path / "cut", PretrainingPlan(word_steps=2, caption_steps=4, batch_size=4, held_out=8))


def test_the_teacher_is_a_model_that_transformers_opens(corpus: Drawn, tmp_path: Path) -> None:
    run = Pretraining(corpus, tmp_path, PLAN)
    run.save_teacher(tmp_path / "teacher")
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "teacher", dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(tmp_path / "teacher")
    turns = corpus.conversation(0)
    messages = []
    for position, (question, answer) in enumerate(turns):
        picture = [{"type": "image"}] if position == 0 else []
        messages += [
            {"role": "user", "content": [*picture, {"type": "text", "text": question}]},
            {"role": "assistant", "content": [{"type": "text", "text": answer}]},
        ]
    inputs = processor(
        images=[Image.fromarray(corpus.picture(0))],
        text=[processor.apply_chat_template(messages)],
        return_tensors="pt",
    )
    ids, answered = conversation_ids(run.tokenizer, turns)
    assert inputs["input_ids"][0].tolist() == ids  # the sequences trained on are those that a user's prompt gives
    torch.testing.assert_close(inputs["pixel_values"], run._pixels([0]), atol=0.03, rtol=0)  # Pillow rounds to bytes
    with torch.no_grad():
        logits = model(**inputs).logits[0, :-1].float()
        run.captions.eval()
        loss, _ = run._forward(run.captions, 1, [0])
        words = torch.nn.functional.cross_entropy(
            run.words.head(run.model.model.vision_tower(run._pixels([0])).last_hidden_state.mean(1)),
            run._word_targets([0]),
        )
    wanted = torch.tensor(ids)[1:]
    mask = torch.tensor(answered)[1:]
    alone = torch.nn.functional.cross_entropy(logits[mask], wanted[mask])
    assert float(loss) == pytest.approx(float(alone + PLAN.word_weight * words), rel=0.02)  # bfloat16 on some machines


def test_every_common_word_is_one_token_and_any_text_can_be_spelt(corpus: Drawn) -> None:
    texts = [text for index in range(len(corpus)) for turn in corpus.conversation(index) for text in turn]
    tokenizer = train_tokenizer(texts)
    assert len(tokenizer.encode(" what is happening", add_special_tokens=False)) == 3
    for text in (" Zwölf 象!", " <|assistant|>"):  # unknown words; a chat marker is a token of its own
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)).strip() == text.strip().lower()
    processor = build_processor(tokenizer)
    assert processor.apply_chat_template([{"role": "user", "content": "hello"}]) == "<s><|user|> hello"


def test_a_corpus_that_is_too_small_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PretrainingError, match="fewer than the 1000 held out"):
        Pretraining(Drawn(3), tmp_path, PretrainingPlan())


def test_one_batch_of_all_processes_must_fit(corpus: Drawn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits = PretrainingPlan(word_steps=2, caption_steps=4, batch_size=16, held_out=8)  # 8 + 2 * 16 = 40 pictures
    monkeypatch.setattr(Engine, "processes", property(lambda engine: 2))
    run = Pretraining(corpus, tmp_path / "fits", fits)
    assert len(next(run._batches(0, 0))) == 16
    with pytest.raises(PretrainingError, match="fewer than the 9 held out and one batch of 32"):
        Pretraining(corpus, tmp_path / "large", replace(fits, held_out=9))
