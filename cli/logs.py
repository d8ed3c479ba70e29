"""``llmtrain logs``: what the ranks of a run said."""

from typing import Annotated

import typer

from llmtrain.cli.options import AsJson, RunName


def logs(
    name: RunName,
    rank: Annotated[
        int | None, typer.Option("--rank", min=0, help="Only this rank.", show_default=False)
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on while it runs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the logs of a run."""
    from llmtrain.cli.answer import print_json
    from llmtrain.runs.folder import find_run, runs_root
    from llmtrain.runs.logs import follow_lines, label, lines, log_files, require_logs
    from llmtrain.runs.presence import Watch

    if follow and as_json:
        raise typer.BadParameter("--json is one document; it does not go with --follow")
    folder = find_run(name, runs_root())
    watch = Watch(folder)
    if follow and watch.alive():
        for path, line in follow_lines(lambda: log_files(folder, rank), watch.alive):
            typer.echo(line if rank is not None else f"{label(path)}: {line}")
        return
    files = require_logs(folder, rank)
    if as_json:
        said = [{"log": label(path), "line": line} for path, line in lines(files)]
        print_json({"lines": said})
        return
    for path, line in lines(files):
        typer.echo(line if len(files) == 1 else f"{label(path)}: {line}")
