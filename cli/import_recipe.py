"""``llmtrain import``: a launch that somebody wrote, as a recipe."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmtrain.cli.options import AsJson

if TYPE_CHECKING:
    from llmtrain.launchers.importing.recipe import Imported


def import_recipe(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A launch script, a command line, or a NeMo YAML."),
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]…",
            help="What the file does not say: `cluster=` and `backend.version=`.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read a Megatron-LM or Megatron-DeepSpeed launch and print the recipe it stands for.

    What has no place in a recipe is listed on stderr. The exit status is 3 if it is not valid.
    """
    from llmtrain.cli.answer import err, print_json, print_problems, print_warnings
    from llmtrain.config.errors import UsageError
    from llmtrain.launchers.importing.recipe import import_file, listed

    given = tuple(arguments or ())
    allowed = ("cluster=", "backend.version=")
    wrong = [word for word in given if not word.startswith(allowed)]
    if wrong:
        hint = "write the recipe to a file first, then `llmtrain plan recipe=FILE KEY=VALUE`"
        says = f"`{wrong[0]}`: only `cluster=NAME` and `backend.version=NAME` are given here"
        raise UsageError(says, hint=hint)
    found = import_file(file, given)
    if as_json:
        print_json(imported_json(found))
    else:
        sys.stdout.write(found.text)
        print_warnings(tuple(listed(found)), err())
        if found.ours:
            flags = ", ".join(each.flag for each in found.ours)
            err().print(f"left to the launch: {flags}", soft_wrap=True)
        print_problems(found.problems, err())
    if found.problems:
        raise typer.Exit(3)


def imported_json(found: "Imported") -> dict[str, Any]:
    """What became of the file, for ``--json``."""
    return {
        "recipe": found.text,
        "notes": list(found.notes),
        "not_placed": [
            {"flag": each.flag, "value": each.value or None, "why": each.why or None}
            for each in found.left
        ],
        "left_to_the_launch": [f"{each.flag} {each.value}".strip() for each in found.ours],
        "problems": [problem.as_json() for problem in found.problems],
    }
