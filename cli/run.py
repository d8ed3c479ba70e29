"""``llmtrain run``: compose, plan, prepare, submit. A dry run stops before the last."""

from typing import Annotated, Literal

import typer

from llmtrain.cli.options import Arguments, AsJson, Recipes, folders

Piece = Literal["plan", "sbatch", "command", "env", "args", "deepspeed", "bundle"]


def run(
    arguments: Arguments = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be submitted, and stop.")
    ] = False,
    piece: Annotated[
        Piece | None,
        typer.Option("--print", help="With --dry-run: write just this to stdout, raw."),
    ] = None,
    as_json: AsJson = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end of the run.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    recipes: Recipes = None,
) -> None:
    """Train a recipe: here, or on the cluster that its site names."""
    from llmtrain.cli import launching
    from llmtrain.cli.planning import planned

    if piece is not None and not dry_run:
        raise typer.BadParameter("--print goes with --dry-run")
    asked = planned(arguments, folders(recipes))
    if piece == "sbatch":
        from llmtrain.cli.sbatch import write_script

        return write_script(asked)
    plan, launch = launching.prepared(asked)
    if launch is None:
        launching.refuse(plan, piece, dry_run=dry_run, as_json=as_json)
    elif dry_run:
        launching.show(plan, launch, piece, as_json=as_json)
    elif plan.recipe.site.scheduler == "slurm":
        from llmtrain.cli.submitting import submit_to_slurm

        submit_to_slurm(plan, launch, as_json=as_json, yes=yes, wait=wait)
    else:
        launching.start_here(plan, launch, as_json=as_json)
