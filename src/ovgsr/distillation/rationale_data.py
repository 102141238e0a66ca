"""The training pictures that rationales are written about, and what writing about them takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ovgsr.data.errors import DataError
from ovgsr.data.swig import read_annotations, read_other_verbs, read_split, read_vocabulary, require_known_verbs
from ovgsr.models.text_encoder import load_text_encoder
from ovgsr.situation import AnnotatedImage
from ovgsr.teacher.jrg.assignments import Assignments
from ovgsr.teacher.jrg.confusable import matrix_similarity
from ovgsr.teacher.jrg.generate import Author, GenerationReport, OfflineAuthor, generate
from ovgsr.teacher.jrg.store import RationaleStore, Shard, StoreIdentity, StoreWriter, data_sha256
from ovgsr.teacher.jrg.template_writer import TEMPLATE, TemplateWriter
from ovgsr.verb_split import VerbSplit
from ovgsr.vocabulary import Vocabulary


@dataclass(frozen=True)
class RationaleData:
    """Training pictures of seen and rare verbs, and the words."""

    vocabulary: Vocabulary
    split: VerbSplit
    images: Sequence[AnnotatedImage]
    other_verbs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """File name -> verbs that are true of the picture besides its own."""

    @classmethod
    def read(cls, data: Path, split_file: Path | None = None) -> RationaleData:
        """Raises DataError where there is no data set, or no training picture of the split's verbs."""
        vocabulary = read_vocabulary(data)
        split = read_split(data, split_file) or VerbSplit("all verbs seen", seen=vocabulary.verb_names)
        require_known_verbs(split, vocabulary)
        images = split.pictures(read_annotations(data, "train"), "train")
        if not images:
            raise DataError(f"{data}: no training picture of a seen or rare verb of the split {split.name!r}")
        return cls(vocabulary, split, images, read_other_verbs(data))

    def assignments(self, k: int, seed: int) -> Assignments:
        """What each picture is judged about. The sentences of unseen verbs are not even embedded."""
        embedded = load_text_encoder().encode([self.vocabulary.verb(name).text for name in self.split.training])
        similarity = matrix_similarity(self.split.training, (embedded @ embedded.T).tolist())
        return Assignments(
            self.vocabulary, self.split, self.images, similarity, k=k, seed=seed, other_verbs=self.other_verbs
        )

    def identity(self, author: Author, template: str, fingerprint: str, k: int, seed: int) -> StoreIdentity:
        """What a folder of these rationales says of itself."""
        return StoreIdentity(
            template=template,
            template_sha256=fingerprint,
            model=author.name,
            is_llm=author.is_llm,
            split=self.split.name,
            split_sha256=self.split.fingerprint,
            data=self.vocabulary.name,
            data_sha256=data_sha256(self.vocabulary),
            k=k,
            seed=seed,
        )


def template_author(assignments: Assignments) -> tuple[Author, str]:
    """The template writer, which is no LLM, and its fingerprint."""
    writer = TemplateWriter(assignments.vocabulary, assignments.split)
    author = OfflineAuthor(writer.name, writer.fingerprint, assignments.written_by(writer), is_llm=writer.is_llm)
    return author, writer.fingerprint


def has_a_filler(image: AnnotatedImage) -> bool:
    """Whether the annotators filled any role: without one there is nothing to judge."""
    return any(noun.noun for noun in image.situation.nouns.values())


def write_template_rationales(
    folder: Path, data: RationaleData, *, k: int = 2, seed: int = 0, progress: Callable[..., None] | None = None
) -> RationaleStore:
    """Rationales of every training picture by the template writer, or what a stopped run still lacks of them."""
    assignments = data.assignments(k, seed)
    author, fingerprint = template_author(assignments)
    identity = data.identity(author, TEMPLATE, fingerprint, k, seed)
    with StoreWriter(folder, identity, Shard.parse("1/1")) as store:
        images = [image for image in data.images if has_a_filler(image)]
        generate(images, assignments.facts, author, store, progress=progress, report=GenerationReport())
    return RationaleStore.open(folder, split=data.split)
