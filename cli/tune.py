"""``llmtrain tune``: the best layouts of a recipe on its cluster."""

from typing import Annotated

import typer

from llmtrain.cli.options import Arguments, AsJson, Recipes, folders

OBJECTIVES = ("step", "days", "gpu-hours", "money")
FREE = ("gpus", "size")


def _complete_key(incomplete: str) -> list[str]:
    from llmtrain.planner.search.space import KEYS

    known = sorted(key for keys in KEYS.values() for key in keys)
    return [key for key in known if key.startswith(incomplete)]


def _complete_objective(incomplete: str) -> list[str]:
    return [name for name in OBJECTIVES if name.startswith(incomplete)]


def _complete_free(incomplete: str) -> list[str]:
    return [name for name in FREE if name.startswith(incomplete)]


def tune(
    arguments: Arguments = None,
    top: Annotated[int, typer.Option("--top", min=1, metavar="N", help="How many to show.")] = 5,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep",
            metavar="KEY",
            help="Hold this key or group as the recipe has it.",
            autocompletion=_complete_key,
        ),
    ] = None,
    least: Annotated[
        str,
        typer.Option(
            "--least",
            metavar="WHAT",
            help="step, days, gpu-hours or money.",
            autocompletion=_complete_objective,
        ),
    ] = "step",
    within: Annotated[
        list[str] | None,
        typer.Option(
            "--within",
            metavar="LIMIT=VALUE",
            help="A limit: days, gpu-hours, money, or memory (share of the GPU's).",
        ),
    ] = None,
    free: Annotated[
        list[str] | None,
        typer.Option(
            "--free",
            metavar="WHAT",
            help="Let this vary too: gpus, or size.",
            autocompletion=_complete_free,
        ),
    ] = None,
    as_json: AsJson = False,
    recipes: Recipes = None,
) -> None:
    """Search all layouts of a recipe: which fits, which is fastest or cheapest, and why."""
    from llmtrain.cli.answer import out, print_json
    from llmtrain.cli.show_tuning import show_tuning
    from llmtrain.cli.tuning import limits_of, one_of, tuned
    from llmtrain.config.errors import PlanError
    from llmtrain.planner.search.result import tuning_json

    objective = one_of("--least", least, OBJECTIVES)
    for each in free or ():
        one_of("--free", each, FREE)
    answer = tuned(
        arguments,
        folders(recipes),
        top=top,
        keep=keep or (),
        objective=objective,
        limits=limits_of(within or ()),
        free=free or (),
    )
    if as_json:
        print_json(tuning_json(answer))
    else:
        show_tuning(answer, out())
    if answer.problem is not None:
        raise PlanError(answer.problem)
