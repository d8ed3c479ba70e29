"""A launch as a few lines of text, so that a change is one line of a diff."""

from collections.abc import Iterator

from llmtrain.config.recipe import Recipe
from llmtrain.launchers.backends import program
from llmtrain.launchers.environment import environment
from llmtrain.launchers.launch import Program
from llmtrain.planner.plan import Plan

CHECK = "checkout.py"
"""A file that is the same in every run's folder."""


def golden_text(plan: Plan) -> str:
    """Program, arguments, files and environment of ``plan``, or why there is no launch."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: Plan) -> Iterator[str]:
    yield _title(plan)
    todo = Program() if plan.errors else program(plan)
    if plan.errors:
        yield from _part("refused", (error.message for error in plan.errors))
    else:
        yield from _part("program", (todo.module or todo.script or "",))
        yield from _part("arguments", _by_flag(todo.arguments))
    for name, text in todo.files.items():
        if name != CHECK:
            yield from _part(name, text.splitlines())
    ranks = environment(plan.recipe, todo)
    said = (f"{v.name}={v.value}  # {v.where}" for v in ranks.variables)
    yield from _part("environment", said)
    yield from _part("must be given", (*todo.missing, *ranks.missing))
    yield from _part("warnings", (*todo.warnings, *ranks.warnings))


def _title(plan: Plan) -> str:
    recipe: Recipe = plan.recipe
    backend = " ".join(filter(None, (recipe.backend.name, recipe.backend.version)))
    ranks = f"{plan.nodes} × {plan.ranks_per_node} ranks"
    return f"{recipe.name}: {ranks} of {recipe.cluster.name}, {backend}"


def _part(name: str, lines: Iterator[str] | tuple[str, ...] | list[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield ""
        yield f"[{name}]"
        yield from found


def _by_flag(words: tuple[str, ...]) -> Iterator[str]:
    """A line for each flag, with what follows it."""
    line: list[str] = []
    for word in words:
        if word.startswith("--") and line:
            yield " ".join(line)
            line = []
        line.append(word)
    if line:
        yield " ".join(line)
