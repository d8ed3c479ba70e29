"""The recipes and clusters that ship: complete, as published, and each on every cluster."""

from dataclasses import dataclass
from functools import cache

import pytest

from llmtrain.config.catalog import catalog
from llmtrain.config.change import changed
from llmtrain.config.compose import compose
from llmtrain.config.layout import data_parallel, stage_layers
from llmtrain.config.place import Cluster
from llmtrain.config.recipe import Recipe
from llmtrain.config.rules import violations
from llmtrain.config.search import SearchPath, search_path
from llmtrain.planner.parameters import total_parameters
from llmtrain.planner.plan import make_plan, plan_json

CLUSTERS = [
    *("dgx-a100-40g", "dgx-a100-80g", "dgx-h100", "hgx-h100-ib", "hgx-h100-roce", "dgx-h200"),
    *("h800", "aws-p4d", "aws-p5", "azure-nd-a100-v4", "azure-ndm-a100-v4", "azure-nd-h100-v5"),
    *("gcp-a3-high", "gcp-a3-mega", "oci-a100", "oci-h100", "coreweave-h100", "juwels-booster"),
    *("perlmutter", "local-gpu", "local-cpu"),
]

MAY_NOT_HOLD = {"cluster_too_small", "node_not_filled", "precision_unsupported"}
"""Why a cluster may be unable to hold a recipe: its nodes, or its GPU's numbers."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """What was published of a model and of the layout it ships with."""

    shape: tuple[int, int, int, int, int]
    """Layers, hidden, heads, heads of keys and values, feed-forward."""
    vocab: int
    """Padded, as the embedding had it."""
    seq: int
    """Tokens of a sequence."""
    form: tuple[str, str, str, bool, bool]
    """Activation, norm, positions, tied, biases."""
    layout: tuple[int, int, int, int, int, int, int]
    """GPUs, tp, pp, vpp, cp, ep, dp."""
    batch: tuple[int | None, int]
    """Micro-batch (None: unpublished) and global batch."""
    billions: float
    """Parameters."""
    within: float = 0.01
    """How far a count may be from them: round names are rounder than a percent."""


GPT = ("gelu", "layernorm", "learned", True, True)
LLAMA = ("swiglu", "rmsnorm", "rope", False, False)
GPT_530B = (105, 20480, 128, 128, 81920)
GPT_175B = (96, 12288, 96, 96, 49152)

# Sources are those of each recipe's file.
PUBLISHED = {
    "mt-nlg-530b": Published(
        shape=GPT_530B,
        vocab=51200,
        seq=2048,
        form=GPT,
        layout=(2240, 8, 35, 1, 1, 1, 8),
        batch=(1, 1920),
        billions=530,
    ),
    "gpt3-530b": Published(
        shape=GPT_530B,
        vocab=51200,
        seq=2048,
        form=GPT,
        layout=(2240, 8, 35, 3, 1, 1, 8),
        batch=(1, 2240),
        billions=529.6,
    ),
    "gpt3-1t": Published(
        shape=(128, 25600, 160, 160, 102400),
        vocab=51200,
        seq=2048,
        form=GPT,
        layout=(512, 8, 64, 1, 1, 1, 1),
        batch=(1, 512),
        billions=1008,
    ),
    "gpt3-126m": Published(
        shape=(12, 768, 12, 12, 3072),
        vocab=50304,
        seq=2048,
        form=GPT,
        layout=(64, 1, 1, 1, 1, 1, 64),
        batch=(4, 256),
        billions=0.126,
    ),
    "gpt3-5b": Published(
        shape=(24, 4096, 32, 32, 16384),
        vocab=50304,
        seq=2048,
        form=GPT,
        layout=(128, 1, 1, 1, 1, 1, 128),
        batch=(2, 2048),
        billions=5,
    ),
    "gpt3-20b": Published(
        shape=(44, 6144, 48, 48, 24576),
        vocab=50688,
        seq=2048,
        form=GPT,
        layout=(512, 4, 1, 1, 1, 1, 128),
        batch=(4, 2048),
        billions=20,
        within=0.015,
    ),
    "gpt3-40b": Published(
        shape=(48, 8192, 64, 64, 32768),
        vocab=50688,
        seq=2048,
        form=GPT,
        layout=(1024, 4, 2, 1, 1, 1, 128),
        batch=(2, 2048),
        billions=40,
        within=0.025,
    ),
    "gpt3-175b": Published(
        shape=GPT_175B,
        vocab=51200,
        seq=2048,
        form=GPT,
        layout=(1024, 8, 8, 1, 1, 1, 16),
        batch=(2, 2048),
        billions=175,
    ),
    "mlperf-gpt3-175b": Published(
        shape=GPT_175B,
        vocab=51200,
        seq=2048,
        form=("gelu", "layernorm1p", "learned", True, True),
        layout=(3584, 4, 8, 12, 1, 1, 112),
        batch=(1, 2688),
        billions=175,
    ),
    "opt-175b": Published(
        shape=GPT_175B,
        vocab=50272,
        seq=2048,
        form=("relu", "layernorm", "learned", True, True),
        layout=(992, 8, 1, 1, 1, 1, 124),
        batch=(8, 992),
        billions=175,
    ),
    "bloom-176b": Published(
        shape=(70, 14336, 112, 112, 57344),
        vocab=250880,
        seq=2048,
        form=("gelu", "layernorm", "alibi", True, True),
        layout=(384, 4, 12, 1, 1, 1, 8),
        batch=(2, 2048),
        billions=176.247271424,  # bigscience tr11-176B-ml, and its model card
        within=0,
    ),
    "glm-130b": Published(
        shape=(70, 12288, 96, 96, 32768),
        vocab=150528,
        seq=2048,
        form=("geglu", "deepnorm", "rope", True, True),
        layout=(768, 4, 8, 1, 1, 1, 24),
        batch=(None, 4224),
        billions=130,
        within=0.015,
    ),
    "llama-65b": Published(
        shape=(80, 8192, 64, 64, 22016),
        vocab=32000,
        seq=2048,
        form=LLAMA,
        layout=(1024, 4, 4, 20, 1, 1, 64),
        batch=(1, 2048),
        billions=65.2,
    ),
    "llama2-7b": Published(
        shape=(32, 4096, 32, 32, 11008),
        vocab=32000,
        seq=4096,
        form=LLAMA,
        layout=(128, 1, 1, 1, 1, 1, 128),
        batch=(1, 2048),
        billions=6.738415616,  # the published weights
        within=0,
    ),
    "llama2-13b": Published(
        shape=(40, 5120, 40, 40, 13824),
        vocab=32000,
        seq=4096,
        form=LLAMA,
        layout=(256, 1, 4, 10, 1, 1, 64),
        batch=(1, 2048),
        billions=13.015864320,  # the published weights
        within=0,
    ),
    "llama2-70b": Published(
        shape=(80, 8192, 64, 8, 28672),
        vocab=32000,
        seq=4096,
        form=LLAMA,
        layout=(1024, 4, 4, 5, 1, 1, 64),
        batch=(1, 2048),
        billions=68.976648192,  # the published weights
        within=0,
    ),
    "llama3-8b": Published(
        shape=(32, 4096, 32, 8, 14336),
        vocab=128256,
        seq=8192,
        form=LLAMA,
        layout=(128, 1, 1, 1, 2, 1, 64),
        batch=(1, 2048),
        billions=8.030261248,  # the published weights
        within=0,
    ),
    "llama3-70b": Published(
        shape=(80, 8192, 64, 8, 28672),
        vocab=128256,
        seq=8192,
        form=LLAMA,
        layout=(1024, 4, 4, 5, 2, 1, 32),
        batch=(1, 2048),
        billions=70.553706496,  # the published weights
        within=0,
    ),
    "llama3-405b": Published(
        shape=(126, 16384, 128, 8, 53248),
        vocab=128256,
        seq=8192,
        form=LLAMA,
        layout=(4608, 8, 9, 7, 2, 1, 32),
        batch=(1, 2016),
        billions=405.853388800,  # the published weights
        within=0,
    ),
    "nemotron4-340b": Published(
        shape=(96, 18432, 96, 8, 73728),
        vocab=256000,
        seq=4096,
        form=("relu2", "layernorm1p", "rope", False, False),
        layout=(6144, 8, 12, 8, 1, 1, 64),
        batch=(1, 2304),
        billions=340,
    ),
    "mixtral-8x7b": Published(
        shape=(32, 4096, 32, 8, 14336),
        vocab=32000,
        seq=4096,
        form=LLAMA,
        layout=(64, 1, 4, 8, 1, 8, 16),
        batch=(1, 256),
        billions=46.702792704,  # the published weights
        within=0,
    ),
    "deepseek-v3": Published(
        shape=(61, 7168, 128, 128, 18432),
        vocab=129280,
        seq=4096,
        form=LLAMA,
        layout=(2048, 1, 16, 1, 1, 64, 128),
        batch=(1, 15360),
        billions=671 + 14,  # 14 of MTP, which counts a copy of both embeddings
    ),
}


@cache
def shipped() -> SearchPath:
    """The package alone, whatever the user who runs the tests has."""
    return SearchPath(folders=search_path().folders[-1:])


@cache
def recipe_of(name: str) -> Recipe:
    """A recipe that ships."""
    return compose([f"recipe={name}"])


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
def test_the_shape_is_the_published_one(name: str) -> None:
    published, model = PUBLISHED[name], recipe_of(name).model
    shape = (model.layers, model.hidden, model.heads, model.kv_head_count, model.ffn_size)
    form = (model.activation, model.norm, model.positions, model.tied, model.bias)

    assert published.shape == shape
    assert published.seq == model.seq
    assert published.form == form


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_padded_vocabulary_is_the_published_one(name: str) -> None:
    recipe = recipe_of(name)

    assert PUBLISHED[name].vocab == recipe.model.padded_vocab(recipe.parallel.tp)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_layout_is_the_published_one(name: str) -> None:
    published, recipe = PUBLISHED[name], recipe_of(name)
    parallel, batch = recipe.parallel, recipe.batch
    layout = (parallel.tp, parallel.pp, parallel.vpp, parallel.cp, parallel.ep)
    micro = published.batch[0] or batch.micro

    assert published.layout == (recipe.gpus, *layout, data_parallel(recipe))
    assert (micro, published.batch[1]) == (batch.micro, batch.global_)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_size_is_the_published_one(name: str) -> None:
    """Exactly, where weights were published; else within a percent, or its name's rounding."""
    published = PUBLISHED[name]
    billions = total_parameters(recipe_of(name)) / 1e9

    assert published.billions == pytest.approx(billions, rel=published.within or 1e-12)


def test_deepseek_v3_without_prediction_has_671_billion() -> None:
    """671.026 billion are its published weights without MTP."""
    recipe = compose(["recipe=deepseek-v3", "model.mtp=0"])

    assert total_parameters(recipe) / 1e9 == pytest.approx(671.026, abs=0.002)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpt3-530b", [3] * 35),
        ("bloom-176b", [5, *[6] * 10, 5]),  # the ends hold the embedding
        ("glm-130b", [8, *[9] * 6, 8]),
        ("deepseek-v3", [*[4] * 15, 1]),
    ],
)
def test_stages_are_the_published_ones(name: str, expected: list[int]) -> None:
    stages = stage_layers(recipe_of(name))

    assert expected == [sum(len(chunk) for chunk in chunks) for chunks in stages]


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
