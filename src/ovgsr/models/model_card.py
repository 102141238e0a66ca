"""The README.md of a checkpoint, in the Hugging Face hub's format: what it is, its data, its use and its licence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ovgsr.config import ModelSettings
from ovgsr.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where weights come from, as every result that comes from them says."""

    dataset: str = ""
    notice: str = ""
    recipe: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CardText:
    """What a card says of a task."""

    title: str
    tags: tuple[str, ...]
    what: str
    use: str


SITUATIONS = CardText(
    title="Grounded situation recognition",
    tags=("situation-recognition", "grounded-situation-recognition"),
    what="""\
Says what is going on in a picture (a verb), who and what takes part (a noun for each role of the verb's frame) and
where (a box). Verbs and nouns are an argument of the call: words outside the training vocabulary can be offered too.\
""",
    use="""from ovgsr import SituationRecognizer

recognizer = SituationRecognizer.from_pretrained("path/to/this/folder")
print(recognizer("picture.jpg").best)""",
)

INTERACTIONS = CardText(
    title="Human-object interactions",
    tags=("human-object-interaction",),
    what="""\
Finds people and the objects that they do something with: where both are (boxes), what the object is and what the person
does. Verbs and objects are an argument of the call: words outside the training vocabulary can be offered too.\
""",
    use="""from ovgsr.recognizers.pairs import PairRecognizer

recognizer = PairRecognizer.from_pretrained("path/to/this/folder")
print(recognizer("picture.jpg").pairs[:3])""",
)


def model_card(text: CardText, settings: ModelSettings, vocabulary: Vocabulary, provenance: Provenance) -> str:
    """The card of a checkpoint with these settings, trained on these words."""
    backbone = settings.backbone
    return _CARD.format(
        tags="\n".join(f"- {tag}" for tag in (*text.tags, "open-vocabulary")),
        title=text.title,
        what=text.what,
        use=text.use,
        notice=f"\n**{provenance.notice}**\n" if provenance.notice else "",
        dataset=provenance.dataset or "not recorded",
        recipe=provenance.recipe or "not recorded",
        details="".join(f"- {name.replace('_', ' ')}: {value}\n" for name, value in provenance.details.items()),
        backbone="a small residual network trained from scratch" if backbone == "sketch" else f"`{backbone}`",
        text_encoder=settings.text_encoder,
        verbs=len(vocabulary.verbs),
        nouns=len(vocabulary.nouns),
    )


_CARD = """---
library_name: ovgsr
license: apache-2.0
tags:
{tags}
---

# {title}

{what}
{notice}
## Use

```python
{use}
```

## Training

- data: {dataset}
- vocabulary: {verbs} verbs and {nouns} nouns (`vocabulary.json`)
- recipe: {recipe}
- image encoder: {backbone}
- text encoder: {text_encoder}
{details}
## Licence

The weights are under the Apache License 2.0. Where the image encoder was pretrained, or the data set has terms of its
own, those apply as well.
"""
