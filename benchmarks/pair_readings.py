"""How often a teacher's hand-written prompt names what a dev pair does, for cuts of several margins and whole pictures.

    python benchmarks/pair_readings.py data/sketch_hoi

A pair counts as named where the reading lies nearest to one of its verbs' texts among all verbs that training or dev
shows. Groups: pairs of seen combinations, of unseen combinations of seen words, and of unseen verbs (dev's own).
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import torch
from PIL import Image
from torch.nn.functional import normalize

from ovgsr.data.hico_det import image_folder, read_hico_det
from ovgsr.data.hoi_pairs import InteractionPair, merge_rows
from ovgsr.data.hoi_splits import read_hoi_split
from ovgsr.distillation.pair_cuts import cut_box
from ovgsr.distillation.prompts import InteractivePrompts
from ovgsr.distillation.word_space import WordSpace
from ovgsr.hoi_vocabulary import NO_INTERACTION
from ovgsr.models.preprocess import load_image
from ovgsr.models.text_encoder import embed_vocabulary, load_text_encoder
from ovgsr.situation import AnnotatedImage
from ovgsr.teacher.multimodal_llm import MultimodalLLM

WHOLE = 1e6
BATCH = 50


def main() -> None:
    """Prints a line for each margin."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--teacher", default="sketch")
    parser.add_argument("--margins", type=float, nargs="*", default=[0.0, 0.15, 0.4, WHOLE])
    arguments = parser.parse_args()
    dev, split = read_hico_det(arguments.data, "dev"), read_hoi_split(arguments.data)
    assert split is not None, "unseen needs a split"
    training = {verb for verb, _ in split.training(dev.interactions)}
    names = [verb for verb in dev.vocabulary.verb_names if verb != NO_INTERACTION]
    names = [verb for verb in names if verb in training | {verb for verb, _ in split.dev_unseen}]
    teacher, encoder = MultimodalLLM.from_pretrained(arguments.teacher), load_text_encoder()
    tokens = {text.strip() for text in teacher.vocabulary}
    unknown = [verb for verb in names if dev.vocabulary.verb(verb).gerund.split()[0] not in tokens]
    print("verbs that are no word of the teacher's vocabulary:", ", ".join(unknown) or "none")
    reader = InteractivePrompts(
        teacher, WordSpace.of(teacher.vocabulary, encoder), learn_scene=False, learn_instance=False
    )
    told = embed_vocabulary(dev.vocabulary, encoder).told_verbs[[dev.vocabulary.verb_index(verb) for verb in names]]
    words = normalize(told - told[torch.tensor([verb in training for verb in names])].mean(dim=0), dim=-1)
    shown: list[tuple[AnnotatedImage, InteractionPair, str]] = []
    for image in dev.images:
        for pair in merge_rows(image):
            done = [(verb, pair.object) for verb in pair.verbs]
            hidden = [verb for verb, thing in done if (verb, thing) in split.dev_unseen]
            group = "seen" if not hidden else "unseen combination" if hidden[0] in training else "unseen verb"
            if NO_INTERACTION not in pair.verbs and not split.unseen & set(done):
                shown.append((image, pair, group))
    folder = image_folder(arguments.data, "dev")
    for margin in arguments.margins:
        named: dict[str, list[bool]] = defaultdict(list)
        with torch.no_grad():
            read = []
            for start in range(0, len(shown), BATCH):
                cuts = [_cut(folder, image, pair, margin) for image, pair, _ in shown[start : start + BATCH]]
                read.append(reader.eval()(teacher, teacher.visual_tokens(cuts), None).scene.float())
        readings = torch.cat(read)
        best = (normalize(readings - readings.mean(dim=0), dim=-1) @ words.T).argmax(dim=-1).tolist()
        for (_, pair, group), place in zip(shown, best, strict=True):
            named[group].append(names[place] in pair.verbs)
        told_of = ", ".join(f"{group} {100 * sum(of) / len(of):.1f} % of {len(of)}" for group, of in named.items())
        print("whole pictures" if margin == WHOLE else f"margin {margin:g}", told_of, sep=": ", flush=True)


def _cut(folder: Path, image: AnnotatedImage, pair: InteractionPair, margin: float) -> Image.Image:
    return load_image(folder / image.file_name).crop(cut_box(pair, image.width, image.height, margin))


if __name__ == "__main__":
    main()
