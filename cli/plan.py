"""``llmtrain plan``: what a recipe means, without a launch."""

from typing import Annotated

import typer

from llmtrain.cli.options import Arguments, AsJson, Recipes, folders


def plan(
    arguments: Arguments = None,
    as_json: AsJson = False,
    explain: Annotated[
        str | None,
        typer.Option("--explain", metavar="FIELD", help="Formula, source, numbers of one field."),
    ] = None,
    backends: Annotated[
        bool,
        typer.Option("--backends", help="Compare all backends: same, approximated, impossible."),
    ] = False,
    recipes: Recipes = None,
) -> None:
    """Show the plan of a recipe: layout, placement, parameters, memory, step time."""
    from llmtrain.cli.answer import out, print_json
    from llmtrain.cli.planning import planned, require_launchable

    made = planned(arguments, folders(recipes))
    if explain is not None:
        from llmtrain.cli.show_explanation import show_explanation
        from llmtrain.planner.explain.explanation import explanation

        show_explanation(explanation(made, explain), as_json=as_json)
        return
    if backends:
        from llmtrain.cli.show_backends import backends_json, show_backends
        from llmtrain.launchers.equivalence import equivalents

        found = equivalents(made.recipe)
        if as_json:
            print_json(backends_json(made.recipe.name, found))
        else:
            show_backends(found, out())
        return
    if as_json:
        from llmtrain.planner.plan import plan_json

        print_json(plan_json(made))
    else:
        from llmtrain.cli.show_plan import show_plan

        show_plan(made, out())
    require_launchable(made)
