"""The recipes and clusters that ship: complete, with their sources, and each on every cluster."""

from functools import cache

import pytest
import yaml

from llmtrain.config.catalog import catalog
from llmtrain.config.change import changed
from llmtrain.config.compose import compose
from llmtrain.config.place import Cluster
from llmtrain.config.rules import violations
from llmtrain.config.search import SearchPath, search_path
from llmtrain.planner.parameters import total_parameters
from llmtrain.planner.plan import make_plan, plan_json
from tests.recipes.published import PUBLISHED, recipe_of

CLUSTERS = [
    *("dgx-a100-40g", "dgx-a100-80g", "dgx-h100", "hgx-h100-ib", "hgx-h100-roce", "dgx-h200"),
    *("h800", "aws-p4d", "aws-p5", "azure-nd-a100-v4", "azure-ndm-a100-v4", "azure-nd-h100-v5"),
    *("gcp-a3-high", "gcp-a3-mega", "oci-a100", "oci-h100", "coreweave-h100", "juwels-booster"),
    *("perlmutter", "local-gpu", "local-cpu"),
]

MAY_NOT_HOLD = {"cluster_too_small", "node_not_filled", "precision_unsupported"}
"""Why a cluster may be unable to hold a recipe: its nodes, or its GPU's numbers."""


@cache
def shipped() -> SearchPath:
    """The package alone, whatever the user who runs the tests has."""
    return SearchPath(folders=search_path().folders[-1:])


@cache
def cluster_of(name: str) -> Cluster:
    """A cluster that ships."""
    return compose(["recipe=gpt-tiny", f"cluster={name}"]).cluster


def test_the_recipes_that_ship() -> None:
    assert set(shipped().recipes()) == {"gpt-tiny", *PUBLISHED}


def test_the_clusters_that_ship() -> None:
    assert set(shipped().options("cluster")) == set(CLUSTERS)
    assert {name: cluster_of(name).name for name in CLUSTERS} == {name: name for name in CLUSTERS}


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_cluster_says_where_it_was_read(name: str) -> None:
    """Its GPU's memory and peak too; what a CPU has is its own."""
    cluster = cluster_of(name)

    assert cluster.description
    assert cluster.source
    assert all(fact.source and fact.why for fact in cluster.env.values())
    if cluster.device == "cuda":
        assert cluster.gpu.source
        assert cluster.gpu.memory_bytes and cluster.gpu.bf16_tflops


@pytest.mark.parametrize("entry", catalog(shipped()), ids=lambda entry: entry.name)
def test_a_recipe_says_what_it_is_and_where_it_was_published(entry: object) -> None:
    description, source = getattr(entry, "description", ""), getattr(entry, "source", "")

    assert 20 < len(description) < 100
    assert source
    assert "\n" not in description + source


def test_every_option_of_every_group_is_used_or_composes() -> None:
    """No file lies idle: each model belongs to a recipe, every other choice composes."""
    models = {entry.model for entry in catalog(shipped())}

    assert set(shipped().options("model")) == models
    for group in ("backend", "optim", "precision", "schedule", "data", "checkpoint", "site"):
        for option in shipped().options(group):
            arguments = ["recipe=gpt3-175b", "cluster=dgx-h100", f"{group}={option}"]

            assert compose([*arguments, "data.paths=[a]"]), f"{group}={option}"


@pytest.mark.parametrize("name", ["gpt-tiny", *PUBLISHED])
def test_a_recipe_on_every_cluster_that_can_hold_it(name: str) -> None:
    """It plans there, and where it does not its nodes or its GPU cannot hold it."""
    held = []
    for cluster in CLUSTERS:
        recipe = changed(recipe_of(name), {"cluster": cluster_of(cluster)})
        codes = {problem.code for problem in violations(recipe)}
        assert codes <= MAY_NOT_HOLD, cluster
        if not codes:
            assert plan_json(make_plan(recipe))["params"]["total"] == total_parameters(recipe)
            held.append(cluster)

    assert recipe_of(name).cluster.name in held
    assert len(held) > 1


@pytest.mark.parametrize("name", ["gpt-tiny", *PUBLISHED])
def test_a_cluster_from_the_command_line_is_the_same_cluster(name: str) -> None:
    """What the test above replaces is what ``cluster=NAME`` composes; one cluster a recipe."""
    first = len(name) % len(CLUSTERS)
    others = {
        cluster: changed(recipe_of(name), {"cluster": cluster_of(cluster)})
        for cluster in (*CLUSTERS[first:], *CLUSTERS[:first])
    }
    cluster, expected = next(pair for pair in others.items() if not violations(pair[1]))

    assert expected == compose([f"recipe={name}", f"cluster={cluster}"])


@pytest.mark.parametrize("name", PUBLISHED)
def test_large_runs_are_launched_with_a_program_of_the_users(name: str) -> None:
    """The reference trainer is for what fits a test bed."""
    assert recipe_of(name).backend.name in ("megatron-lm", "megatron-deepspeed")


def test_the_quick_start_runs_anywhere() -> None:
    """Two ranks of a CPU, fp32, no dropout, bytes as tokens."""
    recipe = recipe_of("gpt-tiny")

    assert (recipe.gpus, recipe.parallel.tp, recipe.cluster.device) == (2, 2, "cpu")
    assert (recipe.precision.kind, recipe.model.dropout, recipe.model.vocab) == ("fp32", 0.0, 256)
    assert (recipe.backend.name, recipe.data.kind) == ("megatron-core", "stdlib")


def test_all_shipped_files_are_yaml_mappings() -> None:
    (package,) = shipped().folders
    files = sorted(package.rglob("*.yaml"))

    assert files
    assert all(isinstance(yaml.safe_load(file.read_text()), dict) for file in files)
