"""``llmtrain status``: the runs, or one of them."""

from pathlib import Path
from typing import Annotated

import typer

from llmtrain.cli.options import AsJson, complete_run_name


def status(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]", help="One run in detail.", autocompletion=complete_run_name
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it again until nothing runs.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Also runs of long ago.")] = False,
    prometheus: Annotated[
        Path | None,
        typer.Option(
            "--prometheus",
            metavar="FILE",
            help="Write the runs that are shown as metrics, in one step.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the runs, the newest first, or one run in detail."""
    from llmtrain.cli.watching import Shown, show, watching
    from llmtrain.runs.folder import find_run, run_roots

    if watch and as_json:
        raise typer.BadParameter("--json is one document; it does not go with --watch")
    shown = Shown(
        roots=run_roots(),
        folder=None if name is None else find_run(name),
        everything=everything,
        prometheus=prometheus,
    )
    if watch:
        watching(shown)
    else:
        show(shown, as_json=as_json)
