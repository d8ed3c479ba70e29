"""From arguments to a plan, the same for every verb."""

from collections.abc import Sequence
from pathlib import Path

from llmtrain.config.compose import compose
from llmtrain.config.errors import PlanError
from llmtrain.config.home import expanded
from llmtrain.planner.calibration import calibrated
from llmtrain.planner.mending import LAUNCH
from llmtrain.planner.plan import Plan, make_plan


def planned(arguments: Sequence[str] | None, folders: Sequence[Path]) -> Plan:
    """Compose and plan; errors as those of the two. A launch script is imported first."""
    words = list(arguments or ())
    script = _script(words)
    if script is None:
        return make_plan(calibrated(compose(words, folders, LAUNCH), folders))
    from tempfile import TemporaryDirectory

    from llmtrain.cli.answer import err, print_warnings
    from llmtrain.launchers.importing.recipe import import_file, listed

    # What only the command line can know decides how the file is read.
    told = ("cluster=", "backend.version=")
    found = import_file(script, tuple(word for word in words if word.startswith(told)))
    print_warnings(tuple(listed(found)), err())
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"{script.stem}.yaml"
        file.write_text(found.text, encoding="utf-8")
        others = [word for word in words if not word.startswith("recipe=")]
        recipe = compose([f"recipe={file}", *others], folders, LAUNCH)
        return make_plan(calibrated(recipe, folders))


def _script(arguments: Sequence[str]) -> Path | None:
    """The file of ``recipe=FILE`` where that is a launch that somebody wrote, or NeMo's YAML."""
    names = [word.partition("=")[2] for word in arguments if word.startswith("recipe=")]
    file = expanded(names[0]) if len(names) == 1 else Path()
    if file.suffix == "" or not file.is_file():
        return None
    if file.suffix not in (".yaml", ".yml"):
        return file
    from llmtrain.launchers.importing.nemo import is_nemo

    return file if is_nemo(file.read_text(encoding="utf-8", errors="replace")) else None


def require_launchable(plan: Plan) -> None:
    """Refuse a plan with errors, after it was shown.

    Raises:
        PlanError: with the plan's own errors.
    """
    if plan.errors:
        raise PlanError(plan.errors)


def said(plan: Plan) -> tuple[str, ...]:
    """The plan's own warnings, for those who submit without having looked at it."""
    return tuple(warning.message for warning in plan.warnings)
