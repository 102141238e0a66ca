"""Writes the table that the package's own split of SWiG's verbs follows from: their groups and noun reach.

``--annotations``: records of imSitu or SWiG, a JSON object from file name to verb and frames; boxes are not read.
The split itself follows from the table alone (``ovgsr.data.ov_swig.shipped_split``).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ovgsr.data.flaws import flaws
from ovgsr.data.ov_swig import frame_groups, noun_reach, shipped_split, told
from ovgsr.data.split_summary import summarise
from ovgsr.files import write_text_atomically
from ovgsr.models.text_encoder import load_text_encoder
from ovgsr.situation import AnnotatedImage, GroundedNoun, Situation
from ovgsr.vocabulary import swig_vocabulary

ASSETS = Path(__file__).parents[1] / "src" / "ovgsr" / "assets" / "splits"


def main() -> None:
    """Writes the table, then the split."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--annotations", type=Path, required=True)
    records = json.loads(parser.parse_args().annotations.read_text(encoding="utf-8"))
    images = []
    for name, record in records.items():
        answers = {role: tuple(frame[role] for frame in record["frames"]) for role in record["frames"][0]}
        nouns = {role: GroundedNoun(given[0], annotators=given) for role, given in answers.items()}
        images.append(AnnotatedImage(name, 1, 1, (Situation(record["verb"], nouns),)))
    reach = noun_reach(images)
    verbs = swig_vocabulary().verbs
    text = load_text_encoder().encode([told(verb) for verb in verbs]).numpy()
    lines = ["verb\tgroup\tnoun_reach"]
    for number, group in enumerate(frame_groups(verbs, text), start=1):
        lines += [f"{verb}\t{number}\t{f'{reach[verb]:.3f}' if verb in reach else ''}" for verb in group]
    write_text_atomically(ASSETS / "ov_swig_verbs.tsv", "\n".join(lines) + "\n")
    split = shipped_split()
    write_text_atomically(ASSETS / "ov_swig.json", json.dumps(split.to_json(), indent=1) + "\n")
    summary = summarise(split, {"train": tuple(images), "dev": (), "test": tuple(images)})
    print(f"{len(images)} pictures, of {len(reach)} of {len(verbs)} verbs; in training: {summary.pictures}")
    print(f"not in training: {summary.left_out}")
    print(f"answered for unseen verbs and met in training: {summary.answers_met:.1%}")
    print({reason: len(names) for reason, names in flaws(images).items()})


if __name__ == "__main__":
    main()
