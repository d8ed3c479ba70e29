"""``llmtrain calibrate``: plans of a cluster corrected by runs that were made there."""

from pathlib import Path
from typing import Annotated

import typer

from llmtrain.cli.options import AsJson, complete_run_name


def calibrate(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN…",
            help="Runs of one cluster, program and precision.",
            autocompletion=complete_run_name,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write this file, not the one that later plans read.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure what a plan says against runs, and correct later plans by it."""
    from llmtrain.cli.answer import err, print_json
    from llmtrain.cli.show_calibration import calibration_json, show_measured
    from llmtrain.config.errors import LaunchError
    from llmtrain.config.search import user_folder
    from llmtrain.planner.calibration import FOLDER
    from llmtrain.runs.calibrate import as_text, calibration_of, file_name, measure
    from llmtrain.runs.folder import find_run

    folders = dict.fromkeys(find_run(name) for name in names)
    runs = [measure(folder) for folder in folders]
    found = calibration_of(runs)
    path = output or user_folder() / FOLDER / file_name(found)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(as_text(found), encoding="utf-8")
    except OSError as error:
        raise LaunchError(f"{path} cannot be written: {error.strerror}") from error
    show_measured(runs, found, err())
    if as_json:
        print_json(calibration_json(runs, found, path))
    else:
        typer.echo(as_text(found), nl=False)
    err().print(f"written to {path}" + ("" if output else "; later plans of this cluster use it"))
