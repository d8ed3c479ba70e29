"""``llmtrain why``: the first failure of a run, and what to do about it."""

from pathlib import Path
from typing import Annotated

import typer

from llmtrain.cli.options import AsJson, complete_run_name


def why(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN|FILE…",
            help="A run, or the logs of one job of any program.",
            autocompletion=complete_run_name,
        ),
    ],
    as_json: AsJson = False,
    life: Annotated[
        int | None,
        typer.Option("--life", help="Of this start of the ranks; the last one by default."),
    ] = None,
) -> None:
    """Say which rank failed first, why, and what to do: from the logs alone."""
    from llmtrain.cli.answer import err, out, print_json
    from llmtrain.cli.footer import print_footer
    from llmtrain.cli.show_why import cause_json, print_lives, print_next, show_cause
    from llmtrain.config.errors import RunError
    from llmtrain.runs.folder import find_run
    from llmtrain.runs.state import read_state
    from llmtrain.runs.why.advice import advise, standing
    from llmtrain.runs.why.cause import cause_of_files, cause_of_run

    files = [Path(each) for each in what]
    are_files = all(path.is_file() for path in files)
    if not are_files and len(what) > 1:
        missing = ", ".join(str(path) for path in files if not path.is_file())
        raise typer.BadParameter(f"one run, or files; there is no file {missing}")
    folder = None if are_files else find_run(what[0])
    try:
        cause = cause_of_files(files) if folder is None else cause_of_run(folder, life)
    except OSError as error:
        raise RunError(f"{error.filename} cannot be read: {error.strerror}") from error
    # The logs alone tell a failure; only where they have none it is asked how the run stands.
    ask = cause.hit is None and life is None
    state = read_state(folder) if ask and folder is not None else None
    cause = cause if state is None else standing(cause, state)
    advice = advise(cause, folder, state)
    if as_json:
        print_json(cause_json(cause, advice, folder, life))
        return
    show_cause(cause, advice, folder, life, out())
    if state is not None:
        print_footer(state, err(), without="why")
    elif folder is not None:
        print_next(cause, advice, folder, err())
    if folder is not None:
        print_lives(folder, life, err())
