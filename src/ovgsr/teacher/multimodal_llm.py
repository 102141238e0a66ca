"""The frozen multimodal LLM: any Hugging Face image-text-to-text model that puts picture tokens into an LLM's inputs.

LLaVA (1.5, NeXT, OneVision), Qwen2-VL to Qwen3-VL, InternVL, PaliGemma, Gemma 3, SmolVLM and whatever comes: what
differs between families is asked of the installed code and of the model's own processor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ovgsr.teacher.chat import ChatFormat, Continuation
from ovgsr.teacher.language_model import FrozenLanguageModel, Prefix, Prompt
from ovgsr.teacher.loading import LoadedTeacher, Precision, TeacherError, image_token_id, load_teacher
from ovgsr.teacher.soft_tokens import bias_over_prefix, soft_of_each, toward_picture
from ovgsr.teacher.visual_tokens import Shown, VisualTokens, show

__all__ = ["MultimodalLLM", "Precision", "TeacherError", "VisualTokens"]

_PICTURES_AT_ONCE = 16
"""Prompts that are read together while scoring and generating: bounds the memory of their keys and values."""
_PROMPTS_KEPT = 256

Visual = Tensor | VisualTokens
"""A picture's projector-level tokens (M, D). A bare tensor has no grid: families with positions in rows and columns
(Qwen-VL) take it for the grid nearest to a square, and Qwen3-VL goes without its DeepStack features."""


class MultimodalLLM:
    """A frozen teacher: it shows its visual tokens, answers, scores answers, and runs learned soft tokens."""

    def __init__(self, name: str, loaded: LoadedTeacher) -> None:
        self.name = name
        self.fingerprint = loaded.fingerprint
        self.precision = loaded.precision
        self.model, self.processor = loaded.model, loaded.processor
        self._chat = ChatFormat(loaded.processor)
        self._llm = FrozenLanguageModel(loaded.model, has_prefix=self._chat.has_prefix)
        self._image_id = image_token_id(loaded.model.config) or 0
        self._blank: dict[str, Shown] = {}

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        device: str | torch.device | None = None,
        precision: Precision = "auto",
        revision: str | None = None,
    ) -> MultimodalLLM:
        """The teacher of a folder or of a Hub name, on ``device`` (the accelerator where there is one).

        Raises TeacherError where it is missing, has no safetensors weights, or is of a kind that cannot be used.
        """
        return cls(str(name), load_teacher(name, device=device, precision=precision, revision=revision))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return torch.device(self.model.device)

    @property
    def hidden_size(self) -> int:
        """D, the length of a token's vector."""
        return self._llm.width

    @property
    def layer_count(self) -> int:
        """The number of the LLM's blocks."""
        return len(self._llm.blocks)

    @property
    def model_type(self) -> str:
        """The family, as its configuration names it: "llava", "qwen2_5_vl" ..."""
        return str(self.model.config.model_type)

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """The V outputs of the vocabulary head as readable text, index = token id.

        A space that begins a word is kept where the tokenizer's decoder keeps it; ids beyond the tokenizer are "".
        """
        tokenizer = self.processor.tokenizer
        known = len(tokenizer)
        texts = tokenizer.batch_decode([[index] for index in range(known)])
        count = int(self.model.get_output_embeddings().weight.shape[0])
        count = int(getattr(self.model.get_output_embeddings(), "out_features", count))
        return tuple(texts[:count]) + ("",) * (count - known)

    def visual_tokens(self, images: Sequence[Image.Image], *, layer: int | None = None) -> list[VisualTokens]:
        """Each picture's tokens, all pictures in one batch: mind the memory.

        ``layer=None``: after the projector, exactly what is spliced into the LLM's inputs. An integer: the LLM's hidden
        states at the picture's positions after that block, counted from 0 or from the end, in the model's chat format
        without a question; those of the last block (-1) include the final norm.
        """
        index = None if layer is None else self._llm.block(layer)
        shown = self._show(images, [""] * len(images)) if images else []
        if index is None or not shown:
            return [row.visual for row in shown]
        read = self._llm.read([Prompt(row, len(row.ids)) for row in shown], layer=index)
        return [
            VisualTokens(states[at_picture], row.visual.grid)
            for row, states, at_picture in zip(shown, read.states, read.at_picture, strict=True)
        ]

    def generate(
        self,
        images: Sequence[Image.Image] | None,
        questions: Sequence[str],
        *,
        max_new_tokens: int = 128,
        answer_start: str = "",
        visual: Sequence[Visual] | None = None,
    ) -> list[str]:
        """The model's reply to each question about its picture: always the most likely token, nothing else.

        The answer goes on from ``answer_start``, which is not part of the reply. With ``visual`` the pictures' tokens
        are given and the vision tower is not run (``images`` may be None).
        """
        replies: list[str] = []
        for part in _parts(len(questions), _PICTURES_AT_ONCE):
            asked = questions[part]
            shown = self._shown(_of(images, part, questions), _of(visual, part, questions), asked)
            starts = [self._chat.continued(self._chat.prompt(question), answer_start) for question in asked]
            prompts = [_continue(row, start) for row, start in zip(shown, starts, strict=True)]
            written = self._write(self._llm.read(prompts, keep=True), max_new_tokens)
            replies += [self._chat.reply(start.start, ids) for start, ids in zip(starts, written, strict=True)]
        return replies

    def score(
        self,
        images: Sequence[Image.Image] | None,
        question: str,
        candidates: Sequence[str],
        *,
        answer_start: str = "",
        visual: Sequence[Visual] | None = None,
        batch: int = 64,
        score_per_token: bool = False,
    ) -> Tensor:
        """Log-likelihoods (B, C), float32, on the CPU: the sum of log p over each candidate's tokens.

        Candidates follow ``answer_start`` as text would: "carrying" after "someone is" is scored as " carrying". The
        picture, the question and the start are read once a picture; ``batch`` candidates are scored together.
        ``score_per_token`` divides by the number of tokens. ``visual`` is as in :meth:`generate`.
        """
        count = len(images) if images is not None else len(visual or ())
        if not candidates or batch < 1:
            raise TeacherError("score needs at least one candidate and a batch of 1 or more")
        answer = self._chat.continued(self._chat.prompt(question), answer_start, candidates)
        rows: list[Tensor] = []
        for part in _parts(count, _PICTURES_AT_ONCE):
            asked = [question] * len(range(count)[part])
            shown = self._shown(
                None if images is None else images[part], None if visual is None else visual[part], asked
            )
            prefix = self._llm.read([_continue(row, answer) for row in shown], keep=True)
            rows.append(self._score(prefix, answer.candidates, batch))
        scores = torch.cat(rows) if rows else torch.zeros(0, len(candidates))
        lengths = torch.tensor([len(ids) for ids in answer.candidates])
        return scores / lengths if score_per_token else scores

    def soft_token_states(
        self,
        visual: Sequence[Visual] | Tensor,
        soft: Tensor,
        *,
        question: str = "",
        attention_bias: Tensor | None = None,
        layer: int = -1,
        checkpointing: bool = False,
        answer_start: str = "",
        rows: Tensor | None = None,
    ) -> Tensor:
        """Hidden states (B, K, D) at learned vectors ``soft`` (B, K, D) or (K, D) at the end of the prompt.

        The prompt is the chat format around ``visual`` ((B, M, D) or one (M_i, D) a picture), the question and
        ``answer_start``; the vectors come after all of it and see it causally. ``layer`` counts as in
        :meth:`visual_tokens`; -1 is what the vocabulary head reads. ``attention_bias`` (B, K, M) or (K, M) is added to
        the attention logits of soft token k toward visual token m in all heads and blocks; M is the largest M_i.
        ``rows`` (N,) says which picture each of N sets of soft tokens (N, K, D) is for: a prompt is read once for all.

        Gradients reach ``soft`` and ``attention_bias`` only: the prompt is read without, and kept as keys and values.
        ``checkpointing`` keeps no activations inside the blocks either. The result has the type of ``soft``.
        """
        index = self._llm.block(layer)
        prefix, vectors, bias = self._before_soft(visual, soft, question, attention_bias, answer_start, index, rows)
        states = self._llm.extend(prefix, vectors, rows=rows, layer=index, bias=bias, checkpointing=checkpointing)
        return states.to(soft.dtype)

    def soft_token_attention(
        self,
        visual: Sequence[Visual] | Tensor,
        soft: Tensor,
        *,
        question: str = "",
        attention_bias: Tensor | None = None,
        answer_start: str = "",
    ) -> Tensor:
        """Where each soft token looks among the picture's tokens: (B, K, M), float32, on the CPU, without gradients.

        Arguments as in :meth:`soft_token_states`, the mean as in :meth:`attention_to_picture`. A picture with fewer
        tokens than M has zeros at the end.
        """
        with torch.no_grad():
            prefix, vectors, bias = self._before_soft(visual, soft, question, attention_bias, answer_start, -1)
        with self._eager():
            weights = self._llm.attend(prefix, vectors, bias=bias)
        return toward_picture(self._mean_of_late(weights), prefix.at_picture).cpu()

    def vocabulary_logits(self, states: Tensor) -> Tensor:
        """Logits (..., V) of the frozen vocabulary head for states (..., D) of the last layer, in their type."""
        return self._llm.logits(states.to(self.device)).to(states.dtype)

    def embed_text(self, text: str) -> Tensor:
        """Input embeddings (T, D) of a text's tokens, without special tokens: a start for soft tokens."""
        ids = self.processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            return self._llm.embed(torch.tensor(ids, dtype=torch.long))

    def attention_to_picture(
        self, image: Image.Image, question: str, *, answer_start: str = ""
    ) -> tuple[Tensor, tuple[int, int] | None]:
        """Where the model looks before its next word: weights (M,), float32, on the CPU, and the tokens' grid.

        The mean over the heads of the last third of the blocks, from the prompt's last token to the picture's. The sum
        is below 1: the rest goes to text.
        """
        start = self._chat.continued(self._chat.prompt(question), answer_start)
        row = self._show([image], [question])[0]
        with self._eager():
            read = self._llm.read([_continue(row, start)], attentions=True)
        before_next_word = [weights[:, :, -1:] for weights in read.attentions]
        return self._mean_of_late(before_next_word)[0, 0, read.at_picture[0]].cpu(), row.visual.grid

    def _mean_of_late(self, attentions: Sequence[Tensor]) -> Tensor:
        """Each block's weights (B, heads, Q, L) -> their mean (B, Q, L) over the heads of the last third."""
        late = attentions[-max(1, self.layer_count // 3) :]
        return torch.stack([weights.float().mean(1) for weights in late]).mean(0)

    def _before_soft(
        self,
        visual: Sequence[Visual] | Tensor,
        soft: Tensor,
        question: str,
        attention_bias: Tensor | None,
        answer_start: str,
        layer: int,
        rows: Tensor | None = None,
    ) -> tuple[Prefix, Tensor, Tensor | None]:
        """The prompt that soft tokens come after, the tokens (B, K, D) and their bias over all positions."""
        given = list(visual.unbind(0)) if isinstance(visual, Tensor) else list(visual)
        vectors = soft_of_each(soft, len(given) if rows is None else len(rows), self.hidden_size).to(
            self.device, self.model.dtype
        )
        start = self._chat.continued(self._chat.prompt(question), answer_start)
        shown = self._shown(None, given, [question] * len(given))
        prefix = self._llm.read([_continue(row, start) for row in shown], layer=layer, keep=True)
        if attention_bias is None:
            return prefix, vectors, None
        toward = attention_bias.to(self.device, self.model.dtype)
        return prefix, vectors, bias_over_prefix(toward, prefix.at_picture, vectors.shape[1], rows)

    def _shown(
        self, images: Sequence[Image.Image] | None, visual: Sequence[Visual] | None, questions: Sequence[str]
    ) -> list[Shown]:
        given = visual if visual is not None else images
        if given is None or len(given) != len(questions):
            raise TeacherError(
                f"{len(questions)} questions need as many pictures or visual tokens, but there are "
                f"{'none' if given is None else len(given)}"
            )
        if visual is None:
            return self._show(images or [], questions)
        tokens = [item if isinstance(item, VisualTokens) else VisualTokens(item) for item in visual]
        return [self._placed(picture, question) for picture, question in zip(tokens, questions, strict=True)]

    def _show(self, images: Sequence[Image.Image], questions: Sequence[str], vision: bool = True) -> list[Shown]:
        prompts = [self._chat.prompt(question) for question in questions]
        special = {"add_special_tokens": False} if prompts and self._chat.writes_start(prompts[0]) else {}
        try:
            inputs = self.processor(
                text=prompts,
                images=[[image.convert("RGB")] for image in images],
                padding=True,
                return_tensors="pt",
                **special,
            )
        except (ValueError, TypeError, RuntimeError) as error:
            sizes = ", ".join(f"{image.width} x {image.height}" for image in images[:4])
            raise TeacherError(
                f"the processor of {self.name} does not take these pictures ({sizes} ...): {error}"
            ) from error
        with torch.no_grad():
            return show(self.model, inputs, self._image_id, vision)

    def _placed(self, picture: VisualTokens, question: str) -> Shown:
        """Given tokens in the prompt that a blank picture has.

        Where the numbers differ, everything between the blank picture's first and last token gives way, which drops
        the separators that some families (SmolVLM, Mistral 3) write between tiles or rows.
        """
        tokens = picture.tokens
        if tokens.ndim != 2 or tokens.shape[1] != self.hidden_size or not len(tokens):
            raise TeacherError(
                f"visual tokens have the shape {tuple(tokens.shape)}; {self.name} reads (tokens, {self.hidden_size}) "
                "of one picture, as visual_tokens() gives them without a layer"
            )
        if question not in self._blank:
            if len(self._blank) >= _PROMPTS_KEPT:
                self._blank.clear()
            self._blank[question] = self._show([Image.new("RGB", (224, 224), "gray")], [question], vision=False)[0]
        blank = self._blank[question]
        if int(blank.at_picture.sum()) == len(tokens):
            return Shown(blank.ids, blank.at_picture, picture)
        places = blank.at_picture.nonzero()[:, 0]
        before, after = blank.ids[: places[0]], blank.ids[places[-1] + 1 :]
        ids = torch.cat([before, blank.ids[places[0]].expand(len(tokens)), after])
        at_picture = torch.zeros_like(ids, dtype=torch.bool)
        at_picture[len(before) : len(before) + len(tokens)] = True
        return Shown(ids, at_picture, picture)

    def _write(self, prefix: Prefix, limit: int) -> list[list[int]]:
        ends = _end_tokens(self.model, self.processor.tokenizer)
        written: list[list[int]] = [[] for _ in range(len(prefix.mask))]
        done = [False] * len(written)
        states = prefix.last
        for step in range(limit):
            ids = self._llm.logits(states).argmax(-1)
            for row, token in enumerate(ids.tolist()):
                done[row] = done[row] or token in ends
                if not done[row]:
                    written[row].append(token)
            if all(done) or step == limit - 1:
                break
            states = self._llm.grow(prefix, ids, step)
        return written

    def _score(self, prefix: Prefix, candidates: Sequence[tuple[int, ...]], batch: int) -> Tensor:
        with torch.no_grad():
            first = torch.tensor([ids[0] for ids in candidates], device=self.device)
            scores = self._llm.logits(prefix.last).float().log_softmax(-1)[:, first]
            longer = sorted((len(ids), place) for place, ids in enumerate(candidates) if len(ids) > 1)
            pairs = [(picture, place) for _, place in longer for picture in range(len(scores))]
            for part in _parts(len(pairs), batch):
                pictures, places = zip(*pairs[part], strict=True)
                ids = [torch.tensor(candidates[place], device=self.device) for place in places]
                padded = pad_sequence(ids, batch_first=True)
                real = pad_sequence([torch.ones_like(row) for row in ids], batch_first=True)[:, 1:]
                rows = torch.tensor(pictures, device=self.device)
                states = self._llm.extend(prefix, self._llm.embed(padded[:, :-1]), rows=rows)
                spoken = self._llm.logits(states).float().log_softmax(-1)
                rest = (spoken.gather(2, padded[:, 1:, None])[..., 0] * real).sum(1)
                scores.index_put_((rows, torch.tensor(places, device=self.device)), rest, accumulate=True)
        return scores.cpu()

    @contextmanager
    def _eager(self) -> Iterator[None]:
        """Attention weights exist in plain attention only."""
        decoder = self._llm.decoder
        before = decoder.config._attn_implementation
        decoder.set_attn_implementation("eager")
        try:
            yield
        finally:
            decoder.set_attn_implementation(before)


def _continue(row: Shown, answer: Continuation) -> Prompt:
    """The prompt with the answer's start after it."""
    kept = len(row.ids) - answer.dropped
    start = torch.tensor(answer.start, dtype=row.ids.dtype)
    at_picture = torch.cat([row.at_picture[:kept], torch.zeros(len(start), dtype=torch.bool)])
    return Prompt(Shown(torch.cat([row.ids[:kept], start]), at_picture, row.visual), kept)


def _parts(count: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, count, size)]


def _of(items: Sequence[Any] | None, part: slice, questions: Sequence[str]) -> Sequence[Any] | None:
    """A part of pictures that are as many as the questions; all of them where they are not, to be refused."""
    return items if items is None or len(items) != len(questions) else items[part]


def _end_tokens(model: Any, tokenizer: Any) -> set[int]:
    named = getattr(model.generation_config, "eos_token_id", None)
    listed = named if isinstance(named, list) else [named]
    return {int(token) for token in (*listed, tokenizer.eos_token_id) if token is not None}
