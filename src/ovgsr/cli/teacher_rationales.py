"""``ovgsr teacher rationales`` and ``merge-rationales``: an LLM, or the template writer, on each training picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ovgsr.situation import AnnotatedImage
    from ovgsr.teacher.jrg.assignments import Assignments
    from ovgsr.teacher.jrg.generate import Author, GenerationReport
    from ovgsr.teacher.jrg.store import Shard, StoreIdentity
    from ovgsr.teacher.llm.backend import LanguageModel

BACKENDS = ("template", "openai", "local")
NO_LLM = "These rationales were written by templates, not by an LLM: they say what the annotation says and no more."


def rationales(
    data: Annotated[Path, typer.Option(help="Folder of the data set, in SWiG layout.")],
    out: Annotated[Path, typer.Option(help="Folder of the rationales; a stopped run goes on there.")],
    split: Annotated[Path | None, typer.Option(help="Split file, or ov_swig; default: the data set's own.")] = None,
    backend: Annotated[
        str, typer.Option(help="template (no LLM, offline), openai (any such server), or local (Hugging Face model).")
    ] = "template",
    model: Annotated[str | None, typer.Option(help="The server's model; for local a folder or hub name.")] = None,
    base_url: Annotated[str | None, typer.Option(help="The server, e.g. http://localhost:8000/v1.")] = None,
    key_variable: Annotated[
        str | None, typer.Option(help="Environment variable that holds the server's key; default: OPENAI_API_KEY.")
    ] = None,
    k: Annotated[int, typer.Option(min=0, max=8, help="Negatives of each glimpse and gaze.")] = 2,
    template: Annotated[str, typer.Option(help="Template: the package's jrg-1, or a folder of your own.")] = "jrg-1",
    seed: Annotated[int, typer.Option(help="Other seeds choose other confusable verbs and other words.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many training pictures.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests under way (openai), pictures a batch (local).")] = 8,
    requests_per_minute: Annotated[float | None, typer.Option(min=0.01, help="Of the openai backend.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for a request of the openai backend.")] = 120.0,
    attempts: Annotated[int, typer.Option(min=1, help="Tries a picture before it is quarantined.")] = 3,
    shard: Annotated[str, typer.Option(help="i/n: this process does part i of n, all into one folder.")] = "1/1",
    retry_quarantined: Annotated[bool, typer.Option("--retry-quarantined", help="Ask about those again.")] = False,
    device: Annotated[str | None, typer.Option(help="Of the local backend; default: a GPU where there is one.")] = None,
) -> None:
    """Write rationales for every training picture of seen and rare verbs that has none; unseen verbs are never named.

    A stopped or killed run is finished by the same command. A reply that breaks a rule is asked for again, then its
    picture is quarantined with the reasons, and the exit code is 1.
    """
    from ovgsr.teacher.jrg.store import Shard

    part = Shard.parse(shard)
    wanted = _Wanted(backend, model, base_url, key_variable, concurrency, requests_per_minute, timeout, device)
    wanted.check()
    from ovgsr.distillation.rationale_data import RationaleData, has_a_filler

    read = RationaleData.read(data, split)
    assignments = read.assignments(k, seed)
    author, fingerprint, template_id = _author(wanted, template, assignments)
    identity = read.identity(author, template_id, fingerprint, k, seed)
    images = [image for image in read.images[:limit] if image.file_name in part]
    told = [image for image in images if has_a_filler(image)]
    report = _generate(told, assignments, author, identity, out, part, attempts, retry_quarantined)
    _print_report(report, out, author.is_llm, untold=len(images) - len(told))
    if report.quarantined or report.quarantined_before:
        raise typer.Exit(1)


def merge(
    parts: Annotated[list[Path], typer.Argument(help="Folders of rationales of the same make, e.g. of shards.")],
    out: Annotated[Path, typer.Option(help="New folder to join them in.")],
) -> None:
    """Join rationales that were written in parts on several machines into one file, sorted by picture.

    Folders made by another template, model, split, seed or number of negatives are refused.
    """
    from ovgsr.teacher.jrg.store import merge_stores

    counts = merge_stores(out, parts).counts()
    _say(f"{out}: {counts['pictures']} pictures with rationales, {counts['quarantined']} quarantined")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The options of the backends, checked before anything is read."""

    backend: str
    model: str | None
    base_url: str | None
    key_variable: str | None
    concurrency: int
    requests_per_minute: float | None
    timeout: float
    device: str | None

    def check(self) -> None:
        from ovgsr.errors import OvgsrError

        if self.backend not in BACKENDS:
            raise OvgsrError(f"--backend must be one of {', '.join(BACKENDS)}, not {self.backend!r}")
        if self.backend != "template" and self.model is None:
            raise OvgsrError(f"--backend {self.backend} needs --model: which language model is to write?")
        if self.backend == "template" and (self.model or self.base_url):
            raise OvgsrError(
                "--model and --base-url are of no use to --backend template; add --backend openai or local"
            )
        if self.backend != "openai" and (self.base_url or self.key_variable or self.requests_per_minute):
            raise OvgsrError("--base-url, --key-variable and --requests-per-minute are options of --backend openai")


