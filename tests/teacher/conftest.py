"""Tiny multimodal LLMs with random weights and real processors, written to folders as a user would have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

WIDTH, SIDE, PATCH = 32, 56, 14
TEXTS = (
    "What is happening in the picture?",
    "someone is carrying a box while a man is cutting wood",
    "a woman throws the ball to a dog, and the dog is jumping over it",
    "system user assistant USER ASSISTANT Human answer question describe",
)
TEXT_SIZES: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "initializer_range": 0.2,
}
LLAVA_CHAT = (
    "{% for message in messages %}{% if message['role'] == 'user' %}USER: {% else %}ASSISTANT: {% endif %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n"
    "{% else %}{{ part['text'] }} {% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
QWEN_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GEMMA_CHAT = (
    "{{ bos_token }}{% for message in messages %}<start_of_turn>"
    "{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<start_of_image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def tiny_tokenizer(special: tuple[str, ...], **named: str) -> Any:
    """A byte-level BPE tokenizer of a few hundred tokens; ``named`` are tokens with a role of their own."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<pad>", "<s>", "</s>", *special],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens=named or None,
        clean_up_tokenization_spaces=False,
    )


def write(folder: Path, model: Any, tokenizer: Any, pictures: Any, chat: str | None, **settings: Any) -> Path:
    """A folder as on the Hub: weights, tokenizer, image processor, chat template; no video processor."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if (parameter.ndim == 1 and "norm" not in name) or not parameter.any():  # zeros would hide mistakes
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    pictures.save_pretrained(folder)
    if settings:
        (folder / "processor_config.json").write_text(json.dumps(settings))
    if chat:
        (folder / "chat_template.jinja").write_text(chat)
    return folder


def ids(tokenizer: Any, *tokens: str) -> list[int]:
    return [int(tokenizer.convert_tokens_to_ids(token)) for token in tokens]


def clip_tower() -> dict[str, Any]:
    return {
        "model_type": "clip_vision_model",
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "patch_size": PATCH,
        "projection_dim": WIDTH,
    }


@pytest.fixture(scope="session")
def tiny_llava_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LLaVA-1.5: CLIP (its class token dropped) and Llama, 4 x 4 picture tokens."""
    from transformers import CLIPImageProcessorPil, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

    torch.manual_seed(0)
    tokenizer = tiny_tokenizer(("<image>",))
    config = LlavaConfig(
        vision_config=clip_tower(),
        text_config={"model_type": "llama", "vocab_size": len(tokenizer), **TEXT_SIZES},
        image_token_index=ids(tokenizer, "<image>")[0],
    )
    pictures = CLIPImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, do_convert_rgb=True
    )
    folder = tmp_path_factory.mktemp("teachers") / "llava"
    processor = LlavaProcessor(
        pictures,
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LLAVA_CHAT,
    )
    write(folder, LlavaForConditionalGeneration(config), tokenizer, pictures, None)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_llava_next_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LLaVA-NeXT: as many tiles as a picture's shape asks for, and a newline token a row."""
    from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration, LlavaNextImageProcessorPil

    torch.manual_seed(1)
    tokenizer = tiny_tokenizer(("<image>",))
    pinpoints = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]
    config = LlavaNextConfig(
        vision_config=clip_tower(),
        text_config={"model_type": "llama", "vocab_size": len(tokenizer), **TEXT_SIZES},
        image_token_index=ids(tokenizer, "<image>")[0],
        image_grid_pinpoints=pinpoints,
    )
    pictures = LlavaNextImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, image_grid_pinpoints=pinpoints
    )
    return write(
        tmp_path_factory.mktemp("teachers") / "llava_next",
        LlavaNextForConditionalGeneration(config),
        tokenizer,
        pictures,
        LLAVA_CHAT,
        processor_class="LlavaNextProcessor",
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )


QWEN_TOKENS = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")


def qwen_ids(tokenizer: Any) -> dict[str, int]:
    names = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    return dict(zip(names, ids(tokenizer, *QWEN_TOKENS[2:]), strict=True))


def qwen_text(tokenizer: Any) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
    return {"vocab_size": len(tokenizer), "rope_parameters": rope, "head_dim": WIDTH // 4, **TEXT_SIZES}


@pytest.fixture(scope="session")
def tiny_qwen_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Qwen2.5-VL: as many tokens as the picture has squares of 28 pixels, positions in rows and columns."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2VLImageProcessorPil

    torch.manual_seed(2)
    tokenizer = tiny_tokenizer(QWEN_TOKENS)
    config = Qwen2_5_VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": WIDTH,
            "intermediate_size": 48,
            "num_heads": 2,
            "out_hidden_size": WIDTH,
            "window_size": 56,
            "fullatt_block_indexes": [1],
        },
        text_config=qwen_text(tokenizer),
        **qwen_ids(tokenizer),
    )
    return write(
        tmp_path_factory.mktemp("teachers") / "qwen2_5_vl",
        Qwen2_5_VLForConditionalGeneration(config),
        tokenizer,
        Qwen2VLImageProcessorPil(size={"shortest_edge": 28 * 28 * 4, "longest_edge": 28 * 28 * 64}),
        QWEN_CHAT,
        processor_class="Qwen2_5_VLProcessor",
    )


