"""Numbers, recompute and kernels as arguments of Megatron-LM."""

from llmtrain.config.recipe import Recipe
from llmtrain.launchers.backends.arguments import Arguments
from llmtrain.launchers.backends.flag_table import FlagTable
from llmtrain.launchers.backends.training_arguments import loss_scale


def numbers(recipe: Recipe) -> Arguments:
    """Numbers of weights and gradients. fp8 computes in FP8 what bf16 else would."""
    kind, in_fp32 = recipe.precision.kind, recipe.optim.grad_dtype == "fp32"
    bf16 = kind in ("bf16", "fp8")
    return {
        "--bf16": bf16,
        "--fp16": kind == "fp16",
        **loss_scale(recipe),
        "--accumulate-allreduce-grads-in-fp32": in_fp32 and kind != "fp32",
        "--grad-reduce-in-bf16": bf16 and not in_fp32,
    }


def fp8(recipe: Recipe) -> Arguments:
    """What FP8 means in detail.

    Megatron's own history of delayed scaling has one entry; 1024 entries and their maximum are
    Transformer Engine's default (``DelayedScaling``) and what MLPerf's GPT-3 ran with.
    """
    if recipe.precision.kind != "fp8":
        return {}
    detail = recipe.precision.fp8
    delayed = detail.recipe == "delayed"
    return {
        "--fp8-format": detail.format,
        "--fp8-recipe": detail.recipe,
        "--fp8-amax-history-len": 1024 if delayed else None,
        "--fp8-amax-compute-algo": "max" if delayed else None,
        "--fp8-param-gather": detail.param_gather,
        "--first-last-layers-bf16": detail.bf16_ends,
    }


def distributed_optimizer(recipe: Recipe) -> Arguments:
    """Where optimizer states live, and what overlaps."""
    optim = recipe.optim
    return {
        "--use-distributed-optimizer": optim.zero == 1,
        "--overlap-grad-reduce": optim.overlap_grad_reduce,
        "--overlap-param-gather": optim.overlap_param_gather,
        "--optimizer-cpu-offload": optim.offload,
        # ``validate_args``: the offloading optimizer takes this flag's path through the code.
        "--use-precision-aware-optimizer": optim.offload,
    }


def recompute(recipe: Recipe, table: FlagTable) -> Arguments:
    """Which activations are computed again; v0.12.0rc3 knows core attention alone, unnamed."""
    wanted = recipe.recompute
    if wanted.kind == "none":
        return {}
    if wanted.kind == "full":
        return {
            "--recompute-granularity": "full",
            "--recompute-method": wanted.method,
            "--recompute-num-layers": wanted.layers,
        }
    unnamed = wanted.modules == ("core_attn",) and "--recompute-modules" not in table
    return {
        "--recompute-granularity": "selective",
        "--recompute-modules": None if unnamed else wanted.modules,
    }


def kernels(recipe: Recipe, table: FlagTable) -> Arguments:
    """Which kernels compute a layer."""
    wanted = recipe.kernels
    return {
        "--transformer-impl": "transformer_engine",
        "--attention-backend": wanted.attention,
        "--tp-comm-overlap": wanted.tp_overlap,
        **(_cuda_graphs(table) if wanted.cuda_graphs else {}),
    }


def _cuda_graphs(table: FlagTable) -> Arguments:
    """Transformer Engine's graphs of whole layers; older versions have Megatron's own alone."""
    by_engine = "--cuda-graph-impl" in table
    return {
        "--cuda-graph-impl": "transformer_engine" if by_engine else None,
        "--enable-cuda-graph": not by_engine,
        "--te-rng-tracker": True,
    }
