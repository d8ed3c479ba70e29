"""``llmtrain logs``: what the ranks of a run said."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmtrain.cli.options import AsJson, RunName

if TYPE_CHECKING:
    import re


def logs(
    name: RunName,
    rank: Annotated[
        int | None, typer.Option("--rank", min=0, help="Only this rank.", show_default=False)
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on while it runs.")] = False,
    grep: Annotated[
        str | None,
        typer.Option("--grep", metavar="REGEX", help="Only lines that match.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the logs of a run."""
    from llmtrain.cli.answer import err, print_json
    from llmtrain.cli.footer import print_footer
    from llmtrain.runs.folder import find_run
    from llmtrain.runs.logs import label, lines, require_logs
    from llmtrain.runs.presence import Watch
    from llmtrain.runs.state import read_state

    if follow and as_json:
        raise typer.BadParameter("--json is one document; it does not go with --follow")
    wanted = _wanted(grep)
    folder = find_run(name)
    watch = Watch(folder)
    if follow and watch.alive():
        _follow(folder, rank, wanted, watch.alive)
    else:
        files = require_logs(folder, rank)
        found = ((path, line) for path, line in lines(files) if wanted(line))
        if as_json:
            said = [{"log": label(path), "line": line} for path, line in found]
            print_json({"lines": said})
            return
        for path, line in found:
            typer.echo(line if len(files) == 1 else f"{label(path)}: {line}")
    print_footer(read_state(folder), err(), without="logs")


def _follow(
    folder: Path, rank: int | None, wanted: Callable[[str], object], alive: Callable[[], bool]
) -> None:
    from llmtrain.runs.logs import follow_lines, label, log_files

    for path, line in follow_lines(lambda: log_files(folder, rank), alive):
        if wanted(line):
            typer.echo(line if rank is not None else f"{label(path)}: {line}")


def _wanted(grep: str | None) -> "Callable[[str], re.Match[str] | None] | Callable[[str], bool]":
    import re

    if grep is None:
        return lambda line: True
    try:
        return re.compile(grep).search
    except re.error as error:
        raise typer.BadParameter(f"--grep is no regular expression: {error}") from error
