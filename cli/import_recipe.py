"""``llmtrain import``: a launch that somebody wrote, as a recipe."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from llmtrain.cli.options import AsJson


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

    What has no place in a recipe is listed on stderr.
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
        print_json(
            {
                "recipe": found.text,
                "notes": list(found.notes),
                "not_placed": [
                    {"flag": e.flag, "value": e.value or None, "why": e.why or None}
                    for e in found.left
                ],
                "left_to_the_launch": [f"{e.flag} {e.value}".strip() for e in found.ours],
                "problems": [problem.as_json() for problem in found.problems],
            }
        )
        return
    sys.stdout.write(found.text)
    print_warnings(tuple(listed(found)), err())
    if found.ours:
        flags = ", ".join(each.flag for each in found.ours)
        err().print(f"left to the launch: {flags}", soft_wrap=True)
    print_problems(found.problems, err())
