"""``llmtrain status``: the runs, or one of them."""

from typing import Annotated

import typer

from llmtrain.cli.options import AsJson, _complete_run


def status(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="One run in detail.", autocompletion=_complete_run),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the runs, the newest first, or one run in detail."""
    from llmtrain.cli.answer import out, print_json
    from llmtrain.cli.show_runs import show_run, show_runs
    from llmtrain.runs.folder import find_run, run_folders, runs_root
    from llmtrain.runs.presence import presences
    from llmtrain.runs.state import read_state

    root = runs_root()
    if name is not None:
        state = read_state(find_run(name, root))
        if as_json:
            print_json(state.as_json())
        else:
            show_run(state, out())
        return
    there = presences(list(run_folders(root)))
    states = [read_state(folder, found) for folder, found in there.items()]
    if as_json:
        print_json({"runs": [state.as_json() for state in states]})
    else:
        show_runs(states, root, out())
