"""What a backend cannot express is found, with its reason, and nothing else is."""

import pytest

from llmtrain.config.compose import compose
from llmtrain.config.search import search_path
from llmtrain.planner.expressible import approximated, inexpressible
from llmtrain.planner.memory import peak_memory
from llmtrain.planner.mending import problems_of
from llmtrain.trainer.unsupported import unsupported

CORE = "backend=megatron-core"

SHIPPED: tuple[tuple[str, set[str]], ...] = (
    ("gpt-tiny", set()),
    ("gpt3-530b", set()),
    ("mixtral-8x7b", set()),
    ("deepseek-v3", set()),
    ("bloom-176b", {"model.positions", "model.embedding_norm", "parallel.pp"}),
    ("glm-130b", {"model.norm", "model.activation", "parallel.pp"}),
    ("opt-175b", {"model.activation", "optim.master"}),
)
"""Shipped recipes and the keys that their own backend cannot express."""

CANNOT = (
    ("gpt-tiny", "model.norm=deepnorm", "model.norm"),
    ("gpt-tiny", "model.positions=alibi", "model.positions"),
    ("gpt-tiny", "model.mla={}", "parallel.sequence"),
    ("gpt-tiny", "optim.zero=2", "optim.zero"),
    ("gpt-tiny", "recompute={kind: selective, modules: [mla_up_proj]}", "recompute.modules"),
    ("gpt-tiny", "kernels.cuda_graphs=true", "kernels.cuda_graphs"),
    ("gpt-tiny", "kernels.dispatcher=deepep", "kernels.dispatcher"),
    ("gpt-tiny", "backend=deepspeed", "parallel.tp"),
    ("gpt-tiny", "backend=megatron-lm", "cluster.device"),
    ("llama2-7b", "model.positions=alibi", "model.positions"),
    ("llama2-7b", "model.norm=deepnorm", "model.norm"),
    ("llama2-7b", "model.activation=relu", "model.activation"),
    ("llama2-7b", "model.activation=geglu", "model.activation"),
    ("llama2-7b", "optim.zero=3", "optim.zero"),
    ("llama2-7b", "optim.master=false", "optim.master"),
    ("llama2-7b", "optim.overlap_grad_reduce=false", "optim.overlap_param_gather"),
    ("llama2-7b", "run.steps=500", "schedule.warmup"),
    ("llama2-7b", "data=stdlib", "data.kind"),
    ("llama2-7b", "kernels.dispatcher=deepep", "kernels.dispatcher"),
    ("mt-nlg-530b", "kernels.dispatcher=deepep", "kernels.dispatcher"),
    ("llama3-8b", "precision=fp32", "parallel.cp"),
    ("llama2-7b", "model.rope_base=10000.5", "model.rope_base"),
    ("llama2-7b", "backend.version=v1.0", "backend.version"),
    ("mt-nlg-530b", "optim.zero=0", "optim.zero"),
    ("mt-nlg-530b", "optim={zero: 1, grad_dtype: weights}", "optim.grad_dtype"),
    ("mt-nlg-530b", "schedule=wsd", "schedule.kind"),
    ("mt-nlg-530b", "profile.tool=torch", "profile.tool"),
    ("mt-nlg-530b", "parallel.order=tp-cp-ep-pp-dp", "parallel.order"),
    ("mt-nlg-530b", "backend=deepspeed", "parallel.tp"),
)
"""Recipe, change, and the key that the refusal names."""


@pytest.mark.parametrize(("name", "keys"), SHIPPED)
def test_shipped_recipes_on_their_own_backend(name: str, keys: set[str]) -> None:
    """What is refused has a true reason; the other shipped recipes can be launched."""
    found = {problem.key for problem in inexpressible(compose([f"recipe={name}"]))}

    assert found == keys


@pytest.mark.parametrize(("name", "change", "key"), CANNOT)
def test_a_refusal_names_key_and_reason(name: str, change: str, key: str) -> None:
    """Each limit is found by the key that asks for too much."""
    found = {problem.key: problem for problem in inexpressible(compose([f"recipe={name}", change]))}

    assert key in found
    assert found[key].code in ("backend_cannot", "unknown_version")


def test_a_script_of_the_users_must_start_torchs_profiler_itself() -> None:
    """nsys is started around it; DeepSpeed's JSON has no word for the other."""
    script = ["recipe=gpt3-126m", "backend=deepspeed", "backend.path=/opt/train.py"]
    refused = {
        tool: [each.key for each in inexpressible(compose([*script, f"profile.tool={tool}"]))]
        for tool in ("none", "nsys", "torch")
    }

    assert refused == {"none": [], "nsys": [], "torch": ["profile.tool"]}


