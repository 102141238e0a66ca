"""``ovgsr``: the commands, and how bad input ends (a sentence, exit code 1, no traceback)."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from ovgsr.cli import (
    ablate,
    data_check,
    data_prepare,
    data_split,
    demo,
    evaluate,
    explain,
    export,
    predict,
    sketch,
    teacher_pretrain,
    teacher_rationales,
    teacher_show,
    teacher_signals,
    teacher_tokens,
    train,
)

app = typer.Typer(
    name="ovgsr",
    help="Open-vocabulary grounded situation recognition: what is going on, who takes part, and where.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")
teacher_app = typer.Typer(help="The multimodal LLM: visual tokens, rationales, pretraining.", no_args_is_help=True)
app.add_typer(teacher_app, name="teacher")

app.command("predict")(predict.predict)
app.command("evaluate")(evaluate.evaluate)
app.command("train")(train.train)
app.command("sketch")(sketch.sketch)
app.command("ablate")(ablate.ablate)
app.command("explain")(explain.explain)
app.command("export")(export.export)
app.command("demo")(demo.demo)
data_app.command("check")(data_check.check)
data_app.command("prepare")(data_prepare.prepare)
data_app.command("split")(data_split.split)
teacher_app.command("tokens")(teacher_tokens.tokens)
teacher_app.command("merge-tokens")(teacher_tokens.merge)
teacher_app.command("rationales")(teacher_rationales.rationales)
teacher_app.command("merge-rationales")(teacher_rationales.merge)
teacher_app.command("signals")(teacher_signals.signals)
teacher_app.command("show")(teacher_show.show)
teacher_app.command("pretrain")(teacher_pretrain.pretrain)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        from ovgsr import __version__

        print(__version__)
        raise typer.Exit


def run() -> None:
    """Runs the command line. ``OVGSR_TRACEBACK=1`` shows where an error came from."""
    from ovgsr.errors import OvgsrError

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # silences a warning about forked data loaders
    try:
        app()
    except OvgsrError as error:
        _end(str(error))
    except OSError as error:  # a disk that is full, a folder that may not be written
        _end(f"{error.filename or 'file'}: {error.strerror or error}")
    except KeyboardInterrupt:
        _end("stopped", 130)


def _end(sentence: str, code: int = 1) -> None:
    if os.environ.get("OVGSR_TRACEBACK") == "1":
        raise
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    run()
