"""Slurm: one self-contained batch script, and the two small scripts it starts on the nodes.

``job.sbatch`` holds every file of the run. In the run's folder it uses the files that are there;
piped into ``sbatch`` it makes the folder first. Either way it is the same text.
"""

from dataclasses import replace

from llmtrain.launchers import containers
from llmtrain.launchers.content import content, launch_json
from llmtrain.launchers.digest import sums
from llmtrain.launchers.launch import Job, Program, Variable
from llmtrain.launchers.provenance import Provenance
from llmtrain.launchers.schedulers.slurm_batch import Batch, batch_script
from llmtrain.launchers.schedulers.slurm_cache import cache_files
from llmtrain.launchers.schedulers.slurm_shown import commands, later, notes, warnings
from llmtrain.launchers.schedulers.slurm_step import rank_script, task_command, task_script
from llmtrain.launchers.screening import preflight_files
from llmtrain.launchers.shell import package_text, require_names
from llmtrain.planner.plan import Plan, make_plan

SCRIPT = "job.sbatch"


def job(
    plan: Plan, program: Program, variables: tuple[Variable, ...], provenance: Provenance
) -> Job:
    """The batch script and what it starts.

    Raises:
        LaunchError: if something cannot be written into a batch script, or this Slurm lacks it.
    """
    require_names({v.name: v.source for v in variables})
    require_names(dict.fromkeys(plan.recipe.site.secrets.names, "site.secrets.names"))
    own = {
        "task.sh": task_script(plan, program),
        "rank.sh": rank_script(plan, program),
        "probe.py": package_text("probe.py"),
        **preflight_files(plan),
    }
    own |= cache_files(plan, program, variables, provenance)
    command = task_command(plan, program)
    files = {
        **content(plan, program, variables, provenance),
        **own,
        "launch.json": launch_json(plan, SCRIPT, command),
    }
    batch = Batch(
        plan=plan,
        program=program,
        variables=variables,
        provenance=provenance,
        files=files,
        sums=sums(files),
    )
    return Job(
        name=SCRIPT,
        text=batch_script(batch),
        command=command,
        files=own,
        commands=commands(plan, program),
        later=later(plan, program),
        mounts=containers.mounts(plan.recipe, program, provenance),
        notes=tuple(notes(plan, program, provenance)),
        warnings=tuple(warnings(plan)),
    )


def generic_site(plan: Plan) -> tuple[Plan, tuple[str, ...]]:
    """``plan`` on a Slurm of which nothing is known, with a warning, if its site has none."""
    site = plan.recipe.site
    if site.scheduler == "slurm":
        return plan, ()
    recipe = replace(plan.recipe, site=replace(site, scheduler="slurm"))
    says = f"site {site.name} has no Slurm: this script is a generic one"
    return make_plan(recipe), (f"{says}; `llmtrain site detect` writes a site",)
