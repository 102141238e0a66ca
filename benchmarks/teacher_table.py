"""A multimodal LLM's zero-shot verbs on a data set, by caption parsing and by likelihood, for each part of the split.

Run: python benchmarks/teacher_table.py --data data/sketch_swig [--teacher sketch] [--fold test]

All verbs of the fold compete. "caption" counts a picture as right where the verb ranked first is named in the model's
own caption, in any inflection; "named" where the annotated verb is. Prints Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ovgsr.data.swig import image_path, read_annotations, read_split, read_vocabulary
from ovgsr.inflections import mentions
from ovgsr.models.preprocess import load_image
from ovgsr.recognizers.prompted import PromptedRecognizer
from ovgsr.recognizers.prompted_settings import PromptSettings
from ovgsr.situation import AnnotatedImage
from ovgsr.teacher.multimodal_llm import MultimodalLLM
from ovgsr.vocabulary import Vocabulary

BATCH = 32
PARTS = ("seen", "rare", "unseen")


def ranked(recognizer: PromptedRecognizer, paths: Sequence[Path], vocabulary: Vocabulary) -> list[list[str]]:
    """Each picture's verbs, best first."""
    found = []
    for at in range(0, len(paths), BATCH):
        images = [load_image(path) for path in paths[at : at + BATCH]]
        predictions = recognizer.predict(images, vocabulary, top_k=0)
        found += [[verb for verb, _ in prediction.ranking] for prediction in predictions]
    return found


def named(teacher: MultimodalLLM, paths: Sequence[Path], verbs: Sequence[str]) -> list[set[str]]:
    """The verbs that each picture's caption names."""
    found: list[set[str]] = []
    for at in range(0, len(paths), BATCH):
        images = [load_image(path) for path in paths[at : at + BATCH]]
        captions = teacher.generate(images, [PromptSettings().question] * len(images), max_new_tokens=40)
        found += [mentions(caption, verbs) for caption in captions]
    return found


def share(right: Sequence[bool], images: Sequence[AnnotatedImage], verbs: Sequence[str]) -> str:
    """Percent right among the pictures of some verbs."""
    own = [one for one, image in zip(right, images, strict=True) if image.situation.verb in verbs]
    return f"{100 * sum(own) / len(own):.1f}"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--teacher", default="sketch")
    parser.add_argument("--fold", default="test")
    options = parser.parse_args()
    fold: Any = options.fold
    split = read_split(options.data)
    assert split is not None, "the data set must say which verbs are unseen"
    verbs = split.candidates(fold)
    vocabulary = read_vocabulary(options.data).with_verbs(verbs)
    images = [image for image in read_annotations(options.data, fold) if image.situation.verb in verbs]
    paths = [image_path(options.data, image.file_name) for image in images]
    truth = [image.situation.verb for image in images]
    teacher = MultimodalLLM.from_pretrained(options.teacher)
    print(f"{len(images)} {fold} pictures, {len(verbs)} verbs compete, teacher {options.teacher}\n")
    print("| verb | seen | rare | unseen |\n| --- | --- | --- | --- |")

    def row(name: str, right: Sequence[bool]) -> None:
        cells = [share(right, images, split.groups(fold)[part]) for part in PARTS]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)

    row("named in the caption", [verb in said for verb, said in zip(truth, named(teacher, paths, verbs), strict=True)])
    for readout in ("caption", "likelihood"):
        rankings = ranked(
            PromptedRecognizer(teacher, settings=PromptSettings(verb_readout=readout)),
            paths,
            vocabulary,
        )
        for most in (1, 5):
            row(f"{readout}, top-{most}", [verb in best[:most] for verb, best in zip(truth, rankings, strict=True)])


if __name__ == "__main__":
    main()
