"""What ``llmtrain run`` does with a prepared launch: show it, or start it here."""

import shlex
import sys
from dataclasses import replace
from datetime import datetime

from rich.console import Console

from llmtrain.cli.answer import err, out, print_json, print_warnings
from llmtrain.cli.planning import said
from llmtrain.cli.show_plan import show_plan
from llmtrain.config.errors import LaunchError, PlanError
from llmtrain.config.home import expanded
from llmtrain.launchers import bundle
from llmtrain.launchers.launch import Launch
from llmtrain.launchers.prepare import prepare, require_clean, require_startable
from llmtrain.launchers.provenance import provenance
from llmtrain.launchers.schedulers.local import quoted, require_here
from llmtrain.launchers.secrets import known_values
from llmtrain.planner.plan import Plan, plan_json
from llmtrain.runs.excluded import Entry, alive, damaged
from llmtrain.runs.folder import make_folder, runs_root, spoken
from llmtrain.runs.operate import run_here
from llmtrain.runs.plot import plot
from llmtrain.runs.progress import losses
from llmtrain.runs.state import State


def prepared(plan: Plan) -> tuple[Plan, Launch | None]:
    """The plan with its launch; None if the plan has errors, which then are in the plan."""
    if plan.errors:
        return plan, None
    try:
        return plan, prepare(plan, provenance(plan.recipe.backend.path))
    except PlanError as error:
        return replace(plan, errors=error.problems), None


def refuse(plan: Plan, piece: str | None, *, dry_run: bool, as_json: bool) -> None:
    """Show a plan that cannot be launched, then say why.

    Raises:
        PlanError: always.
    """
    if piece == "plan" or (as_json and not dry_run):
        print_json(plan_json(plan))
    elif as_json and piece is None:
        print_json({"plan": plan_json(plan), "launch": None})
    else:
        # Who asked for another piece pipes stdout into something that wants only that.
        show_plan(plan, err() if piece else out())
    raise PlanError(plan.errors)


def show(plan: Plan, launch: Launch, piece: str | None, *, as_json: bool) -> None:
    """A dry run: everything, or one piece of it as it is."""
    if piece == "bundle":
        require_clean(launch, known_values(plan.recipe.site.secrets))  # it goes into a file
        sys.stdout.buffer.write(bundle.archive(launch))
    elif piece is not None:
        sys.stdout.write(_piece(launch, piece).rstrip("\n") + "\n")
    elif as_json:
        kept_out = [each.as_json() for each in excluded(plan)]
        found = {"plan": plan_json(plan), "launch": bundle.as_json(launch), "excluded": kept_out}
        print_json(found)
    else:
        from llmtrain.cli.show_launch import show_launch

        show_plan(plan, out())
        show_launch(launch, out())
        for each in excluded(plan):
            out().print(f"submitted without {each}")
    bad = damaged(runs_root(plan.recipe.site)) if plan.recipe.site.scheduler == "slurm" else ()
    print_warnings((*launch.warnings, *home_warning(plan), *bad), err())


def home_warning(plan: Plan) -> tuple[str, ...]:
    """Home folders have small quotas, and a slow file system that everybody shares."""
    root = runs_root(plan.recipe.site).resolve()
    if plan.recipe.site.scheduler != "slurm" or not root.is_relative_to(expanded("~").resolve()):
        return ()
    says = f"the run's folder is in your home ({root})"
    return (f"{says}: name a better place with LLMTRAIN_RUNS or site.runs",)


def excluded(plan: Plan) -> tuple[Entry, ...]:
    """Nodes that the run is not to get; none without a scheduler that could be told."""
    site = plan.recipe.site
    return alive(runs_root(site)) if site.scheduler == "slurm" else ()


def _piece(launch: Launch, piece: str) -> str:
    if piece == "plan":
        return launch.files["plan.json"]
    if piece == "command":
        return quoted(launch.command, launch.program)
    if piece == "args":
        return shlex.join(launch.program.arguments)
    if piece == "env":
        return "\n".join(f"{each.name}={shlex.quote(each.value)}" for each in launch.environment)
    if "ds_config.json" not in launch.files:
        raise LaunchError("this backend has no DeepSpeed configuration")
    return launch.files["ds_config.json"]


def start_here(plan: Plan, launch: Launch, *, as_json: bool) -> None:
    """Start the run here and follow it; the run's folder appears first.

    Raises:
        LaunchError: if it lacks a key, or cannot run on this machine.
    """
    if plan.recipe.site.scheduler == "local":
        require_here(plan.recipe, plan.nodes)
    require_startable(launch, known_values(plan.recipe.site.secrets))
    console = err()
    print_warnings((*said(plan), *launch.warnings), console)
    folder = make_folder(launch, runs_root(plan.recipe.site), datetime.now(), plan.recipe.site)
    console.print(f"{folder.name} in {folder.parent}")
    report(run_here(folder, console), console, as_json=as_json)


def report(state: State, console: Console, *, as_json: bool) -> None:
    """The end of a run: its losses as a curve, where it lies, what to type next."""
    if as_json:
        print_json(state.as_json())
    curve = plot(losses(state.path))
    if curve:
        console.print("loss (nats per token)")
        console.print(curve)
    loss = "" if state.loss is None else f", loss {state.loss:.3f}"
    console.print(f"{state.status} at step {state.step} of {state.steps}{loss}")
    name = spoken(state.path)
    console.print(f"run:    {state.path}")
    console.print(f"status: llmtrain status {name}")
    console.print(f"logs:   llmtrain logs {name}")
    if state.status == "stopped":
        console.print(f"go on:  llmtrain resume {name}")
