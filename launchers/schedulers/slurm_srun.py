"""The step: ``srun`` with everything it does not inherit, and the container around each task."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from llmtrain.launchers.containers import INSIDE, is_ours, mounts, names
from llmtrain.launchers.launch import Mount, Variable
from llmtrain.launchers.schedulers.slurm_header import cpus_per_task, tasks_per_node
from llmtrain.launchers.shell import array, command
from llmtrain.planner.plan import Plan

if TYPE_CHECKING:
    from llmtrain.launchers.schedulers.slurm_batch import Batch


def step_lines(batch: "Batch") -> Iterator[str]:
    """The body of the function that sets ``step``, srun's options, and ``wrap``, the container."""
    plan, site = batch.plan, batch.plan.recipe.site
    mounted = mounts(plan.recipe, batch.program, batch.provenance)
    inside = names(batch.variables, plan.recipe, batch.program)
    yield 'export LLMTRAIN_PYTHON="${LLMTRAIN_PYTHON:-$python}"'
    if site.container.runtime != "none" and is_ours(batch.program):
        yield f"export PYTHONPATH={INSIDE}"
    yield array("step", step_options(plan))
    yield "wrap=()"
    if cpus_per_task(plan) is None:
        # srun does not take it over from sbatch, and a step without it gets one CPU a task.
        cpus = f"$((SLURM_CPUS_ON_NODE / {tasks_per_node(plan)}))"
        yield f'step+=(--cpus-per-task="{cpus}")'
    if site.container.runtime == "pyxis":
        yield from _pyxis(plan, mounted, inside)
    if site.container.runtime == "apptainer":
        yield from _apptainer(plan, mounted, inside, batch.variables)


def step_options(plan: Plan) -> list[str]:
    """Options of ``srun``, unquoted."""
    site = plan.recipe.site
    tasks = tasks_per_node(plan)
    if site.slurm.groups:
        # Nodes and tasks are those of each part; srun would ask every part for the same.
        shape = {"het-group": f"0-{len(site.slurm.groups) - 1}"}
    else:
        shape = {"nodes": str(plan.nodes), "ntasks": str(plan.nodes * tasks)}
    options = {
        **shape,
        "ntasks-per-node": str(tasks),
        "kill-on-bad-exit": "1",
        "wait": "60",
        "export": "ALL",
        "label": "",
        "cpu-bind": site.slurm.cpu_bind,
    }
    cpus = cpus_per_task(plan)
    if cpus is not None:
        options["cpus-per-task"] = str(cpus)
    if site.mpi is not None:
        options["mpi"] = site.mpi
    options |= site.slurm.srun_options
    return [f"--{name}={value}" if value else f"--{name}" for name, value in options.items()]


def python(batch: "Batch") -> str:
    """The interpreter of the ranks, on the nodes or in the container."""
    site = batch.plan.recipe.site
    default = batch.provenance.python if site.container.runtime == "none" else "python"
    return site.python or default


def _run_folder_is_plain() -> Iterator[str]:
    yield '[[ $LLMTRAIN_RUN != *[,:]* ]] || die "$LLMTRAIN_RUN cannot be mounted: , or : in it"'


def _mount_word(mount: Mount) -> str:
    """For the script, where the run's folder is a variable."""
    if mount.host.startswith("$"):
        return '"$LLMTRAIN_RUN:$LLMTRAIN_RUN"'
    return command((str(mount),))


def _pyxis(plan: Plan, mounted: tuple[Mount, ...], inside: tuple[str, ...]) -> Iterator[str]:
    container = plan.recipe.site.container
    yield from _run_folder_is_plain()
    yield f"step+=({command((f'--container-image={container.image}',))})"
    places = " ".join(_mount_word(each) for each in mounted)
    yield f"local -a mounts=({places})"
    yield 'step+=(--container-mounts="$(IFS=, && echo "${mounts[*]}")")'
    yield "# The run's folder is the working directory inside."
    yield 'step+=(--container-workdir="$LLMTRAIN_RUN")'
    home = "" if container.mount_home else "no-"
    yield f"step+=(--{home}container-mount-home)"
    if container.writable:
        yield "step+=(--container-writable)"
    yield f"step+=('--container-env={','.join(inside)}')"


def _apptainer(
    plan: Plan,
    mounted: tuple[Mount, ...],
    inside: tuple[str, ...],
    variables: tuple[Variable, ...],
) -> Iterator[str]:
    container = plan.recipe.site.container
    yield from _run_folder_is_plain()
    yield 'command -v apptainer >/dev/null || die "there is no apptainer on $(hostname)"'
    yield "wrap=(apptainer exec)"
    if plan.recipe.cluster.device == "cuda":
        yield "wrap+=(--nv)"
    if not container.mount_home:
        yield "wrap+=(--no-home)"
    if container.writable:
        yield "wrap+=(--writable-tmpfs)"
    yield 'wrap+=(--pwd "$LLMTRAIN_RUN")'
    for mount in mounted:
        yield f"wrap+=(--bind {_mount_word(mount)})"
    plain = {v.name: v.value for v in variables if _is_plain(v.value)}
    for name, value in sorted(plain.items()):
        yield f"wrap+=(--env {command((f'{name}={value}',))})"
    rest = " ".join(name for name in inside if name not in plain)
    yield "# --env parts its values at commas, and shows them to everybody on the node."
    yield f"for variable in {rest}; do"
    yield '    export "APPTAINERENV_$variable=${!variable}"'
    yield "done"
    yield f"wrap+=({command((str(container.image),))})"


def _is_plain(value: str) -> bool:
    """Whether ``apptainer --env`` reads it as it stands."""
    return not set(value) & set(',="\n') and value == value.strip()
