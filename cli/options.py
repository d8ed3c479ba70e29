"""Arguments and options that several verbs share."""

from pathlib import Path
from typing import Annotated

import typer


def _complete(context: typer.Context, incomplete: str) -> list[str]:
    from llmtrain.cli.complete import complete_argument

    given = context.params
    return complete_argument(
        incomplete, given.get("arguments") or (), folders(given.get("recipes"))
    )


def complete_run_name(incomplete: str) -> list[str]:
    """Names of runs, for the shell."""
    from llmtrain.cli.complete import complete_run

    return complete_run(incomplete)


def complete_recipe_or_run(incomplete: str) -> list[str]:
    """Names of recipes and of runs, for the shell."""
    from llmtrain.cli.complete import complete_argument, complete_run

    found = complete_argument(f"recipe={incomplete}")
    return [*(word.removeprefix("recipe=") for word in found), *complete_run(incomplete)]


Arguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="recipe=NAME [KEY=VALUE]…",
        help="The recipe, by name or path, and changes to its keys.",
        autocompletion=_complete,
        show_default=False,
    ),
]
Recipes = Annotated[
    Path | None,
    typer.Option("--recipes", metavar="DIR", help="Search this folder first.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="Name of the run, the beginning of it, its folder, or `latest`.",
        autocompletion=complete_run_name,
    ),
]


def folders(recipes: Path | None) -> tuple[Path, ...]:
    """The search path that ``--recipes`` adds."""
    return () if recipes is None else (recipes,)
