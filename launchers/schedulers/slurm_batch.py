"""The batch script: options, settings, functions, and at the end every file of the run.

What comes from a recipe stands in ``#SBATCH`` lines that were checked, in quoted settings and in
here-documents that no shell reads. All other text is fixed and lies in ``shell/``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from llmtrain.config.preflight import Preflight
from llmtrain.config.reference import trains
from llmtrain.config.site import Site
from llmtrain.launchers.backends.tracker import rank_files, tracker_file
from llmtrain.launchers.containers import is_ours
from llmtrain.launchers.launch import Program, Variable
from llmtrain.launchers.provenance import Provenance
from llmtrain.launchers.schedulers.requests import first_step
from llmtrain.launchers.schedulers.slurm_header import header, job_name, tasks_per_node
from llmtrain.launchers.schedulers.slurm_srun import python, step_lines
from llmtrain.launchers.schedulers.slurm_time import lead_reason
from llmtrain.launchers.shell import (
    array,
    assign,
    assign_path,
    command,
    comment,
    here_document,
    package_text,
)
from llmtrain.launchers.traffic import edges
from llmtrain.planner.plan import Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """What the script is made of."""

    plan: Plan
    """What runs."""
    program: Program
    """What every rank runs."""
    variables: tuple[Variable, ...]
    """Of every rank."""
    provenance: Provenance
    """Where this was prepared."""
    files: Mapping[str, str]
    """Of the run's folder, by name; the script itself is not one."""
    sums: str
    """Their digests."""


def batch_script(batch: Batch) -> str:
    """The whole text of ``job.sbatch``."""
    parts = [
        "\n".join([*_head(batch.plan), *_settings(batch)]),
        *(package_text(name).rstrip("\n") for name in _functions(batch)),
        "\n".join(environment_lines(batch.variables)),
        "\n".join(["compose_step() {", *(f"    {line}" for line in step_lines(batch)), "}"]),
        "\n".join(_main(batch)),
        _unpack(batch.files).rstrip("\n"),
        "main\nexit",
    ]
    return "\n\n".join(parts) + "\n"


def _head(plan: Plan) -> Iterator[str]:
    recipe = plan.recipe
    yield "#!/usr/bin/env bash"
    yield from header(plan)
    shape = f"{plan.nodes} × {plan.ranks_per_node} ranks"
    yield comment(f"{recipe.name}: {shape}, prepared by llmtrain. Submit it from its own folder,")
    yield "# or from anywhere: then it makes a folder first, in LLMTRAIN_RUNS or site.runs."
    yield comment(f"The ranks are told before the time limit: {lead_reason(plan)}.")
    yield "set -euo pipefail"
    if recipe.site.umask:
        yield f"umask {recipe.site.umask}"


def _settings(batch: Batch) -> Iterator[str]:
    plan, site = batch.plan, batch.plan.recipe.site
    yield ""
    yield assign("name", job_name(plan.recipe.run_name))
    yield assign_path("runs", site.runs or "")
    yield assign_path("checkpoints_in", site.checkpoints or "")
    yield assign("group", site.group or "")
    yield assign("python", python(batch))
    yield f"nodes={plan.nodes}"
    yield f"tasks_per_node={tasks_per_node(plan)}"
    yield assign("host_suffix", site.slurm.host_suffix)
    yield comment("Traffic between nodes: stride:size:ring:bytes a step of each axis.")
    yield assign("edges", _edges(plan))
    yield from _preflight(site.preflight)
    yield "placed=0 placed_by_us=0 sent=0 tries=0 signalled=0 interrupted=0 status=0 step_id="
    yield "out=() blamed=() blamed_life=0"
    yield "restarted=0 lost=0 saved=0 stalls=0 life=0 next_job='' hopeless=''"
    yield f"restart={site.slurm.restart} max_restarts={site.slurm.max_restarts}"
    guarded = trains(plan.recipe) or plan.recipe.backend.name != "deepspeed"
    yield f"spares={plan.recipe.nodes.spare} guarded={int(guarded)}"
    yield from _looking(batch)
    if site.slurm.restart == "chain":
        yield f"jobs={site.slurm.jobs}"
    if batch.program.missing:
        yield array("missing", batch.program.missing)
    if site.software == "sbcast":
        yield assign_path("nvme", site.nvme or "")
    yield from _tracked(plan)
    yield from brought_settings(site)
    yield assign("sums", batch.sums.rstrip("\n"))


def _preflight(asked: Preflight) -> Iterator[str]:
    yield assign("preflight", asked.policy)
    if asked.policy != "off":
        yield f"preflight_seconds={asked.seconds}"
        yield f"measured={int(asked.depth != 'read')}"
    days = asked.exclude_days if asked.policy == "stop" else 0
    yield f"exclude_seconds={int(days * 86400)}"


