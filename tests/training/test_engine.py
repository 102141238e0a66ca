"""What the engine promises beyond what accelerate does by itself."""

from __future__ import annotations

import pytest
import torch

from ovgsr.config import TrainSettings
from ovgsr.training.engine import Engine, PrecisionError


@pytest.mark.skipif(torch.accelerator.is_available(), reason="float16 works on this machine")
def test_a_precision_that_cannot_be_had_is_a_sentence() -> None:
    with pytest.raises(PrecisionError, match="precision=fp16 needs a GPU; use bf16 or no"):
        Engine(TrainSettings(precision="fp16"))


def test_random_states_bring_the_same_numbers_again() -> None:
    engine = Engine(TrainSettings(precision="no"))
    states = engine.random_states()
    first = torch.rand(3), torch.rand(3, device=engine.device)
    engine.load_random_states(states)
    again = torch.rand(3), torch.rand(3, device=engine.device)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
