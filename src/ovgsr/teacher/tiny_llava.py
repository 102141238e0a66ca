"""The embedded teacher's shape: transformers' own LLaVA class with a LeViT tower and a Llama text model, both tiny.

LeViT (Graham et al., arXiv 2104.01136): convolutions with batch normalisation before attention, which learns from far
fewer pictures than a plain ViT (measured: ``docs/teacher.md``). 128 x 128 pixels give 8 x 8 visual tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

SIDE, PATCH = 128, 16
GRID = SIDE // PATCH
WIDTH = 192
TOWER_DEPTH, TEXT_DEPTH, HEADS = 6, 4, 6
MEAN, STD = (0.55, 0.55, 0.50), (0.25, 0.25, 0.25)
PAD, START, END, IMAGE, USER, ASSISTANT = "<pad>", "<s>", "</s>", "<image>", "<|user|>", "<|assistant|>"
SPECIAL_TOKENS = (PAD, START, END, IMAGE, USER, ASSISTANT)
LONGEST_TEXT = 512

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|user|>' if message['role'] == 'user' else '<|assistant|>' }}"
    "{% if message['content'] is string %}{{ ' ' + message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image>' }}{% else %}{{ ' ' + part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
"""One user turn with the picture first; texts begin with a space, as words inside a sentence do."""


def train_tokenizer(texts: Iterable[str], *, largest: int = 4000) -> Any:
    """A lower-casing byte-level BPE tokenizer (``PreTrainedTokenizerFast``) learnt from ``texts``.

    Every common word becomes one token, so that the vocabulary head's probabilities are probabilities of words; any
    other string is spelt out in bytes.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=largest,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((f" {text}" for text in texts), trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=START,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[IMAGE, USER, ASSISTANT],
        model_max_length=LONGEST_TEXT,
        clean_up_tokenization_spaces=False,
    )


def build_processor(tokenizer: Any) -> Any:
    """A ``LlavaProcessor`` that resizes pictures to 128 x 128 and puts 64 image tokens where the picture stands."""
    from transformers import CLIPImageProcessorPil, LlavaProcessor

    pictures = CLIPImageProcessorPil(
        size={"height": SIDE, "width": SIDE},
        do_center_crop=False,
        resample=2,  # bilinear: SketchSWiG's 96 pixels are enlarged
        image_mean=list(MEAN),
        image_std=list(STD),
    )
    return LlavaProcessor(  # type: ignore[no-untyped-call]
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        image_token=IMAGE,
        chat_template=CHAT_TEMPLATE,
    )


def build_model(tokenizer: Any) -> Any:
    """A ``LlavaForConditionalGeneration`` with random weights (about 4 million parameters) for the tokenizer."""
    from transformers import LevitConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    tower = LevitConfig(  # type: ignore[call-arg]
        image_size=SIDE,
        patch_size=PATCH,
        hidden_sizes=[WIDTH, WIDTH],  # its class asks for two; the one stage uses the first
        num_attention_heads=[HEADS, HEADS],
        depths=[TOWER_DEPTH],
        key_dim=[16, 16],
        mlp_ratio=[2, 2],
        attention_ratio=[2, 2],
        hidden_size=WIDTH,  # LLaVA's projector reads it under this name
    )
    tower.down_ops = []  # no stage that halves the grid
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=512,
        num_hidden_layers=TEXT_DEPTH,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=LONGEST_TEXT,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    config = LlavaConfig(
        vision_config=tower,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_seq_length=GRID * GRID,
        tie_word_embeddings=True,
    )
    model = LlavaForConditionalGeneration(config)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.bos_token_id = tokenizer.bos_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return model


def conversation_ids(tokenizer: Any, turns: Sequence[tuple[str, str]]) -> tuple[list[int], list[bool]]:
    """Token ids of a picture's conversation, as the chat template writes it, and which of them are answers."""
    image, user, assistant = (tokenizer.convert_tokens_to_ids(token) for token in (IMAGE, USER, ASSISTANT))
    ids, answered = [tokenizer.bos_token_id], [False]
    for position, (question, answer) in enumerate(turns):
        asked = [user, *([image] * GRID * GRID if position == 0 else [])]
        asked += [*tokenizer.encode(f" {question}", add_special_tokens=False), assistant]
        said = [*tokenizer.encode(f" {answer}", add_special_tokens=False), tokenizer.eos_token_id]
        ids += [*asked, *said]
        answered += [False] * len(asked) + [True] * len(said)
    return ids, answered
