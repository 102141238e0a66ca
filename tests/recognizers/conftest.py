"""The tiny multimodal LLMs of the teacher's tests, for the recognizer that prompts them."""

from __future__ import annotations

from tests.teacher.conftest import tiny_llava_folder as tiny_llava_folder
from tests.teacher.conftest import tiny_paligemma_folder as tiny_paligemma_folder
from tests.teacher.conftest import tiny_qwen3_folder as tiny_qwen3_folder
from tests.teacher.conftest import tiny_qwen_folder as tiny_qwen_folder