def _looking(batch: Batch) -> Iterator[str]:
    """Whether the program looks for requests by itself, and what tells where it is."""
    plan = batch.plan
    yield f"looks={int(is_ours(batch.program))} steps={plan.steps or 0}"
    if not is_ours(batch.program):
        last = plan.nodes * plan.ranks_per_node - 1
        yield from first_step(plan.recipe, f"logs/*/rank-{last}.log")


def _tracker(plan: Plan) -> str | None:
    """The file that is looked at before each start; a universal checkpoint has other files."""
    return None if plan.recipe.checkpoint.universal else tracker_file(plan.recipe)


def _tracked(plan: Plan) -> Iterator[str]:
    """The file that names the newest checkpoint, and what a whole one holds."""
    tracker = _tracker(plan)
    if tracker:
        files = tuple(rank_files(plan.recipe))
        yield assign("tracker", tracker)
        yield array("patterns", (each.pattern for each in files))
        yield array("counts", (str(each.count) for each in files))


def _edges(plan: Plan) -> str:
    slurm = plan.recipe.site.slurm
    # In a heterogeneous job srun takes no list of hosts.
    if slurm.rank_order == "slurm" or slurm.groups:
        return ""
    found = (f"{e.stride}:{e.size}:{int(e.ring)}:{e.edge_bytes}" for e in edges(plan))
    return " ".join(found)


def _functions(batch: Batch) -> Iterator[str]:
    """Files of ``shell/`` that this job needs."""
    plan, site = batch.plan, batch.plan.recipe.site
    yield "folder.sh"
    yield "life.sh"
    if site.modules:
        yield "modules.sh"
    if site.secrets.names:
        yield "secrets.sh"
    yield "rendezvous.sh"
    yield "nodes.sh"
    yield "exclude.sh"
    if site.preflight.policy != "off":
        yield "preflight.sh"
    yield "checkpoints.sh"
    yield "restarts.sh"
    if site.software == "sbcast":
        yield "software.sh"
    yield "step.sh"
    if not is_ours(batch.program):
        yield "requests.sh"
    if _tracker(plan):
        yield "tracker.sh"
    yield f"restart-{site.slurm.restart}.sh"


def environment_lines(variables: tuple[Variable, ...]) -> Iterator[str]:
    """The function that exports the ranks' environment."""
    yield "# The environment of every rank; env.json holds the sources."
    yield "environment() {"
    for variable in variables:
        yield f"    {comment(variable.reason)}"
        yield f"    export {assign(variable.name, variable.value)}"
    if not variables:
        yield "    :"
    yield "}"


def brought_settings(site: Site) -> Iterator[str]:
    """What :func:`brought` reads: the site's modules, and its secrets."""
    if site.modules:
        yield array("modules", site.modules)
    if site.secrets.names:
        yield assign_path("secrets_file", site.secrets.file)
        yield array("secrets", site.secrets.names)


def brought(site: Site) -> Iterator[str]:
    """Calls that bring what a job does not have by itself: modules and secrets."""
    if site.modules:
        yield "    load_modules"
    if site.secrets.names:
        yield "    read_secrets"


def _main(batch: Batch) -> Iterator[str]:
    site = batch.plan.recipe.site
    yield "main() {"
    yield "    find_nodes"
    yield "    find_folder"
    if batch.program.missing:
        yield '    ((!${#missing[@]})) || die "${missing[*]} must be given: prepare this run again"'
    if site.slurm.restart in ("chain", "array"):
        # The next job comes also when nothing is left to do.
        yield "    [[ ! -e control/finished ]] || return 0"
    yield "    begin"
    yield from brought(site)
    yield "    environment"
    yield "    rendezvous"
    if site.software == "sbcast":
        yield "    send_software"
    tracker = _tracker(batch.plan)
    if tracker:
        yield "    check_tracker"
    yield "    start_step"
    yield "    while another_try; do"
    yield "        rendezvous"
    if tracker:
        yield "        check_tracker"
    yield "        start_step"
    yield "    done"
    yield "    end"
    yield "}"


def _unpack(files: Mapping[str, str]) -> str:
    folders = sorted({name.rpartition("/")[0] for name in files} - {""})
    texts = [f"mkdir -p {command(folders)}\n"] if folders else []
    texts += [here_document(name, text) for name, text in sorted(files.items())]
    return "# The run's folder, for a job that was submitted from elsewhere.\nunpack() {\n" + (
        "".join(texts) + "}\n"
    )
