"""The linter on a recipe: what site and recipe set, against the plan itself."""

from dataclasses import replace

from llmtrain.launchers.backends import program
from llmtrain.launchers.environment import environment
from llmtrain.launchers.fabric.conflicts import Facts, facts_of_arguments
from llmtrain.launchers.fabric.findings import Finding
from llmtrain.launchers.fabric.lint import Version, lint
from llmtrain.launchers.launch import Program
from llmtrain.launchers.scripts.document import Document
from llmtrain.launchers.scripts.script import Setting
from llmtrain.planner.plan import Plan


def lint_recipe(plan: Plan, nccl: Version | None = None) -> tuple[Finding, ...]:
    """What is wrong with a recipe's environment. The cluster's own values have their reasons."""
    recipe = plan.recipe
    todo = Program() if plan.errors else program(plan)
    ranks = environment(recipe, todo)
    ours = {v.name for v in ranks.variables if v.source.startswith(("cluster ", "rule: "))}
    settings = tuple(Setting(name=v.name, value=v.value, line=0) for v in ranks.variables)
    found = lint(Document(kind="live", settings=settings), nccl=nccl, facts=_facts(plan, todo))
    return tuple(each for each in found if each.name not in ours or each.code == "conflict")


def _facts(plan: Plan, todo: Program) -> Facts:
    recipe = plan.recipe
    found = facts_of_arguments(recipe.backend.name, todo.arguments)
    return replace(found, blackwell=recipe.cluster.gpu.arch == "blackwell")