@pytest.fixture(scope="session")
def tiny_qwen3_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Qwen3-VL: DeepStack features are added after the first block."""
    from transformers import Qwen2VLImageProcessorPil, Qwen3VLConfig, Qwen3VLForConditionalGeneration

    torch.manual_seed(3)
    tokenizer = tiny_tokenizer(QWEN_TOKENS)
    config = Qwen3VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": WIDTH,
            "intermediate_size": 48,
            "num_heads": 2,
            "out_hidden_size": WIDTH,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
        text_config=qwen_text(tokenizer),
        **qwen_ids(tokenizer),
    )
    return write(
        tmp_path_factory.mktemp("teachers") / "qwen3_vl",
        Qwen3VLForConditionalGeneration(config),
        tokenizer,
        Qwen2VLImageProcessorPil(patch_size=16, size={"shortest_edge": 32 * 32 * 4, "longest_edge": 32 * 32 * 64}),
        QWEN_CHAT,
        processor_class="Qwen3VLProcessor",
    )


def siglip_tower() -> dict[str, Any]:
    return {"model_type": "siglip_vision_model", **{k: v for k, v in clip_tower().items() if k != "model_type"}}


@pytest.fixture(scope="session")
def tiny_paligemma_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PaliGemma: no chat template, and a prefix that is read in both directions."""
    from transformers import (
        PaliGemmaConfig,
        PaliGemmaForConditionalGeneration,
        PaliGemmaProcessor,
        SiglipImageProcessorPil,
    )

    torch.manual_seed(4)
    tokenizer = tiny_tokenizer(("<image>",), image_token="<image>")
    pictures = SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    pictures.image_seq_length = 16
    PaliGemmaProcessor(pictures, tokenizer)  # adds the location tokens
    config = PaliGemmaConfig(
        vision_config=siglip_tower(),
        text_config={"model_type": "gemma", "vocab_size": len(tokenizer), "head_dim": 8, **TEXT_SIZES},
        image_token_index=ids(tokenizer, "<image>")[0],
        projection_dim=WIDTH,
    )
    folder = tmp_path_factory.mktemp("teachers") / "paligemma"
    return write(folder, PaliGemmaForConditionalGeneration(config), tokenizer, pictures, None)


