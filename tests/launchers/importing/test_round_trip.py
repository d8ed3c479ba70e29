"""import(render(recipe)) = recipe: every shipped recipe on every Megatron that can express it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmtrain.config.build import plain
from llmtrain.config.compose import compose
from llmtrain.config.errors import LlmtrainError
from llmtrain.config.layout import chunk_layers, total_steps
from llmtrain.config.recipe import Recipe
from llmtrain.config.search import search_path
from llmtrain.launchers.backends import program
from llmtrain.launchers.backends.data_arguments import save_interval
from llmtrain.launchers.backends.length import run_steps
from llmtrain.launchers.importing.recipe import Imported, import_file
from llmtrain.launchers.launch import Launch
from llmtrain.planner.limits import VERSIONS, version_of
from llmtrain.planner.plan import make_plan

TARGETS = [(name, versions[0]) for name, versions in VERSIONS.items()]
OLDER = ("gpt3-530b", "mt-nlg-530b", "llama3-70b", "mixtral-8x7b", "deepseek-v3")
"""Recipes that are tried on every version: ramp, experts, latent attention, virtual stages."""
CHANGES = {
    "megatron-deepspeed": ("data=indexed", "data.paths=[/data/a,/data/b]", "data.weights=[0.5,2]"),
    "megatron-lm": (),
}
VARIANTS = [
    ("gpt3-126m", "schedule=wsd", "run.seed=7", "data.tokenizer=/t/model.json"),
    ("gpt3-126m", "schedule=wsd", "schedule.anneal=77", "schedule.decay=3000", "run.steps=4000"),
    ("llama2-7b", "data=indexed", "data.paths=[/a,/b]", "data.weights=[0.5,2.5]"),
    ("llama2-7b", "data=indexed", "data.paths=[/a]", "data.split=[0.9,0.05,0.05]"),
    (
        "llama2-7b",
        "data=indexed",
        "data.paths=[/a,/b]",
        "data.validation.paths=[/v,/w]",
        "data.validation.weights=[1,3]",
        "data.validation.interval=50",
    ),
    ("llama2-7b", "data=indexed", "data.paths=[/a]", "data.validation.interval=9"),
    ("llama2-7b", "gpus=256", "parallel.pp=2", "parallel.layers_per_stage=[15,17]"),
    ("llama2-7b", "precision=fp16", "precision.loss_scale=1024", "optim.grad_dtype=weights"),
    ("nemotron4-340b", "parallel.order=tp-cp-ep-pp-dp"),
    ("mixtral-8x7b", "kernels.dispatcher=deepep"),
    ("mixtral-8x7b", "recompute.kind=full", "recompute.method=block", "recompute.layers=3"),
    ("gpt3-175b", "recompute.kind=selective", "recompute.modules=[layernorm,mlp]"),
    ("gpt3-20b", "optim.zero=1", "optim.offload=true", "kernels.attention=flash"),
    ("llama2-70b", "kernels.cuda_graphs=true", "checkpoint.interval=123"),
    ("mlperf-gpt3-175b", "precision.fp8.bf16_ends=true", "precision.fp8.recipe=tensorwise"),
]


def carried(recipe: Recipe) -> dict[str, Any]:
    """What a command line carries of a recipe, with defaults filled in."""
    model, parallel, kind = recipe.model, recipe.parallel, recipe.precision.kind
    found: dict[str, Any] = {
        "gpus": recipe.gpus,
        "steps": total_steps(recipe),
        "chunks": chunk_layers(recipe),
        "backend": (recipe.backend.name, recipe.backend.path, recipe.backend.approximate),
        "batch": plain(recipe.batch),
        "optim": plain(recipe.optim),
        "seed": recipe.run.seed,
        "save": save_interval(recipe),
        "kind": kind,
        "warmup": recipe.schedule.warmup,
        "schedule": (recipe.schedule.kind, recipe.schedule.decay or total_steps(recipe)),
        "anneal": recipe.schedule.anneal_steps(run_steps(recipe))
        if recipe.schedule.kind == "wsd"
        else None,
        "data": plain(recipe.data),
        "recompute": (recipe.recompute.kind, _detail(recipe)),
        "graphs": (recipe.kernels.cuda_graphs, recipe.kernels.tp_overlap),
        "dispatcher": recipe.kernels.dispatcher,
        "flash": recipe.kernels.attention == "flash",
    }
    found |= {f"model.{key}": value for key, value in plain(model).items()}
    found |= {f"parallel.{key}": value for key, value in plain(parallel).items()}
    found["model.kv_heads"] = model.kv_head_count
    found["model.ffn"], found["model.moe_ffn"] = model.ffn_size, model.expert_ffn_size
    found["model.head_dim"] = None if model.mla else model.head_size
    found["parallel.etp"] = parallel.expert_tp
    if recipe.backend.name == "megatron-lm":
        found["attention"] = recipe.kernels.attention
    else:
        # DeepSpeed has nothing like it: a launch leaves it out and says so.
        del found["optim"]["overlap_param_gather"]
    if kind == "fp16":
        found["scale"] = plain(recipe.precision)
    if kind == "fp8":
        found["fp8"] = plain(recipe.precision.fp8)
    if model.positions != "rope":
        found |= {"model.rope_base": None, "model.rope_fraction": None}
    if recipe.data.tokenizer:
        found["model.vocab"] = None
    for name in ("layers_per_stage", "account_for_embedding", "account_for_loss"):
        del found[f"parallel.{name}"]
    del found["model.name"]
    return found


def _detail(recipe: Recipe) -> Any:
    wanted = recipe.recompute
    if wanted.kind == "selective":
        return wanted.modules
    return (wanted.method, wanted.layers) if wanted.kind == "full" else None


def imported(launch: Launch, folder: Path, recipe: Recipe) -> Imported:
    """The launch's own files, read as anybody's; machine and version are not in arguments."""
    for name, text in launch.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return import_file(
        folder / launch.script,
        (f"cluster={recipe.cluster.name}", f"backend.version={version_of(recipe)}"),
    )


def check(launch_of: Callable[..., Launch], folder: Path, *arguments: str) -> None:
    """Render, read back, compare keys, render again, compare words."""
    recipe = compose(arguments)
    found = imported(launch_of(recipe), folder, recipe)
    assert (found.left, found.problems) == ((), ()), [str(each) for each in found.left]

    file = folder / "back.yaml"
    file.write_text(found.text, encoding="utf-8")
    back = compose([f"recipe={file}"])
    assert carried(back) == carried(recipe)
    assert back.env == recipe.env

    first, second = program(make_plan(recipe)), program(make_plan(back))
    assert second.arguments == first.arguments
    assert second.files == first.files


def expressible() -> list[tuple[str, ...]]:
    """Arguments of every pair of recipe and version that renders."""
    found = []
    for name in search_path().recipes():
        older = VERSIONS["megatron-lm"][1:] if name in OLDER else ()
        for backend, version in [*TARGETS, *(("megatron-lm", each) for each in older)]:
            arguments = (
                f"recipe={name}",
                f"backend={backend}",
                f"backend.version={version}",
                "backend.path=/opt/program",
                *CHANGES[backend],
            )
            try:
                plan = make_plan(compose(arguments))
                if not plan.errors and program(plan):
                    found.append(arguments)
            except LlmtrainError:
                continue
    return found


@pytest.mark.parametrize("arguments", expressible(), ids=lambda words: "-".join(words[:3]))
def test_every_shipped_recipe_comes_back(
    launch_of: Callable[..., Launch], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """On every version of every Megatron that can express it."""
    check(launch_of, tmp_path, *arguments)


@pytest.mark.parametrize("changes", VARIANTS, ids=lambda words: " ".join(words))
def test_keys_that_no_shipped_recipe_sets(
    launch_of: Callable[..., Launch], tmp_path: Path, changes: tuple[str, ...]
) -> None:
    """Schedules, blends, uneven stages, modules, loss scales, kernels."""
    name, *others = changes
    check(launch_of, tmp_path, f"recipe={name}", "backend.path=/opt/program", *others)


def test_enough_pairs_are_tried() -> None:
    """Most shipped recipes run on some version of Megatron-LM."""
    recipes = {arguments[0] for arguments in expressible()}

    assert len(recipes) >= 18
    assert len(expressible()) >= 30