def test_fp32_has_unfused_attention_only() -> None:
    """On a GPU; who asks for another kernel is told."""
    words = ["recipe=llama2-7b", "precision=fp32", "kernels.attention="]
    refused = {
        kernel: [each.key for each in inexpressible(compose([*words[:2], words[2] + kernel]))]
        for kernel in ("auto", "unfused", "flash", "fused")
    }

    assert refused == {
        "auto": [],
        "unfused": [],
        "flash": ["kernels.attention"],
        "fused": ["kernels.attention"],
    }


def test_a_message_is_a_sentence() -> None:
    """Key, value, backend and reason, and how an approximation is accepted."""
    (problem,) = inexpressible(compose(["recipe=llama2-7b", "model.activation=geglu"]))

    assert problem.message == (
        "`model.activation` = geglu cannot be expressed by megatron-lm: "
        "its only gated GELU is quick GeGLU"
    )
    assert problem.hint.startswith("`backend.approximate=true` accepts quick GeGLU")


def test_an_approximation_has_to_be_accepted() -> None:
    """With ``backend.approximate`` the recipe passes, and what is approximated is told."""
    asked = ["recipe=llama2-7b", "model.activation=geglu"]
    recipe = compose([*asked, "backend.approximate=true"])

    assert inexpressible(recipe) == ()
    assert [problem.key for problem in approximated(recipe)] == ["model.activation"]
    assert approximated(compose(asked)) == ()


@pytest.mark.parametrize(("name", "change", "key"), CANNOT)
def test_offered_repairs_mend_their_problem(name: str, change: str, key: str) -> None:
    """A repair that the plan offers takes its own problem away."""
    asked = [f"recipe={name}", change]
    recipe = compose(asked)
    for problem in problems_of(recipe, peak_memory(recipe)):
        for repair in problem.repairs:
            left = inexpressible(compose([*asked, *repair.overrides]))

            assert problem not in left


REFERENCE = (
    *(("gpus=2",), ("precision=bf16",), ("precision=fp16",), ("optim.zero=1",), ("optim.zero=2",)),
    *(("optim.offload=true",), ("precision=bf16", "optim.master=false"), ("model.mtp=1",)),
    *(("model.norm=rmsnorm",), ("model.norm=layernorm1p",), ("model.embedding_norm=true",)),
    *(("model.positions=rope",), ("model.positions=alibi",), ("model.mla={}",)),
    ("model.mla={}", "parallel.sequence=true"),
    ("parallel={tp: 1, pp: 2}", "model.mtp=1", "model.positions=learned"),
    *(("parallel={tp: 1, pp: 2}",), ("parallel.sequence=true",), ("recompute.kind=selective",)),
    *(("recompute.kind=full",), ("recompute={kind: full, layers: 3}",)),
    ("recompute={kind: selective, modules: [core_attn, mlp]}",),
    ("recompute={kind: selective, modules: [moe_act]}",),
    ("parallel={tp: 1, pp: 2, layers_per_stage: [1, 3]}",),
    ("parallel={tp: 1, pp: 2, vpp: 2}", "batch.micro=1"),
    ("parallel={tp: 1, cp: 2}", "batch.micro=1"),
    ("parallel={tp: 1, cp: 2}", "batch.micro=1", "kernels.attention=unfused"),
    ("parallel={tp: 1, ep: 2}", "model={experts: 4, topk: 2, bias: false}", "batch.micro=1"),
    ("parallel.sequence=true", "kernels.tp_overlap=true"),
    *(("kernels.cuda_graphs=true",), ("kernels.attention=fused",)),
    ("kernels.dispatcher=deepep",),
    ("batch.ramp={start: 8, step: 8, samples: 80}",),
)
"""Changes of gpt-tiny that the reference trainer knows or refuses."""


@pytest.mark.parametrize(
    "asked",
    [
        *(("recipe=gpt-tiny", *changes) for changes in REFERENCE),
        *((f"recipe={name}", CORE) for name in search_path().recipes()),
    ],
    ids=" ".join,
)
def test_plan_and_trainer_refuse_the_same(asked: tuple[str, ...]) -> None:
    """The plan promises no more, and no less, than the reference trainer keeps."""
    recipe = compose(list(asked))
    refused = {problem.key for problem in unsupported(recipe)}

    assert {problem.key for problem in inexpressible(recipe)} == refused


def test_the_reference_trainer_takes_what_megatron_core_has() -> None:
    """Of the shipped recipes it refuses three, once no user buffers and no DeepEP are asked for."""
    asked = (CORE, "kernels.tp_overlap=false", "kernels.dispatcher=alltoall")
    found = {
        name: {problem.key for problem in inexpressible(compose([f"recipe={name}", *asked]))}
        for name in search_path().recipes()
    }

    assert {name: keys for name, keys in found.items() if keys} == {
        "bloom-176b": {"model.positions", "model.embedding_norm"},
        "glm-130b": {"model.norm"},
        "opt-175b": {"optim.master", "optim.zero"},
    }
