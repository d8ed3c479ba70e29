"""``llmtrain data``: text in, tokens out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmtrain.cli.options import AsJson

if TYPE_CHECKING:
    from llmtrain.data.request import Prepared, Request

app = typer.Typer(help="Turn text into Megatron's .bin/.idx files.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Without it the only verb below would stand for the group."""


@app.command("prepare")
def prepare(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT…", help=".txt, .jsonl (also .gz, .zst), .parquet, or folders of them."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="PREFIX", help="Make PREFIX.bin, PREFIX.idx.")
    ],
    tokenizer: Annotated[
        str,
        typer.Option(
            "--tokenizer",
            metavar="NAME",
            help="`bytes`, a `tokenizers` .json, a SentencePiece .model, or their folder.",
        ),
    ] = "bytes",
    key: Annotated[
        str, typer.Option("--key", help="Key of .jsonl, column of .parquet, that holds the text.")
    ] = "text",
    lines: Annotated[
        bool, typer.Option("--lines", help="Every line of a .txt is a document, not the file.")
    ] = False,
    end: Annotated[
        str | None,
        typer.Option("--end", metavar="TOKEN", help="Ends each document; `none`: nothing does."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Processes; without it one a processor."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at a broken line.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace PREFIX.*.")] = False,
    as_json: AsJson = False,
) -> None:
    """Turn text into tokens, in parallel; after a kill the same command goes on."""
    from llmtrain.data.request import Request
    from llmtrain.data.shards import input_files

    request = Request(
        files=tuple(input_files(inputs)),
        prefix=output,
        tokenizer=tokenizer,
        end=end,
        key=key,
        lines=lines,
        workers=workers or _processors(),
        strict=strict,
        overwrite=overwrite,
    )
    _show(_prepared(request), as_json=as_json)


def _processors() -> int:
    """Those that this process may use, which a job's cgroup or affinity can narrow."""
    import os

    has_affinity = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1


def _prepared(request: "Request") -> "Prepared":
    """Prepare under a progress bar on stderr, where that is a terminal."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    from llmtrain.cli.answer import err
    from llmtrain.data.prepare import prepare as make

    console = err()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    rest = (TransferSpeedColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, *rest, console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task(request.prefix.name, total=None)
            return make(request, lambda done, all_: bar.update(task, completed=done, total=all_))
    except KeyboardInterrupt:
        console.print("stopped; what is finished is kept: the same command goes on")
        raise


def _show(prepared: "Prepared", *, as_json: bool) -> None:
    """The counts on stdout, what was left out on stderr."""
    from llmtrain.cli.answer import err, out, print_json, print_warnings
    from llmtrain.data.merge import broken_file

    tally, console = prepared.tally, err()
    print_warnings(
        tuple(f"{each.file}, line {each.line:,}: {each.says}" for each in prepared.broken), console
    )
    if tally.broken:
        file = broken_file(prepared.prefix)
        says = f"{_count(tally.broken, 'broken line')} left out; see {file}"
        print_warnings((says,), console)
    if as_json:
        print_json(prepared.as_json())
        return
    speed = tally.size / max(prepared.seconds, 1e-9) / 1e6
    empty = f" ({_count(tally.empty, 'empty one')} left out)" if tally.empty else ""
    documents = _count(tally.documents, "document")
    lines = (
        f"{prepared.prefix}.bin and .idx",
        f"  {documents}{empty}, {tally.tokens:,} tokens of {prepared.dtype}",
        f"  {tally.size / 1e6:,.1f} MB of input in {prepared.seconds:.1f} s, {speed:,.1f} MB/s",
        f"  use it with: data=indexed 'data.paths=[{prepared.prefix.absolute()}]'",
    )
    out().print("\n".join(lines), soft_wrap=True)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