@pytest.fixture(scope="session")
def tiny_gemma3_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gemma 3: blocks with a sliding window, pictures that are read in both directions, a start token in the chat."""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3ImageProcessorPil

    torch.manual_seed(5)
    special = ("<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>", "<image_soft_token>")
    named = dict(zip(("boi_token", "eoi_token", "image_token"), special[2:], strict=True))
    tokenizer = tiny_tokenizer(special, **named)
    boi, eoi, image = ids(tokenizer, *special[2:])
    config = Gemma3Config(
        vision_config={**siglip_tower(), "vision_use_head": False},
        text_config={"vocab_size": len(tokenizer), "head_dim": 8, "sliding_window": 24, **TEXT_SIZES}
        | {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"], "tie_word_embeddings": False},
        tie_word_embeddings=False,  # a tied random head repeats the last token for ever
        mm_tokens_per_image=4,
        boi_token_index=boi,
        eoi_token_index=eoi,
        image_token_index=image,
    )
    return write(
        tmp_path_factory.mktemp("teachers") / "gemma3",
        Gemma3ForConditionalGeneration(config),
        tokenizer,
        Gemma3ImageProcessorPil(size={"height": SIDE, "width": SIDE}),
        GEMMA_CHAT,
        processor_class="Gemma3Processor",
        image_seq_length=4,
    )


@pytest.fixture(scope="session")
def tiny_swin_llava_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LLaVA's class with a Swin tower, which has no class token: 96 x 96 pixels, 144 picture tokens."""
    from transformers import CLIPImageProcessorPil, LlavaConfig, LlavaForConditionalGeneration

    torch.manual_seed(6)
    tokenizer = tiny_tokenizer(("<image>",))
    tower = {"model_type": "swin", "image_size": 96, "patch_size": 4, "embed_dim": 16, "depths": [1, 1]}
    config = LlavaConfig(
        vision_config={**tower, "num_heads": [2, 2], "window_size": 6},
        text_config={"model_type": "llama", "vocab_size": len(tokenizer), **TEXT_SIZES},
        image_token_index=ids(tokenizer, "<image>")[0],
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    return write(
        tmp_path_factory.mktemp("teachers") / "swin_llava",
        LlavaForConditionalGeneration(config),
        tokenizer,
        CLIPImageProcessorPil(size={"height": 96, "width": 96}, do_center_crop=False),
        LLAVA_CHAT,
        processor_class="LlavaProcessor",
        patch_size=8,
        vision_feature_select_strategy="full",
    )


@pytest.fixture(scope="session")
def tiny_onevision_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LLaVA-OneVision: SigLIP and Qwen2, tiles with newline tokens."""
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        LlavaOnevisionImageProcessorPil,
    )

    torch.manual_seed(7)
    tokenizer = tiny_tokenizer(("<image>", "<video>"))
    image, video = ids(tokenizer, "<image>", "<video>")
    pinpoints = [[SIDE, SIDE], [SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]
    config = LlavaOnevisionConfig(
        vision_config={**siglip_tower(), "vision_use_head": False},
        text_config={"model_type": "qwen2", "vocab_size": len(tokenizer), **TEXT_SIZES},
        image_token_index=image,
        video_token_index=video,
        image_grid_pinpoints=pinpoints,
    )
    return write(
        tmp_path_factory.mktemp("teachers") / "llava_onevision",
        LlavaOnevisionForConditionalGeneration(config),
        tokenizer,
        LlavaOnevisionImageProcessorPil(size={"height": SIDE, "width": SIDE}, image_grid_pinpoints=pinpoints),
        LLAVA_CHAT,
        processor_class="LlavaOnevisionProcessor",
        num_image_tokens=16,
        vision_feature_select_strategy="full",
    )


@pytest.fixture(scope="session")
def tiny_internvl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """InternVL: InternViT and Qwen2, tiles of 2 x 2 tokens side by side."""
    from transformers import GotOcr2ImageProcessorPil, InternVLConfig, InternVLForConditionalGeneration

    torch.manual_seed(8)
    special = ("<img>", "</img>", "<IMG_CONTEXT>", "<video>")
    roles = ("start_image_token", "end_image_token", "context_image_token", "video_token")
    tokenizer = tiny_tokenizer(special, **dict(zip(roles, special, strict=True)))
    tower = {name: value for name, value in clip_tower().items() if name not in ("model_type", "projection_dim")}
    config = InternVLConfig(
        vision_config={**tower, "image_size": [SIDE, SIDE], "patch_size": [PATCH, PATCH]},
        text_config={"model_type": "qwen2", "vocab_size": len(tokenizer), **TEXT_SIZES},
        image_token_id=ids(tokenizer, "<IMG_CONTEXT>")[0],
    )
    return write(
        tmp_path_factory.mktemp("teachers") / "internvl",
        InternVLForConditionalGeneration(config),
        tokenizer,
        GotOcr2ImageProcessorPil(size={"height": SIDE, "width": SIDE}, max_patches=4),
        LLAVA_CHAT.replace("<image>", "<IMG_CONTEXT>"),
        processor_class="InternVLProcessor",
        image_seq_length=4,
    )


@pytest.fixture(scope="session")
def tiny_idefics3_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Idefics3, which SmolVLM is built on: tiles with words for row and column between them."""
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3ImageProcessorPil

    torch.manual_seed(9)
    rows = tuple(f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2))
    special = ("<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>", *rows)
    tokenizer = tiny_tokenizer(special)
    config = Idefics3Config(
        vision_config={name: value for name, value in clip_tower().items() if name != "model_type"},
        text_config={"model_type": "llama", "vocab_size": len(tokenizer), **TEXT_SIZES},
        image_token_id=ids(tokenizer, "<image>")[0],
        pad_token_id=tokenizer.pad_token_id,
    )
    return write(
        tmp_path_factory.mktemp("teachers") / "idefics3",
        Idefics3ForConditionalGeneration(config),
        tokenizer,
        Idefics3ImageProcessorPil(size={"longest_edge": 2 * SIDE}, max_image_size={"longest_edge": SIDE}),
        LLAVA_CHAT,
        processor_class="Idefics3Processor",
        image_seq_len=4,
    )


FAMILIES = (
    "onevision",
    "internvl",
    "idefics3",
    "llava",
    "swin_llava",
    "llava_next",
    "qwen",
    "qwen3",
    "paligemma",
    "gemma3",
)


@pytest.fixture(scope="session")
def tiny_teacher(request: pytest.FixtureRequest) -> Callable[[str], Any]:
    """The teacher of one of ``FAMILIES``, loaded once a session."""
    from ovgsr.teacher.multimodal_llm import MultimodalLLM

    loaded: dict[str, Any] = {}

    def load(family: str) -> Any:
        if family not in loaded:
            folder = request.getfixturevalue(f"tiny_{family}_folder")
            loaded[family] = MultimodalLLM.from_pretrained(folder, device="cpu")
        return loaded[family]

    return load


def picture(seed: int, width: int = 96, height: int = 96) -> Image.Image:
    """Coloured noise that survives resizing."""
    noise = torch.rand(6, 6, 3, generator=torch.Generator().manual_seed(seed))
    return Image.fromarray((noise * 255).byte().numpy()).resize((width, height), Image.Resampling.BICUBIC)
