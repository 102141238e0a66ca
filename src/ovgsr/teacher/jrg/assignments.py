"""What is asked about each training picture: its facts, the confusable verbs and wrong fillers offered, the prompt.

All of it follows from the training set, the split, ``k`` and the seed: not from the order of the pictures, nor from
which of them are asked about in one run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ovgsr.inflections import mentions
from ovgsr.noun_phrases import word_set
from ovgsr.situation import AnnotatedImage
from ovgsr.teacher.jrg.confusable import ConfusableVerbs, Similarity, WrongFillers, fillers_by_role
from ovgsr.teacher.jrg.facts import Facts, facts_of
from ovgsr.teacher.jrg.generate import Ask, Prompt
from ovgsr.teacher.jrg.parsing import Judgements
from ovgsr.teacher.jrg.places_in_words import part_of_picture
from ovgsr.teacher.jrg.template_writer import TemplateWriter
from ovgsr.teacher.jrg.templates import RationaleTemplate
from ovgsr.verb_split import VerbSplit
from ovgsr.vocabulary import Vocabulary

SPARE_FILLERS = 2
"""So many more wrong fillers are offered than asked for: some do not fit a scene."""
SPARE_VERBS = 4

_SPOKEN_OF = word_set(
    "bottom centre image left middle none nothing part picture photograph place right scene top unknown"
)


class Assignments:
    """Assignments over a training set. ``images`` are all of its pictures of training verbs, not only those to do.

    ``other_verbs`` are verbs that are true of a picture besides its own: they are not offered as wrong.

    Raises ConfusableError where a training verb is not in the vocabulary.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        split: VerbSplit,
        images: Sequence[AnnotatedImage],
        similarity: Similarity,
        *,
        k: int,
        seed: int,
        other_verbs: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self.split = split
        self.k = k
        self.seed = seed
        self.other_verbs = other_verbs or {}
        self.forbidden = (*split.unseen, *split.dev_unseen)
        self._confusable = ConfusableVerbs(vocabulary, split.training, similarity)
        self._wrong = WrongFillers(vocabulary, fillers_by_role(images), self.forbidden)

    def facts(self, image: AnnotatedImage) -> Facts:
        """What is true of a picture and what is offered as wrong. Raises ConfusableError for an unseen verb.

        No verb is offered whose form stands in a filler's words (fishing for a fishing rod), and no wrong filler with a
        form of an offered verb: a text could not name the one without the other.
        """
        situation = image.situation
        known = facts_of(image, self.vocabulary, places={})
        words = " . ".join(phrase for filler in known.fillers.values() for phrase in sorted(filler.exact))
        spare = self._confusable.choose(
            situation.verb, self.k + SPARE_VERBS if self.k else 0, seed=self.seed, picture=image.file_name
        )
        said = mentions(words, spare, known.nouns).union(self.other_verbs.get(image.file_name, ()))
        offered = tuple(verb for verb in spare if verb not in said)[: self.k]
        return facts_of(
            image,
            self.vocabulary,
            places={
                role: part_of_picture(noun.box_xyxy, image.width, image.height)
                for role, noun in situation.nouns.items()
                if noun.box_xyxy is not None
            },
            offered=offered,
            wrong_fillers=self._wrong_fillers(image, offered),
            forbidden=self.forbidden,
            k=self.k,
        )

    def _wrong_fillers(self, image: AnnotatedImage, offered: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
        """Left out is what judgements speak of anyway (roles, the picture and its parts), and what is no thing."""
        amount = self.k + SPARE_FILLERS if self.k else 0
        found = self._wrong.choose(image, amount, seed=self.seed, avoided=offered)
        spoken_of = _SPOKEN_OF.union(image.situation.roles)
        return {role: tuple(word for word in words if word not in spoken_of) for role, words in found.items()}

    def prompt(self, template: RationaleTemplate) -> Callable[[Ask], Prompt]:
        """What puts a picture into words for a language model."""

        def render(ask: Ask) -> Prompt:
            rendered = template.render(
                ask.image,
                self.vocabulary,
                self.split,
                confusable=ask.facts.offered,
                wrong_fillers=ask.facts.wrong_fillers,
                k=self.k,
            )
            return Prompt(rendered.system, rendered.user, rendered.schema)

        return render

    def written_by(self, writer: TemplateWriter) -> Callable[[Ask], Judgements]:
        """What asks the writer that needs no language model."""

        def write(ask: Ask) -> Judgements:
            offered, wrong = ask.facts.offered, ask.facts.wrong_fillers
            return writer.write(ask.image, confusable=offered, wrong_fillers=wrong, k=self.k, seed=ask.seed)

        return write
