"""Which variables reach the ranks, with which value, and who said so."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

import llmtrain.recipes
from llmtrain.config.errors import LaunchError
from llmtrain.config.place import EnvFact, Level
from llmtrain.config.recipe import Recipe
from llmtrain.launchers.environment import RULES, environment
from llmtrain.launchers.launch import Launch, Program, Variable
from llmtrain.launchers.prepare import require_startable

RecipeOf = Callable[..., Recipe]
RECIPES = Path(llmtrain.recipes.__path__[0])

SITE_KNOWS = {
    "broken_hca",
    "cray_mpich",
    "efa_fork_enomem",
    "efa_old_installer",
    "efa_old_plugin",
}
"""Rules about software that only the site knows: it sets `site.env` itself."""


def with_facts(recipe: Recipe, **facts: EnvFact) -> Recipe:
    """The recipe on a cluster that says only this of its environment."""
    return replace(recipe, cluster=replace(recipe.cluster, name="here", env=facts))


def fact(value: str, level: Level = "required", rule: str = "") -> EnvFact:
    """What a cluster says of a variable."""
    return EnvFact(value=value, level=level, why="because", source="a manual", rule=rule)


def values(recipe: Recipe, program: Program | None = None) -> dict[str, str]:
    """Names and values that the ranks get."""
    found = environment(recipe, program or Program())
    return {variable.name: variable.value for variable in found.variables}


def words_of_rules() -> Iterator[str]:
    """Every ``rule:`` in the package's YAML."""
    for file in RECIPES.rglob("*.yaml"):
        yield from _rules(yaml.safe_load(file.read_text()))


def _rules(node: Any) -> Iterator[str]:
    for key, value in node.items() if isinstance(node, Mapping) else ():
        if key == "rule":
            yield value
        yield from _rules(value)


def test_every_word_of_a_rule_is_decided_or_left_to_the_site() -> None:
    """A new word in a cluster's data must be put into one of the two lists."""
    assert set(words_of_rules()) == set(RULES) | SITE_KNOWS
    assert set(RULES).isdisjoint(SITE_KNOWS)


def test_levels(recipe_of: RecipeOf) -> None:
    """Required and recommended values are rendered, conditional ones by rule, no others."""
    facts = {level.upper().replace("-", "_"): fact("1", level) for level in get_args(Level)}
    facts["BY_RULE"] = fact("1", "conditional", "no_sharp")
    facts["BY_OTHER_RULE"] = fact("1", "conditional", "sharp")
    facts["BY_SITE"] = fact("1", "conditional", "broken_hca")
    recipe = with_facts(recipe_of("recipe=gpt-tiny"), **facts)

    assert values(recipe) == {"BY_RULE": "1", "RECOMMENDED": "1", "REQUIRED": "1"}


def test_places_that_only_the_site_can_fill_in(recipe_of: RecipeOf) -> None:
    """Required: the launch lacks a key; others: a warning; unset: nothing at all."""
    facts = {
        "MUST": fact("<plugin_dir>/a.conf"),
        "SHOULD": fact("<lib dir>:/usr/lib", "recommended"),
        "MAY": fact("<interface>", "site"),
        "UNSET": fact("<unset; 1 only on Spectrum-X>", "site"),
        "UNSET_MUST": fact("<unset>"),
        "BENCHMARK": fact("<n>", "benchmark-only"),
        "LEGACY": fact("<n>", "legacy-only"),
        "OFF": fact("<n>", "conditional", "sharp"),
        "FOLDER": fact("<run_dir>/trace_", "recommended"),
    }
    found = environment(with_facts(recipe_of("recipe=gpt-tiny"), **facts), Program())

    assert [(each.name, each.value) for each in found.variables] == [("FOLDER", "logs/trace_")]
    assert found.missing == ("site.env.MUST",)
    assert found.warnings == (
        "SHOULD is left out: only the site knows <lib dir>:/usr/lib (`site.env.SHOULD`)",
        "MAY is left out: only the site knows <interface> (`site.env.MAY`)",
    )


def test_a_place_that_the_site_fills_in_is_no_gap(recipe_of: RecipeOf) -> None:
    """``site.env`` answers what the cluster leaves open, and so does the recipe's ``env``."""
    recipe = recipe_of("recipe=gpt-tiny", "+site.env.MUST=/opt/a.conf", "+env.MAY=eth0")
    recipe = with_facts(recipe, MUST=fact("<a>/a.conf"), MAY=fact("<interface>", "site"))
    found = environment(recipe, Program())

    assert values(recipe) == {"MAY": "eth0", "MUST": "/opt/a.conf"}
    assert (found.missing, found.warnings) == ((), ())


def test_a_required_place_refuses_the_launch(launch_of: Callable[..., Launch]) -> None:
    """The refusal names the keys that the site must give."""
    launch = launch_of("recipe=llama2-7b", "cluster=gcp-a3-mega", "backend.path=/opt/megatron")
    with pytest.raises(LaunchError) as refused:
        require_startable(launch)

    assert [problem.message for problem in refused.value.problems] == [
        "`site.env.NCCL_TUNER_CONFIG_PATH` must be given",
        "`site.env.NCCL_SHIMNET_GUEST_CONFIG_CHECKER_CONFIG_FILE` must be given",
    ]


def test_the_last_layer_wins_and_says_so(recipe_of: RecipeOf) -> None:
    """Cluster, program, site, recipe: each variable tells who set it and why."""
    names = ("A", "B", "C", "D")
    given = ["+site.env.C=site", "+site.env.D=site", "+env.D=recipe"]
    recipe = with_facts(
        recipe_of("recipe=gpt-tiny", *given), **{name: fact("cluster") for name in names}
    )
    program = Program(
        environment=tuple(
            Variable(name=name, value="program", source="rule", reason="asserted")
            for name in names[1:]
        )
    )

    assert environment(recipe, program).variables == (
        Variable(
            name="A", value="cluster", source="cluster here (required); a manual", reason="because"
        ),
        Variable(name="B", value="program", source="rule", reason="asserted"),
        Variable(
            name="C", value="site", source="site none (`site.env.C`)", reason="set by the site"
        ),
        Variable(
            name="D", value="recipe", source="recipe gpt-tiny (`env.D`)", reason="set by the recipe"
        ),
    )


def test_sharp_or_the_built_in_fabric(recipe_of: RecipeOf) -> None:
    """``site.sharp`` turns one set of variables into the other."""
    on = ("recipe=llama2-7b", "cluster=coreweave-h100")
    without, sharp = values(recipe_of(*on)), values(recipe_of(*on, "site.sharp=true"))
    common = without.keys() & sharp.keys()

    assert {name: value for name, value in without.items() if name not in common} == {
        "NCCL_NET_PLUGIN": "none"
    }
    assert {name: value for name, value in sharp.items() if name not in common} == {
        "NCCL_COLLNET_ENABLE": "1",
        "SHARP_COLL_ENABLE_PCI_RELAXED_ORDERING": "1",
    }


def test_one_node_needs_no_network(recipe_of: RecipeOf) -> None:
    """On one machine the ranks meet on the loopback."""
    recipe = with_facts(
        recipe_of("recipe=llama2-7b"), NCCL_SOCKET_IFNAME=fact("lo", "conditional", "no_network")
    )
    per_node = recipe.cluster.gpus_per_node

    name = "NCCL_SOCKET_IFNAME"
    assert values(replace(recipe, gpus=per_node)).get(name) == "lo"
    assert name not in values(replace(recipe, gpus=per_node * 2))
