"""What runs on the nodes: ``task.sh`` is one task of Slurm's, ``rank.sh`` one rank."""

from collections.abc import Iterator

from llmtrain.launchers.containers import is_ours
from llmtrain.launchers.launch import Program
from llmtrain.launchers.schedulers.requests import own_first
from llmtrain.launchers.screening import is_watched
from llmtrain.launchers.shell import array, assign, command, launcher_word, package_text
from llmtrain.launchers.tracing import nsys
from llmtrain.planner.plan import Plan

TORCHRUN = "torch.distributed.run"
FT_LAUNCHER = "nvidia_resiliency_ext.fault_tolerance.launcher"
"""NVIDIA's ft_launcher, which takes torchrun's options (nvidia-resiliency-ext 0.4 to 0.7)."""
FT_RESTARTS = 3
"""Failures after which ft_launcher starts the ranks again in the same job."""


def task_command(plan: Plan, program: Program) -> tuple[str, ...]:
    """What one task starts, as a person reads it; shell variables as ``$NAME``."""
    return (*launcher(plan, wrapper=False), *program.command)


def task_script(plan: Plan, program: Program) -> str:
    """Checks the environment, starts the ranks of one task, hands signals on to them."""
    site = plan.recipe.site
    shape = "srun" if site.launch == "srun" else "torchrun"
    start = " ".join(map(launcher_word, launcher(plan, wrapper=True)))
    lines = [
        "#!/usr/bin/env bash",
        "# One task of the job, started by srun; in the container where there is one.",
        "set -euo pipefail",
        assign("probe", site.probe),
        array("secrets", site.secrets.names),
        f"watched={int(is_watched(plan.recipe, plan.nodes))}",
        f"start=({start} {command(program.command)})",
        *own_first(program),
        "",
    ]
    return "\n".join(lines) + package_text(f"ranks-{shape}.sh") + "\n" + package_text("task.sh")


def rank_script(plan: Plan, program: Program) -> str:
    """Completes the environment of one rank, binds it to its CPUs, becomes the program."""
    parts = "\n".join(["#!/usr/bin/env bash", *_rank_lines(plan, program)]) + "\n"
    bind = plan.recipe.site.numa and plan.recipe.cluster.device == "cuda"
    if bind:
        parts += array("gpu_numa", map(str, plan.recipe.cluster.gpu_numa)) + "\n"
        parts += package_text("rank-bind.sh")
    prefix = '"${bind[@]}" ' if bind else ""
    prefix += "".join(f"{word} " for word in nsys(plan.recipe, "nsys-rank-%q{RANK}"))
    return f'{parts}exec {prefix}"$LLMTRAIN_PYTHON" "$@"\n'


def launcher(plan: Plan, *, wrapper: bool) -> tuple[str, ...]:
    """The words before the program's."""
    site = plan.recipe.site
    if site.launch == "srun":
        return ("bash", "rank.sh") if wrapper else ("$LLMTRAIN_PYTHON",)
    ranks: tuple[str, ...] = (
        "--nnodes",
        str(plan.nodes),
        "--nproc-per-node",
        str(plan.ranks_per_node),
    )
    ranks += tuple(_rendezvous(site.launch))
    # By its module: a bare torchrun may belong to another interpreter.
    agent = ("$LLMTRAIN_PYTHON", "-m", FT_LAUNCHER if site.launch == "ft_launcher" else TORCHRUN)
    return (*agent, *ranks, *(("--no-python", "bash", "rank.sh") if wrapper else ()))


def _rendezvous(launch: str) -> Iterator[str]:
    if launch == "torchrun":
        # The number of the task, not of the node: it follows the order of ranks.
        yield from ("--node-rank", "$SLURM_PROCID")
        yield from ("--master-addr", "$MASTER_ADDR", "--master-port", "$MASTER_PORT")
        return
    yield from ("--rdzv-backend", "c10d", "--rdzv-endpoint", "$MASTER_ADDR:$MASTER_PORT")
    yield from ("--rdzv-id", "$SLURM_JOB_ID")
    # torchrun's own restarts begin anew from the last checkpoint, as the next job does.
    yield from ("--max-restarts", str(FT_RESTARTS if launch == "ft_launcher" else 0))


def _rank_lines(plan: Plan, program: Program) -> Iterator[str]:
    yield "# One rank: its environment, its log, its CPUs, then the program."
    yield "set -euo pipefail"
    if plan.recipe.site.launch == "srun":
        yield f"world={plan.nodes * plan.ranks_per_node}"
        yield '[[ $SLURM_STEP_NUM_TASKS == "$world" ]] ||'
        yield '    { echo "$SLURM_STEP_NUM_TASKS tasks, not $world" >&2 && exit 5; }'
        yield "export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$world"
        yield f"export LOCAL_WORLD_SIZE={plan.ranks_per_node}"
    yield "export MASTER_ADDR MASTER_PORT"
    yield ': "${RANK:?}" "${LOCAL_RANK:?}" "${WORLD_SIZE:?}" "${MASTER_ADDR:?}" "${MASTER_PORT:?}"'
    if not is_ours(program):  # ours writes its ranks' logs itself
        yield "logs=logs/${SLURMD_NODENAME:-$(hostname)}"
        yield 'mkdir -p "$logs"'
        yield 'exec >>"$logs/rank-$RANK.log" 2>&1'
        yield 'echo "llmtrain: life ${LLMTRAIN_LIFE:-} begins"'
    if is_watched(plan.recipe, plan.nodes):
        yield package_text("rank-nccl.sh").rstrip("\n")
