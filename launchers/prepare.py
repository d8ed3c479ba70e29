"""Plan -> Launch: one function without side effects. A dry run is stopping here."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from llmtrain.config.errors import LaunchError, Problem
from llmtrain.launchers.backends import program
from llmtrain.launchers.content import content, launch_json
from llmtrain.launchers.digest import sums
from llmtrain.launchers.environment import environment
from llmtrain.launchers.launch import Launch
from llmtrain.launchers.provenance import Provenance
from llmtrain.launchers.schedulers import scheduler
from llmtrain.launchers.secrets import require_no_secrets
from llmtrain.planner.plan import Plan


def prepare(plan: Plan, provenance: Provenance) -> Launch:
    """Everything that would be submitted for ``plan``.

    The same plan and provenance give the same bytes: no artefact holds a time or the run's path.
    """
    todo = program(plan)
    ranks = environment(plan.recipe, todo)
    todo = replace(todo, missing=(*todo.missing, *ranks.missing))
    job = scheduler(plan.recipe.site.scheduler).job(plan, todo, ranks.variables, provenance)
    files = {
        **content(plan, todo, ranks.variables, provenance),
        **job.files,
        job.name: job.text,
        "launch.json": launch_json(plan, job.name, job.command),
    }
    files["SHA256SUMS"] = sums(files)
    return Launch(
        name=plan.recipe.run_name,
        nodes=plan.nodes,
        ranks_per_node=plan.ranks_per_node,
        program=todo,
        command=job.command,
        environment=ranks.variables,
        script=job.name,
        files=dict(sorted(files.items())),
        mounts=job.mounts,
        notes=job.notes,
        commands=job.commands,
        later=job.later,
        missing=todo.missing,
        warnings=(*todo.warnings, *ranks.warnings, *_set_wrongly(plan), *job.warnings),
    )


def _set_wrongly(plan: Plan) -> Iterator[str]:
    """What a recipe or its site sets that cannot do what it says, as `env lint` finds it."""
    if not (plan.recipe.env or plan.recipe.site.env):
        return
    from llmtrain.launchers.fabric.of_recipe import lint_recipe

    for each in lint_recipe(plan):
        if each.severity == "error":
            yield f"{each.says}; {each.hint}" if each.hint else each.says


def require_startable(launch: Launch, known: Iterable[str] = ()) -> None:
    """Refuse a launch that lacks what only the user or the site knows, or would write a secret.

    Raises:
        LaunchError: naming each missing key, or each file and line.
    """
    problems = [Problem(code="missing", key=key, says="must be given") for key in launch.missing]
    if problems:
        raise LaunchError(problems)
    require_clean(launch, known)


def require_clean(launch: Launch, known: Iterable[str] = ()) -> None:
    """Refuse a launch whose files would hold a secret: by its form, or one of those ``known``.

    Raises:
        LaunchError: naming each file and line.
    """
    pairs = ((variable.name, variable.value) for variable in launch.environment)
    require_no_secrets(launch.files, pairs, known)
