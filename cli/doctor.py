"""``llmtrain doctor``: this machine against what the cluster promises."""

import typer

from llmtrain.cli.options import Arguments, AsJson, Recipes, folders


def doctor(arguments: Arguments = None, as_json: AsJson = False, recipes: Recipes = None) -> None:
    """Check this machine: GPUs, links, network, limits, disk; with a recipe, by its cluster."""
    from pathlib import Path

    from llmtrain.cli.answer import out, print_json
    from llmtrain.cli.planning import planned
    from llmtrain.cli.show_doctor import show_findings
    from llmtrain.config.errors import LaunchError
    from llmtrain.launchers.preflight.checks import judge
    from llmtrain.launchers.preflight.facts import read_facts
    from llmtrain.launchers.preflight.machine import Machine
    from llmtrain.launchers.screening import promise_of, room_for
    from llmtrain.runs.folder import runs_root

    recipe = planned(arguments, folders(recipes)).recipe if arguments else None
    site = recipe.site if recipe else None
    kept = site.checkpoints if site and site.checkpoints else str(runs_root(site))
    room = room_for(recipe, str(Path(kept).absolute()))
    facts = read_facts(Machine(), [Path(folder) for folder in room])
    found = judge(facts, promise_of(recipe.cluster if recipe else None, room=room))
    if as_json:
        rows = [each._asdict() for each in found]
        print_json({"host": facts.host, "findings": rows, "facts": facts.as_json()})
    else:
        show_findings(facts.host, found, out())
    bad = [each for each in found if each.level == "stop"]
    if bad and as_json:
        raise typer.Exit(LaunchError.status)
    if bad:
        says = f"{facts.host} is not fit: {'; '.join(each.says for each in bad[:3])}"
        raise LaunchError(says, hint=f"leave it out with --exclude={facts.host}")
