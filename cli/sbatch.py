"""``llmtrain sbatch``: the batch script alone, for ``llmtrain sbatch … | sbatch``."""

import sys

from llmtrain.cli.options import Arguments, Recipes, folders


def sbatch(arguments: Arguments = None, recipes: Recipes = None) -> None:
    """Write the self-contained batch script of a recipe to stdout."""
    from llmtrain.cli.answer import err, print_warnings
    from llmtrain.cli.planning import planned, require_launchable, said
    from llmtrain.launchers.prepare import prepare, require_clean
    from llmtrain.launchers.provenance import provenance
    from llmtrain.launchers.schedulers.slurm import generic_site
    from llmtrain.launchers.secrets import known_values
    from llmtrain.runs.excluded import damaged, exclude_option
    from llmtrain.runs.folder import runs_root

    plan, warnings = generic_site(planned(arguments, folders(recipes)))
    require_launchable(plan)
    launch = prepare(plan, provenance(plan.recipe.backend.path))
    ends = [f"`{key}` must be given: as it is, the job ends at once" for key in launch.missing]
    root = runs_root(plan.recipe.site)
    print_warnings((*warnings, *said(plan), *launch.warnings, *ends, *damaged(root)), err())
    script = launch.files[launch.script]
    for option in exclude_option(script, root):
        err().print(f"give sbatch this: {option}")
    require_clean(launch, known_values(plan.recipe.site.secrets))
    sys.stdout.write(script)
