"""Options of every command that lets a multimodal LLM recognize situations itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ovgsr.recognizers.prompted import PromptedRecognizer

Teacher = Annotated[
    str | None,
    typer.Option(help="Multimodal LLM to prompt instead of a student: folder, hub name, or 'sketch' (drawings only)."),
]
Precision = Annotated[
    str, typer.Option("--teacher-precision", help="auto, fp32, bf16, fp16, int8 or int4: the teacher's weights.")
]
Verbs = Annotated[
    str, typer.Option("--teacher-verbs", help="Verbs of the teacher by 'likelihood', or from its own 'caption'.")
]
Roles = Annotated[
    str, typer.Option("--teacher-roles", help="Roles of the teacher from a 'json' reply, or by 'likelihood'.")
]
Calibration = Annotated[
    str, typer.Option("--teacher-calibration", help="'none', or 'blank': against the teacher's liking for some verbs.")
]


def prompted_recognizer(
    teacher: str, precision: str, verbs: str, roles: str, calibration: str, device: str | None
) -> PromptedRecognizer:
    """The teacher as a recognizer. Raises PromptError on a word that is no choice, before anything is loaded."""
    from ovgsr.recognizers.prompted_settings import PromptError, PromptSettings

    if calibration not in ("none", "blank"):
        raise PromptError(f"--teacher-calibration must be none or blank, not {calibration!r}")
    choices = ("auto", "fp32", "bf16", "fp16", "int8", "int4")
    if precision not in choices:
        raise PromptError(f"--teacher-precision must be one of {', '.join(choices)}, not {precision!r}")
    settings = PromptSettings(verb_readout=verbs, role_readout=roles, calibration=calibration)  # type: ignore[arg-type]
    from ovgsr.recognizers.prompted import PromptedRecognizer  # seconds to import: a wrong word is told before

    return PromptedRecognizer.from_pretrained(
        teacher,
        device=device,
        precision=precision,  # type: ignore[arg-type]
        settings=settings,
    )
