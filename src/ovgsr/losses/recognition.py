"""What is going on and who takes part: the verb's and the nouns' cross-entropies.

Means are over the joined batch of all processes (``losses.processes``), which have as many pictures each.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ovgsr.losses.processes import joined_count
from ovgsr.tensors import IGNORE


def verb_loss(
    logits: Tensor, verb_index: Tensor, log_prior: Tensor | None = None, *, label_smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy of verb logits (B, V) against ``verb_index`` (B,), a scalar.

    ``log_prior`` (V,) is added while training, so that the logits need not spend themselves on how frequent a verb
    is: the log share of the sampled pictures gives balanced softmax (Ren et al. 2020); tau times it, logit adjustment
    (Menon et al. 2021).
    """
    if log_prior is not None:
        logits = logits + log_prior
    return F.cross_entropy(logits, verb_index, label_smoothing=label_smoothing)


def log_prior(counts: Tensor, tau: float = 1.0) -> Tensor:
    """tau times the log share of each verb's count (V,); a verb never sampled counts as half a picture."""
    counts = counts.clamp(min=0.5)
    return tau * (counts / counts.sum()).log()


def noun_loss(logits: Tensor, noun_index: Tensor, role_mask: Tensor) -> Tensor:
    """Cross-entropy of noun logits (B, R, N), averaged over the annotators who answered inside the vocabulary, a
    scalar.

    ``noun_index`` (B, R, A) may hold IGNORE; a role where every annotator is ignored counts for nothing, as does
    padding.
    """
    known = (noun_index != IGNORE) & role_mask[..., None]
    log_probability = logits.log_softmax(dim=-1).gather(-1, noun_index.clamp(min=0))
    answers = known.sum(dim=-1)
    of_role = -(log_probability * known).sum(dim=-1) / answers.clamp(min=1)
    return of_role.sum() / joined_count((answers > 0).sum())
