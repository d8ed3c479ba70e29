"""Environment that depends on arguments, held against what the programs themselves assert.

``ASSERTED`` was measured: ``parse_args`` and ``validate_args`` of each program at its commit, on
the arguments that are rendered here, at full world size, with each value in turn.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from llmtrain.config.recipe import Recipe
from llmtrain.launchers.program_environment import program_environment

RecipeOf = Callable[..., Recipe]

UNSET, ONE, MANY = None, "1", "32"
ANY = (UNSET, ONE, MANY)
PLAIN, TP, CP = "llama2-7b", "gpt3-20b", "llama3-8b"
"""Without tensor or context parallel, with the first (and sequence parallel), with the second."""

NEW = ("core_v0.19.0", "core_v0.16.1")
ASSERTED: dict[tuple[str, str, str], tuple[str | None, ...]] = {
    **{(version, PLAIN, arch): ANY for version in NEW for arch in ("ampere", "hopper")},
    **{(version, name, "ampere"): (ONE,) for version in NEW for name in (TP, CP)},
    **{(version, name, "hopper"): (ONE,) for version in NEW for name in (TP, CP)},
    **{(version, name, "blackwell"): ANY for version in NEW for name in (PLAIN, TP, CP)},
    **{("v0.12.0rc3", PLAIN, arch): ANY for arch in ("ampere", "hopper", "blackwell")},
    **{("v0.12.0rc3", TP, arch): (ONE,) for arch in ("ampere", "hopper", "blackwell")},
    **{("v0.12.0rc3", CP, arch): (ONE,) for arch in ("ampere", "hopper")},
    ("v0.12.0rc3", CP, "blackwell"): ANY,
    **{("4efb479d", PLAIN, arch): ANY for arch in ("ampere", "hopper", "blackwell")},
    **{("4efb479d", TP, arch): (ONE,) for arch in ("ampere", "hopper", "blackwell")},
}
"""Version, recipe and architecture -> the values of CUDA_DEVICE_MAX_CONNECTIONS that pass."""


def values(recipe: Recipe) -> dict[str, str]:
    """Names and values that the rules give."""
    return {each.name: each.value for each in program_environment(recipe)}


def on(recipe: Recipe, arch: str) -> Recipe:
    """The same on a GPU of another generation."""
    gpu = replace(recipe.cluster.gpu, arch=arch)
    return replace(recipe, cluster=replace(recipe.cluster, gpu=gpu))


@pytest.mark.parametrize("case", ASSERTED, ids=" ".join)
def test_what_is_set_is_what_the_program_asserts(
    recipe_of: RecipeOf, case: tuple[str, str, str]
) -> None:
    """1 where nothing else passes; where anything does, several queues or CUDA's own value."""
    version, name, arch = case
    backend = "megatron-deepspeed" if version == "4efb479d" else "megatron-lm"
    asked = (f"recipe={name}", f"backend={backend}", f"backend.version={version}")
    found = values(on(recipe_of(*asked), arch)).get("CUDA_DEVICE_MAX_CONNECTIONS")

    assert found in ASSERTED[case]
    assert (found == ONE) == (ASSERTED[case] == (ONE,))


def test_without_sequence_parallel_megatron_deepspeed_asserts_nothing(recipe_of: RecipeOf) -> None:
    """``--deepspeed`` turns its asynchronous all-reduce off."""
    recipe = recipe_of("recipe=mt-nlg-530b")

    assert (recipe.parallel.tp, recipe.parallel.sequence) == (8, False)
    assert "CUDA_DEVICE_MAX_CONNECTIONS" not in values(recipe)


def test_sharded_weights_want_several_queues(recipe_of: RecipeOf) -> None:
    """A plain DeepSpeed script with ZeRO-3 is left alone."""
    recipe = recipe_of("recipe=llama2-7b", "backend=deepspeed", "optim.zero=3")

    assert "CUDA_DEVICE_MAX_CONNECTIONS" not in values(recipe)


SEGMENTS = "expandable_segments:True"


@pytest.mark.parametrize("name", ["PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"])
def test_the_allocator_with_cuda_graphs(recipe_of: RecipeOf, name: str) -> None:
    """Both spellings of expandable segments need NCCL_GRAPH_REGISTER=0; either alone does not."""
    graphs, given = "kernels.cuda_graphs=true", f"+env.{name}='{SEGMENTS}'"
    both = recipe_of("recipe=llama2-70b", graphs, given)

    assert values(both)["NCCL_GRAPH_REGISTER"] == "0"
    for alone in (graphs, given):
        assert "NCCL_GRAPH_REGISTER" not in values(recipe_of("recipe=llama2-70b", alone))


def test_margins_where_communication_runs_beside_norms(recipe_of: RecipeOf) -> None:
    """On Hopper, with some overlap, in the program whose norms are Transformer Engine's."""
    name = "NVTE_FWD_LAYERNORM_SM_MARGIN"
    hopper = ("recipe=llama3-8b", "optim.overlap_param_gather=false")
    silent = ("optim.overlap_grad_reduce=false", "kernels.tp_overlap=false")

    assert values(recipe_of(*hopper))[name] == "20"
    assert name not in values(recipe_of(*hopper, *silent))
    assert name not in values(recipe_of("recipe=gpt3-20b"))
    assert name not in values(recipe_of("recipe=llama2-7b", "backend=megatron-deepspeed"))


def test_threads_are_half_of_a_ranks_cores(recipe_of: RecipeOf) -> None:
    """DGX H100: 112 cores for 8 ranks; nothing where the cores are not known; nothing on a CPU."""
    recipe = recipe_of("recipe=llama3-8b", "cluster=dgx-h100")
    unknown = replace(recipe, cluster=replace(recipe.cluster, cpu_cores_per_node=None))

    assert values(recipe)["OMP_NUM_THREADS"] == "7"
    assert "OMP_NUM_THREADS" not in values(unknown)
    assert values(recipe_of("recipe=gpt-tiny")) == {}


@pytest.mark.parametrize("backend", ["megatron-lm", "megatron-deepspeed", "deepspeed"])
def test_every_program_keeps_what_hung(recipe_of: RecipeOf, backend: str) -> None:
    """torch's flight recorder and its dump, which older releases leave off."""
    found = values(recipe_of("recipe=llama2-7b", f"backend={backend}"))

    assert (found["TORCH_FR_BUFFER_SIZE"], found["TORCH_NCCL_DUMP_ON_TIMEOUT"]) == ("2000", "1")


def test_each_variable_has_its_reason_and_source(recipe_of: RecipeOf) -> None:
    """For whoever wonders why it is there."""
    for name in ("gpt3-530b", "llama3-405b", "mt-nlg-530b"):
        for each in program_environment(recipe_of(f"recipe={name}")):
            assert each.reason and each.source.startswith("rule: ") and each.read_in
