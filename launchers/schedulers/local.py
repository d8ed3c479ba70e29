"""This machine, or any machines whose user starts ``job.sh`` on each of them by hand."""

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from llmtrain.config.errors import LaunchError, Problem
from llmtrain.config.recipe import Recipe
from llmtrain.launchers.containers import is_ours
from llmtrain.launchers.launch import Job, Program, Variable
from llmtrain.launchers.provenance import Provenance
from llmtrain.launchers.schedulers.requests import first_step, own_first
from llmtrain.launchers.shell import assign, assign_path, comment, launcher_word, package_text
from llmtrain.launchers.tracing import nsys
from llmtrain.planner.plan import Plan

PORT = 29400
"""MASTER_PORT by default: below every system's ephemeral range."""


def job(
    plan: Plan, program: Program, variables: tuple[Variable, ...], provenance: Provenance
) -> Job:
    """``job.sh``: the environment, then torchrun, in the run's folder."""
    command = ("python", *_torchrun(plan), *program.command)
    start = quoted(command[1:], program)
    names = ("life.sh", "life-here.sh", *heeding(program))
    functions = ("", *"\n".join(map(package_text, names)).rstrip("\n").split("\n"))
    started = _start(plan, program, provenance, start)
    lines = [*_head(plan), *functions, *_environment(variables), *started]
    return Job(name="job.sh", text="\n".join(lines) + "\n", command=command)


def _torchrun(plan: Plan) -> tuple[str, ...]:
    """torchrun by its module: a bare ``torchrun`` may belong to another interpreter."""
    ranks = ("--nproc-per-node", str(plan.ranks_per_node))
    if plan.nodes == 1:
        # Standalone finds a free port by itself, so two runs can share a machine.
        where: tuple[str, ...] = ("--standalone", "--local-addr", "127.0.0.1")
    else:
        where = ("--nnodes", str(plan.nodes), "--node-rank", "$NODE_RANK")
        where += ("--master-addr", "$MASTER_ADDR", "--master-port", "$MASTER_PORT")
    return ("-m", "torch.distributed.run", *where, *ranks)


def _head(plan: Plan) -> Iterator[str]:
    recipe = plan.recipe
    yield "#!/usr/bin/env bash"
    yield comment(f"{recipe.name}: {plan.nodes} × {plan.ranks_per_node} ranks, by llmtrain")
    if plan.nodes > 1:
        yield f"# Start it on every node with NODE_RANK=0 … {plan.nodes - 1} and MASTER_ADDR set."
    yield "set -euo pipefail"
    yield 'CDPATH= cd -- "$(dirname -- "${BASH_SOURCE[0]}")"'
    yield "mkdir -p logs control"
    yield assign_path("checkpoints_in", recipe.site.checkpoints or "")


def _environment(variables: tuple[Variable, ...]) -> Iterator[str]:
    yield ""
    yield "# The environment of every rank; env.json holds the sources."
    for variable in variables:
        yield comment(variable.reason)
        yield f"export {assign(variable.name, variable.value)}"


def _start(plan: Plan, program: Program, provenance: Provenance, start: str) -> Iterator[str]:
    yield ""
    if plan.nodes > 1:
        yield f': "${{NODE_RANK:?0 to {plan.nodes - 1}, one for each node}}"'
        yield ': "${MASTER_ADDR:?the first node, as the others reach it}"'
        yield f': "${{MASTER_PORT:={PORT}}}"'
    yield f'[[ -n "${{LLMTRAIN_PYTHON:-}}" ]] || LLMTRAIN_PYTHON={shlex.quote(provenance.python)}'
    if "checkout.json" in program.files and plan.recipe.site.probe != "off":
        yield f'"$LLMTRAIN_PYTHON" checkout.py {plan.recipe.site.probe}'
    if not is_ours(program):
        # Started by hand it writes into no log, and of several machines the last one does.
        yield from first_step(plan.recipe, "logs/launcher.log" if plan.nodes == 1 else "")
        yield "[[ /dev/stderr -ef logs/launcher.log ]] || step_log="
    yield "require_checkpoints"
    yield "hold_run" if plan.nodes == 1 else "((NODE_RANK)) || hold_run"
    if own := [*own_first(program)]:
        yield f"start=({start})"
        yield from own
        start = '"${start[@]}"'
    traced = "".join(f"{word} " for word in nsys(plan.recipe, "nsys-%h"))
    yield f'exec {traced}"$LLMTRAIN_PYTHON" {start}'


def heeding(program: Program) -> tuple[str, ...]:
    """Files of ``shell/`` that look for requests, where ``program`` does not itself."""
    return () if is_ours(program) else ("requests.sh", "ranks-torchrun.sh", "requests-here.sh")


def quoted(command: tuple[str, ...], program: Program) -> str:
    """A command that ends in ``program``, for a shell.

    In the program's words a ``$`` is a user's and stays what it is.
    """
    launcher = command[: len(command) - len(program.command)]
    return " ".join([*map(launcher_word, launcher), shlex.join(program.command)])


def require_here(recipe: Recipe, nodes: int) -> None:
    """Refuse what this machine alone cannot start.

    Raises:
        LaunchError: if the run needs several nodes, or GPUs that are not here.
    """
    shown = f"llmtrain run recipe={recipe.name} --dry-run"
    hint = f"`{shown}` shows what would be submitted; `site=NAME` names the cluster to run on"
    if nodes > 1:
        says = (
            f"{recipe.gpus} GPUs on {nodes} nodes ({recipe.cluster.name}) are not on this machine"
        )
        raise LaunchError(Problem(code="not_here", says=says, hint=hint))
    have = gpus_here()
    if recipe.cluster.device == "cuda" and have < recipe.gpus:
        says = f"the run needs {recipe.gpus} GPUs; this machine has {have}"
        raise LaunchError(Problem(code="not_here", says=says, hint=hint))


def gpus_here(devices: Path = Path("/dev"), environ: Mapping[str, str] = os.environ) -> int:
    """NVIDIA GPUs that a process here would see."""
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name])
    return sum(path.name.removeprefix("nvidia").isdigit() for path in devices.glob("nvidia[0-9]*"))
