"""``llmtrain resume``: go on with a run in its own folder."""

from typing import Annotated

import typer

from llmtrain.cli.options import AsJson, RunName


def resume(
    name: RunName,
    changes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]…",
            help="Go on with another layout, or other keys, in the same folder.",
            show_default=False,
        ),
    ] = None,
    look: Annotated[
        bool, typer.Option("--check", help="Say what would be loaded, and stop.")
    ] = False,
    as_json: AsJson = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end of the run.")] = False,
) -> None:
    """Go on from the newest complete checkpoint, which is looked at first."""
    from llmtrain.cli.answer import err
    from llmtrain.cli.going_on import begin, show_check
    from llmtrain.cli.launching import report
    from llmtrain.runs.folder import find_run
    from llmtrain.runs.operate import resume as resume_run
    from llmtrain.runs.submitted import on_slurm, resume_job

    console, folder = err(), find_run(name)
    if look:
        show_check(folder, changes or [], as_json=as_json)
        return
    begin(folder, changes or [], console)
    if on_slurm(folder):
        from llmtrain.cli.submitting import after_submit

        after_submit(folder, resume_job(folder, console), as_json=as_json, wait=wait)
    else:
        report(resume_run(folder, console), console, as_json=as_json)
