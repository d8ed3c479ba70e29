"""``llmtrain doctor``: this machine against what the cluster promises, and nodes to leave out."""

from typing import TYPE_CHECKING, Annotated

import typer

from llmtrain.cli.options import Arguments, AsJson, Recipes, folders

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from llmtrain.config.recipe import Recipe


def doctor(
    arguments: Arguments = None,
    exclude: Annotated[
        str | None,
        typer.Option(
            metavar="NODE",
            help="Keep jobs off this node instead, or off n[1-3],n7.",
            show_default=False,
        ),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(help="With --exclude: what is wrong.", show_default=False)
    ] = None,
    days: Annotated[
        float, typer.Option(help="With --exclude: for so long; 0 takes the node back.")
    ] = 7,
    as_json: AsJson = False,
    recipes: Recipes = None,
) -> None:
    """Check this machine: GPUs, links, network, limits, disk; with a recipe, by its cluster."""
    from llmtrain.cli.planning import planned
    from llmtrain.runs.folder import runs_root

    recipe = planned(arguments, folders(recipes)).recipe if arguments else None
    root = runs_root(recipe.site if recipe else None)
    if exclude is not None:
        _leave_out(root, exclude, reason, days, as_json=as_json)
    elif reason is not None:
        raise typer.BadParameter("--reason goes with --exclude")
    else:
        _check(recipe, root, as_json=as_json)
        if not as_json:
            _say_next(arguments or ())


def _say_next(arguments: "Sequence[str]") -> None:
    import shlex

    from llmtrain.cli.answer import err

    if arguments:
        err().print(f"run:    llmtrain run {shlex.join(arguments)} --dry-run")
    else:
        err().print("list:   llmtrain recipes  (doctor recipe=NAME: by what its cluster promises)")


def _leave_out(
    root: "Path", listed: str, reason: str | None, days: float, *, as_json: bool
) -> None:
    import shlex
    from datetime import UTC, datetime, timedelta

    from llmtrain.cli.answer import err, out, print_json, print_warnings
    from llmtrain.runs.excluded import NAME, Entry, add, alive, damaged

    nodes = _nodes(listed, reason, days)
    now = datetime.now(UTC)
    until = now + timedelta(days=days)
    known = {each.node for each in alive(root)}
    for node in nodes:
        if days or node in known:
            add(
                root, Entry(node=node, reason=reason or "taken back", run="", when=now, until=until)
            )
        else:
            err().print(f"{node} is not on {root / NAME}: there is nothing to take back")
    print_warnings(damaged(root), err())
    found = alive(root)
    if as_json:
        print_json([each.as_json() for each in found])
        return
    for each in found:
        out().print(f"without {each}")
    if days:
        err().print(f"undo:   llmtrain doctor --exclude {shlex.quote(listed)} --days 0")


def _nodes(listed: str, reason: str | None, days: float) -> tuple[str, ...]:
    """What is asked for, looked at before any of it is written down."""
    from llmtrain.config.preflight import LONGEST_DAYS
    from llmtrain.runs.excluded import strangers
    from llmtrain.runs.hostlist import expand

    if not 0 <= days <= LONGEST_DAYS:
        raise typer.BadParameter(f"--days is from 0 to {LONGEST_DAYS}, not {days:g}")
    if not (reason or "").strip() and days:
        raise typer.BadParameter("--exclude needs --reason: who reads the list wants to know")
    try:
        nodes = expand(listed)
    except ValueError as error:
        says = f"--exclude: {error}; it takes names as Slurm has them: n7, or n[1-3],n7"
        raise typer.BadParameter(says) from error
    unknown = strangers(nodes) if days else ()
    if unknown:
        raise typer.BadParameter(f"--exclude: Slurm has no node {', '.join(unknown)}")
    return nodes


def _check(recipe: "Recipe | None", root: "Path", *, as_json: bool) -> None:
    from pathlib import Path

    from llmtrain.cli.answer import out, print_json
    from llmtrain.cli.show_doctor import show_findings
    from llmtrain.config.errors import LaunchError
    from llmtrain.launchers.preflight.checks import judge
    from llmtrain.launchers.preflight.facts import read_facts
    from llmtrain.launchers.preflight.machine import Machine
    from llmtrain.launchers.screening import promise_of, room_for

    kept = (recipe.site.checkpoints if recipe else None) or str(root)
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
        keep = f"llmtrain doctor --exclude {facts.host} --reason '…'"
        raise LaunchError(says, hint=f"leave it out with --exclude={facts.host}, or `{keep}`")
