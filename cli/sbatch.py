"""``llmtrain sbatch``: the batch script alone, for ``llmtrain sbatch … | sbatch``."""

import sys

from llmtrain.cli.options import Arguments, AsJson, Recipes, folders
from llmtrain.planner.plan import Plan


def sbatch(arguments: Arguments = None, as_json: AsJson = False, recipes: Recipes = None) -> None:
    """Write the self-contained batch script of a recipe to stdout."""
    from llmtrain.cli.planning import planned

    write_script(planned(arguments, folders(recipes)), as_json=as_json)


def write_script(of: Plan, *, as_json: bool = False) -> None:
    """The script on stdout; on stderr what it lacks, and what to give ``sbatch`` with it.

    Raises:
        PlanError: if the plan cannot be launched; it is shown on stderr.
        LaunchError: if the script would hold a secret.
    """
    from llmtrain.cli.answer import err, print_json, print_warnings
    from llmtrain.cli.launching import home_warning, prepared, refuse
    from llmtrain.cli.planning import said
    from llmtrain.launchers.prepare import require_clean
    from llmtrain.launchers.schedulers.slurm import generic_site
    from llmtrain.launchers.secrets import known_values
    from llmtrain.runs.excluded import damaged, exclude_option
    from llmtrain.runs.folder import runs_root

    generic, warnings = generic_site(of)
    plan, launch = prepared(generic)
    if launch is None:
        return refuse(plan, None if as_json else "sbatch", dry_run=True, as_json=as_json)
    ends = [f"`{key}` must be given: as it is, the job ends at once" for key in launch.missing]
    root = runs_root(plan.recipe.site)
    print_warnings((*warnings, *said(plan), *launch.warnings, *ends), err())
    print_warnings((*home_warning(of), *damaged(root)), err())
    script = launch.files[launch.script]
    for option in exclude_option(script, root):
        err().print(f"give sbatch this: {option}")
    require_clean(launch, known_values(plan.recipe.site.secrets))
    if as_json:
        print_json({"name": launch.script, "script": script})
    else:
        sys.stdout.write(script)
