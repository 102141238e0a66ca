"""A verb that comes without a frame borrows the one of the nearest known verb by text, and remembers from whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ovgsr.vocabulary import Verb, Vocabulary, swig_vocabulary


def borrow_frames(vocabulary: Vocabulary, known: Vocabulary, embed: Callable[[Sequence[str]], Tensor]) -> Vocabulary:
    """The vocabulary with a frame for every verb.

    A verb that ``known`` or the built-in SWiG vocabulary has takes its own frame and definition from there. Any other
    one takes the frame of the verb among them whose bare sentence ("someone is ...") is nearest in text; ``embed``
    gives unit vectors (n, D). The vocabulary itself comes back where nothing is missing.
    """
    if all(verb.roles for verb in vocabulary.verbs):
        return vocabulary
    lenders = {verb.name: verb for verb in (*swig_vocabulary().verbs, *known.verbs) if verb.roles}
    strangers = [verb for verb in vocabulary.verbs if not verb.roles and verb.name not in lenders]
    nearest = _nearest(strangers, list(lenders.values()), embed) if strangers else {}
    return replace(vocabulary, verbs=tuple(_completed(verb, lenders, nearest) for verb in vocabulary.verbs))


def _completed(verb: Verb, lenders: dict[str, Verb], nearest: dict[str, Verb]) -> Verb:
    if verb.roles:
        return verb
    own = lenders.get(verb.name)
    if own is not None:
        return replace(own, definition=verb.definition or own.definition)
    lender = nearest[verb.name]
    return replace(verb, roles=lender.roles, role_definitions=lender.role_definitions, borrowed_from=lender.name)


def _nearest(
    strangers: Sequence[Verb], lenders: Sequence[Verb], embed: Callable[[Sequence[str]], Tensor]
) -> dict[str, Verb]:
    # Like is compared with like: a bare name against definitions would rank verbs by how short their text is.
    sentences = [f"someone is {verb.name}" for verb in (*strangers, *lenders)]
    embeddings = embed(sentences)
    similarity = embeddings[: len(strangers)] @ embeddings[len(strangers) :].T
    chosen = torch.argmax(similarity, dim=1).tolist()
    return {verb.name: lenders[index] for verb, index in zip(strangers, chosen, strict=True)}
