"""The environment of the ranks: each variable with its value, its source and its reason.

Later layers win: the cluster's facts, what the program needs, the site, the recipe.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from llmtrain.config.place import Cluster, EnvFact
from llmtrain.config.recipe import Recipe
from llmtrain.config.site import Site
from llmtrain.launchers.launch import Program, Variable
from llmtrain.launchers.program_environment import program_environment

Rule = Callable[[Recipe], bool]

RENDERED = ("required", "recommended", "conditional")
"""Levels of a cluster's facts that reach the ranks; a conditional one only by its rule."""

FILLED = {"<run_dir>": "logs"}
"""Places in values that we fill in. The ranks' working directory is the run's folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """What reaches the ranks, and what could not."""

    variables: tuple[Variable, ...]
    """Sorted by name."""
    missing: tuple[str, ...] = ()
    """Recipe keys without which the launch is refused, for example ``site.env.NCCL_IB_HCA``."""
    warnings: tuple[str, ...] = ()
    """What was left out because only the site knows its value."""
    notes: tuple[str, ...] = ()
    """What else is known of the cluster's fabric: its rails, what not to set there, its speed."""


def environment(recipe: Recipe, program: Program) -> Environment:
    """The environment of ``recipe``'s ranks when they run ``program``."""
    found = {variable.name: variable for variable in _cluster(recipe)}
    asked = (*program_environment(recipe), *program.environment)
    found |= {variable.name: variable for variable in asked}
    found |= {v.name: v for v in _given("site", recipe.site.name, recipe.site.env)}
    found |= {v.name: v for v in _given("recipe", recipe.name, recipe.env)}
    gaps = [name for name in _gaps(recipe) if name not in found]
    facts = recipe.cluster.env
    required = [name for name in gaps if facts[name].level == "required"]
    return Environment(
        variables=tuple(found[name] for name in sorted(found)),
        missing=tuple(f"site.env.{name}" for name in required),
        warnings=tuple(_left_out(name, facts[name]) for name in gaps if name not in required),
        notes=_notes(recipe.cluster),
    )


def of_place(cluster: Cluster, site: Site) -> Environment:
    """What any recipe gets on ``cluster`` at ``site``; what depends on the recipe is a warning."""
    found: dict[str, Variable] = {}
    warnings = []
    for name, fact in cluster.env.items():
        if fact.level == "conditional" and fact.rule in RULES:
            warnings.append(f"{name} depends on the recipe: {fact.why}")
        elif fact.level in RENDERED and fact.level != "conditional" and not _open_place(fact):
            found[name] = _of_cluster(cluster.name, name, fact)
        elif fact.level in ("required", "recommended", "site") and _open_place(fact):
            warnings += [] if fact.value.startswith("<unset") else [_left_out(name, fact)]
    found |= {v.name: v for v in _given("site", site.name, site.env)}
    return Environment(
        variables=tuple(found[name] for name in sorted(found)),
        warnings=tuple(text for text in warnings if text.split()[0] not in found),
        notes=_notes(cluster),
    )


def _notes(cluster: Cluster) -> tuple[str, ...]:
    said = {"rails": cluster.network.rails, "nccl-tests reach": cluster.expected}
    found = [f"{what}: {text}" for what, text in said.items() if text]
    return (*found, *(f"not to be set here: {text}" for text in cluster.avoid))


def applies(fact: EnvFact, recipe: Recipe) -> bool:
    """Whether a fact of this level, and by this rule, is for ``recipe``."""
    if fact.level == "conditional":
        return fact.rule in RULES and RULES[fact.rule](recipe)
    return fact.level in RENDERED


def _cluster(recipe: Recipe) -> Iterator[Variable]:
    for name, fact in recipe.cluster.env.items():
        if applies(fact, recipe) and not _open_place(fact):
            yield _of_cluster(recipe.cluster.name, name, fact)


def _of_cluster(cluster: str, name: str, fact: EnvFact) -> Variable:
    source = f"cluster {cluster} ({fact.level}); {fact.source}"
    return Variable(name=name, value=_filled(fact.value), source=source, reason=fact.why)


def _gaps(recipe: Recipe) -> Iterator[str]:
    """Names whose value only the site knows."""
    for name, fact in recipe.cluster.env.items():
        asked = fact.level == "site" or applies(fact, recipe)
        if asked and _open_place(fact) and not fact.value.startswith("<unset"):
            yield name


def _open_place(fact: EnvFact) -> bool:
    return "<" in _filled(fact.value)


def _filled(value: str) -> str:
    for place, content in FILLED.items():
        value = value.replace(place, content)
    return value


def _left_out(name: str, fact: EnvFact) -> str:
    return f"{name} is left out: only the site knows {fact.value} (`site.env.{name}`)"


def _given(kind: str, name: str, values: Mapping[str, str]) -> Iterator[Variable]:
    for variable, value in values.items():
        where = f"{kind} {name} (`{'site.env' if kind == 'site' else 'env'}.{variable}`)"
        yield Variable(name=variable, value=value, source=where, reason=f"set by the {kind}")


RULES: Mapping[str, Rule] = {
    # By program, version and architecture: ``program_environment.py`` decides.
    "cuda_device_max_connections": lambda recipe: False,
    "no_network": lambda recipe: recipe.gpus <= recipe.cluster.gpus_per_node,
    "no_sharp": lambda recipe: not recipe.site.sharp,
    "sharp": lambda recipe: recipe.site.sharp,
}
"""By the rule's word in a cluster's data. A word that is not here is never rendered."""
