"""What the trainer cannot do yet, said before anything starts. Imports no torch."""

from collections.abc import Iterator

from llmtrain.config.errors import LaunchError, Problem
from llmtrain.config.layout import chunk_layers, data_parallel, microbatches, total_steps
from llmtrain.config.recipe import Recipe


def unsupported(recipe: Recipe) -> tuple[Problem, ...]:
    """Every reason why the reference trainer cannot run ``recipe``; empty if it can."""
    checks = (_backend, _model, _layout, _precision, _optimizer, _memory, _kernels, _length)
    return tuple(problem for check in checks for problem in check(recipe))


def refuse(recipe: Recipe, world: int) -> None:
    """Raise for what the trainer cannot do, and for a number of processes that is not the recipe's.

    Raises:
        LaunchError: with one problem for each reason.
    """
    problems = list(unsupported(recipe))
    if world != recipe.gpus:
        problems.append(_no("gpus", f"= {recipe.gpus}, but {world} processes were started"))
    if problems:
        raise LaunchError(problems)


def _no(key: str, says: str, hint: str = "") -> Problem:
    return Problem(code="unsupported", key=key, says=says, hint=hint)


def _yet(key: str, what: str) -> Problem:
    return _no(key, f"asks for {what}, which the reference trainer does not have")


def _backend(recipe: Recipe) -> Iterator[Problem]:
    if recipe.backend.name != "megatron-core":
        yield _no("backend.name", f"= {recipe.backend.name} is not the reference trainer's")


def _model(recipe: Recipe) -> Iterator[Problem]:
    model = recipe.model
    if model.experts is not None:
        yield _yet("model.experts", "a mixture of experts")
    if model.mla is not None:
        yield _yet("model.mla", "multi-head latent attention")
    if model.mtp:
        yield _yet("model.mtp", "multi-token prediction")
    if model.norm in ("deepnorm", "layernorm1p"):
        yield _yet("model.norm", model.norm)
    if model.positions == "alibi":
        yield _yet("model.positions", "ALiBi")
    if model.embedding_norm:
        yield _yet("model.embedding_norm", "a norm behind the embedding")


def _layout(recipe: Recipe) -> Iterator[Problem]:
    parallel, model = recipe.parallel, recipe.model
    for name, what in (("cp", "context parallel"), ("ep", "expert parallel")):
        if getattr(parallel, name) > 1:
            yield _yet(f"parallel.{name}", what)
    if parallel.sequence and model.seq % parallel.tp:
        yield _no("model.seq", f"= {model.seq} is not a multiple of tp = {parallel.tp}")
    if chunk_layers(recipe) is None:
        chunks = parallel.pp * parallel.vpp
        yield _no("model.layers", f"= {model.layers} do not divide over {chunks} chunks")
    for name, count in (("heads", model.heads), ("kv_heads", model.kv_head_count)):
        if count % parallel.tp:
            yield _no(f"model.{name}", f"= {count} is not a multiple of tp = {parallel.tp}")
    if model.ffn_size % parallel.tp:
        yield _no("model.ffn", f"= {model.ffn_size} is not a multiple of tp = {parallel.tp}")
    yield from _batch(recipe)


def _batch(recipe: Recipe) -> Iterator[Problem]:
    if recipe.batch.ramp is not None:
        yield _yet("batch.ramp", "a batch ramp")
    dp = data_parallel(recipe)
    if dp * recipe.parallel.model_size != recipe.gpus:
        says = f"= {recipe.gpus} is not a multiple of tp x pp = {recipe.parallel.model_size}"
        yield _no("gpus", says)
    elif recipe.batch.global_ % (recipe.batch.micro * dp):
        says = f"= {recipe.batch.global_} is not a multiple of micro x dp"
        yield _no("batch.global", f"{says} = {recipe.batch.micro} x {dp}")
    elif recipe.parallel.vpp > 1 and microbatches(recipe) % recipe.parallel.pp:
        says = f"gives {microbatches(recipe)} micro-batches, not a multiple of pp"
        yield _no("batch.global", f"{says} = {recipe.parallel.pp}, as `parallel.vpp` needs")


def _precision(recipe: Recipe) -> Iterator[Problem]:
    if recipe.precision.kind in ("fp16", "fp8"):
        yield _yet("precision", recipe.precision.kind)


def _optimizer(recipe: Recipe) -> Iterator[Problem]:
    optim = recipe.optim
    if optim.zero > 1:
        yield _yet("optim.zero", f"ZeRO stage {optim.zero}")
    if optim.offload:
        yield _yet("optim.offload", "optimizer states in host memory")
    if not optim.master and recipe.precision.kind != "fp32":
        yield _yet("optim.master", "16-bit weights without an fp32 copy")


def _memory(recipe: Recipe) -> Iterator[Problem]:
    missing = set(recipe.recompute.modules) - {"core_attn"}
    if recipe.recompute.kind == "selective" and missing:
        yield _yet("recompute.modules", f"recompute of {', '.join(sorted(missing))}")


def _kernels(recipe: Recipe) -> Iterator[Problem]:
    kernels = recipe.kernels
    if kernels.tp_overlap:
        yield _yet("kernels.tp_overlap", "overlapped tensor parallel communication")
    if kernels.cuda_graphs:
        yield _yet("kernels.cuda_graphs", "CUDA graphs")
    if kernels.attention == "fused" and recipe.cluster.device == "cpu":
        yield _no("kernels.attention", "= fused is cuDNN's, which needs a GPU")


def _length(recipe: Recipe) -> Iterator[Problem]:
    if total_steps(recipe) is None:
        yield _no("run.steps", "is needed where `tokens` is not given")
