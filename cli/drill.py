"""``llmtrain drill``: rehearse on one or two nodes what will happen to a run."""

from typing import Annotated

import typer

from llmtrain.cli.options import Arguments, AsJson, Recipes, folders


def drill(
    arguments: Arguments = None,
    as_json: AsJson = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    recipes: Recipes = None,
) -> None:
    """Rehearse the time limit, killed ranks, a lost node and the resume with a small run."""
    from llmtrain.cli.answer import err, out, print_json
    from llmtrain.cli.launching import prepared
    from llmtrain.cli.planning import planned, require_launchable
    from llmtrain.cli.show_drill import show_drill
    from llmtrain.cli.submitting import require_submittable
    from llmtrain.config.errors import RunError
    from llmtrain.planner.plan import make_plan
    from llmtrain.runs.drill.drill import drill as rehearse
    from llmtrain.runs.drill.scaled import scaled

    real = planned(arguments, folders(recipes))
    plan, launch = prepared(make_plan(scaled(real)))
    require_launchable(plan)
    assert launch is not None
    require_submittable(plan, launch, err(), yes=yes)
    found = rehearse(real, plan, launch, err())
    if as_json:
        print_json(found.as_json())
    else:
        show_drill(found, out())
    if not found.passed and as_json:
        raise typer.Exit(RunError.status)
    if not found.passed:
        says = f"{found.folder.name} has not survived the drill"
        raise RunError(says, hint=f"llmtrain why {found.folder}")