def _author(wanted: _Wanted, template: str, assignments: Assignments) -> tuple[Author, str, str]:
    """Who writes, the fingerprint of the template, and its id."""
    from ovgsr.distillation.rationale_data import template_author
    from ovgsr.teacher.jrg.generate import PromptedAuthor
    from ovgsr.teacher.jrg.template_writer import TEMPLATE
    from ovgsr.teacher.jrg.templates import RationaleTemplate, TemplateError

    if wanted.backend != "template":
        loaded = RationaleTemplate.load(template)
        return PromptedAuthor(_language_model(wanted), assignments.prompt(loaded)), loaded.sha256, loaded.id
    if template != TEMPLATE:
        raise TemplateError(f"--backend template writes in the manner of {TEMPLATE} only; --template is for an LLM")
    author, fingerprint = template_author(assignments)
    return author, fingerprint, TEMPLATE


def _language_model(wanted: _Wanted) -> LanguageModel:
    model = str(wanted.model)
    if wanted.backend == "openai":
        from ovgsr.teacher.llm.openai_model import OpenAiModel

        return OpenAiModel(
            model,
            wanted.base_url,
            api_key_variable=wanted.key_variable,
            concurrency=wanted.concurrency,
            timeout=wanted.timeout,
            requests_per_minute=wanted.requests_per_minute,
        )
    import torch

    from ovgsr.teacher.llm.local_model import LocalModel

    found = torch.accelerator.current_accelerator(check_available=True)
    return LocalModel(model, device=wanted.device or found or "cpu", batch_size=wanted.concurrency)


def _generate(
    images: list[AnnotatedImage],
    assignments: Assignments,
    author: Author,
    identity: StoreIdentity,
    out: Path,
    part: Shard,
    attempts: int,
    retry_quarantined: bool,
) -> GenerationReport:
    from ovgsr.cli.progress import progress_bar
    from ovgsr.teacher.jrg.generate import GenerationReport, generate
    from ovgsr.teacher.jrg.store import StoreWriter

    report = GenerationReport()
    try:
        with StoreWriter(out, identity, part) as store, progress_bar("rationales") as progress:
            generate(
                images,
                assignments.facts,
                author,
                store,
                attempts=attempts,
                retry_quarantined=retry_quarantined,
                progress=progress,
                report=report,
            )
    except KeyboardInterrupt:
        _say(f"{report.written} pictures were written in this run and are stored; the same command goes on from there")
        raise
    return report


def _print_report(report: GenerationReport, out: Path, is_llm: bool, *, untold: int) -> None:
    from rich.table import Table

    from ovgsr.cli.progress import console

    table = Table(title=f"rationales in {out}", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    rate = report.written / report.seconds if report.seconds else 0.0
    rows: list[tuple[str, str]] = [
        ("training pictures of this part", f"{report.total + untold}"),
        ("left out: the annotators filled no role", f"{untold}"),
        ("there already", f"{report.already}"),
        ("written", f"{report.written}"),
        ("stale: their annotation has changed", f"{report.stale}"),
        ("asked about again", f"{report.retried}"),
        ("quarantined", f"{report.quarantined}"),
        *((f"  {code}", f"{count}") for code, count in report.reasons.most_common()),
        ("quarantined before (--retry-quarantined)", f"{report.quarantined_before}"),
        ("pictures/s", f"{rate:.1f}"),
        ("characters written", f"{report.characters}"),
        ("characters a picture", f"{report.characters / max(1, report.written):.0f}"),
    ]
    for name, value in rows:
        table.add_row(name, value)
    console.print(table)
    example = report.example
    if example is not None:
        _say(f"for example {example.file_name}, {example.verb}:")
        _say(f"  + {example.glimpse.positive}")
        for negative in example.glimpse.negatives:
            _say(f"  - {negative.text}")
        for role, gaze in example.gazes.items():
            _say(f"  + {role}: {gaze.positive}")
            for negative in gaze.negatives:
                _say(f"  - {role}: {negative.text}")
    if not is_llm:
        _say(NO_LLM)


def _say(sentence: str) -> None:
    from ovgsr.cli.progress import console

    console.print(sentence, highlight=False, markup=False, soft_wrap=True)
