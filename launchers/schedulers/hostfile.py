"""Machines without a scheduler: ``job.sh`` starts torchrun on every host of ``site.hosts`` by ssh.

Nothing is forwarded by a list of prefixes: every host gets the same two scripts, with the whole
environment in them, from the shared run folder.
"""

import re
from collections.abc import Iterator

from llmtrain.config.errors import LaunchError, Problem
from llmtrain.launchers.launch import Job, Program, Variable
from llmtrain.launchers.provenance import Provenance
from llmtrain.launchers.schedulers.local import PORT, heeding
from llmtrain.launchers.schedulers.requests import first_step, own_first
from llmtrain.launchers.screening import preflight_files
from llmtrain.launchers.shell import (
    array,
    assign,
    assign_path,
    command,
    comment,
    launcher_word,
    package_text,
)
from llmtrain.planner.plan import Plan

HOST = re.compile(r"\w[\w.-]*")
"""What ssh is given; not an option of it."""


def job(
    plan: Plan, program: Program, variables: tuple[Variable, ...], provenance: Provenance
) -> Job:
    """``job.sh`` for the machine it is started on, ``host.sh`` for each host.

    Raises:
        LaunchError: if the hosts are not as many as the run's nodes, or cannot be written.
    """
    hosts = _hosts(plan)
    torchrun = _torchrun(plan)
    python = plan.recipe.site.python or provenance.python
    start = f"{' '.join(map(launcher_word, torchrun))} {command(program.command)}"
    host = [*_host(plan, variables, python), f"start=({start})", *own_first(program)]
    head = [
        "#!/usr/bin/env bash",
        comment(f"{plan.recipe.name}: {plan.nodes} × {plan.ranks_per_node} ranks over ssh"),
        "set -euo pipefail",
        array("hosts", hosts),
        f"steps={plan.steps or 0}",
        assign_path("checkpoints_in", plan.recipe.site.checkpoints or ""),
    ]
    functions = "\n".join(map(package_text, ("life.sh", "life-here.sh", "checkpoints.sh")))
    looking = "".join(f"{package_text(name)}\n" for name in heeding(program))
    if looking:
        host += first_step(plan.recipe, f"logs/host-{plan.nodes - 1}.log")
    return Job(
        name="job.sh",
        text="\n".join(head) + "\n\n" + functions + "\n" + package_text("hostfile-job.sh"),
        command=("$LLMTRAIN_PYTHON", *torchrun, *program.command),
        files={
            "host.sh": "\n".join(host) + "\n\n" + looking + package_text("hostfile-host.sh"),
            "probe.py": package_text("probe.py"),
            **preflight_files(plan),
        },
    )


def _hosts(plan: Plan) -> tuple[str, ...]:
    hosts = plan.recipe.site.hosts
    problems = []
    if len(hosts) != plan.nodes:
        says = f"names {len(hosts)} hosts; the run needs {plan.nodes}"
        problems.append(Problem(code="wrong_length", key="site.hosts", says=says))
    for host in hosts:
        if not HOST.fullmatch(host):
            says = f"{host!r} is no name of a host"
            problems.append(Problem(code="invalid_host", key="site.hosts", says=says))
    if problems:
        raise LaunchError(problems)
    return hosts


def _torchrun(plan: Plan) -> tuple[str, ...]:
    shape = ("--nnodes", str(plan.nodes), "--nproc-per-node", str(plan.ranks_per_node))
    meet = ("--master-addr", "$MASTER_ADDR", "--master-port", "$MASTER_PORT")
    return ("-m", "torch.distributed.run", *shape, "--node-rank", "$NODE_RANK", *meet)


def _host(plan: Plan, variables: tuple[Variable, ...], python: str) -> Iterator[str]:
    site = plan.recipe.site
    yield "#!/usr/bin/env bash"
    yield "# The ranks of one host: host.sh NODE_RANK MASTER_ADDR LIFE, in the run's folder."
    yield "set -euo pipefail"
    if site.umask:
        yield f"umask {site.umask}"
    yield assign("probe", site.probe)
    yield assign("preflight", site.preflight.policy)
    yield f"nodes={plan.nodes}"
    yield assign("LLMTRAIN_PYTHON", python)
    for variable in variables:
        yield comment(variable.reason)
        yield f"export {assign(variable.name, variable.value)}"
    yield f"export NODE_RANK=$1 MASTER_ADDR=$2 MASTER_PORT={PORT} LLMTRAIN_LIFE=$3"
