"""megatron-core's gradient buffers and optimizer around a stage."""

from typing import Any

from megatron.core.distributed import (
    DistributedDataParallel,
    DistributedDataParallelConfig,
    finalize_model_grads,
)
from megatron.core.models.gpt import GPTModel
from megatron.core.optimizer import OptimizerConfig, get_megatron_optimizer
from megatron.core.optimizer.optimizer import MegatronOptimizer
from megatron.core.transformer.module import Float16Module
from megatron.core.transformer.transformer_config import TransformerConfig

from llmtrain.config.recipe import Recipe
from llmtrain.trainer import adam
from llmtrain.trainer.device import Device
from llmtrain.trainer.model import weight_dtype


def wrap(chunk: GPTModel, recipe: Recipe) -> DistributedDataParallel:
    """The chunk with its gradients in buffers that are reduced over the replicas."""
    optim = recipe.optim
    config = DistributedDataParallelConfig(
        grad_reduce_in_fp32=optim.grad_dtype == "fp32",
        overlap_grad_reduce=optim.overlap_grad_reduce,
        overlap_param_gather=optim.overlap_param_gather,
        use_distributed_optimizer=optim.zero == 1,
    )
    inner = chunk if recipe.precision.kind == "fp32" else Float16Module(chunk.config, chunk)
    return DistributedDataParallel(chunk.config, config, inner)


def optimizer_for(
    chunks: list[DistributedDataParallel], recipe: Recipe, device: Device
) -> MegatronOptimizer:
    """megatron-core's Adam over the wrapped chunks; no decay of biases and norms."""
    if not device.transformer_engine:
        adam.install()
    optimizer = get_megatron_optimizer(_config(recipe), chunks)
    _connect(chunks[0].config, chunks, optimizer, recipe)
    return optimizer


def _config(recipe: Recipe) -> OptimizerConfig:
    optim = recipe.optim
    return OptimizerConfig(
        optimizer="adam",
        lr=optim.lr,
        min_lr=optim.min_lr,
        weight_decay=optim.weight_decay,
        adam_beta1=optim.beta1,
        adam_beta2=optim.beta2,
        adam_eps=optim.eps,
        # 0 would leave the gradient norm unknown; no norm reaches infinity.
        clip_grad=optim.clip or float("inf"),
        bf16=recipe.precision.kind == "bf16",
        params_dtype=weight_dtype(recipe),
        use_distributed_optimizer=optim.zero == 1,
        overlap_param_gather=optim.overlap_param_gather,
    )


def _connect(
    config: TransformerConfig, chunks: list[Any], optimizer: MegatronOptimizer, recipe: Recipe
) -> None:
    """Tell the pipeline schedule what to call before, between and after the micro-batches."""
    config.finalize_model_grads_func = finalize_model_grads
    config.grad_scale_func = optimizer.scale_loss
    if recipe.optim.overlap_grad_reduce:
        config.no_sync_func = one_or_all([chunk.no_sync for chunk in chunks])
    if recipe.optim.overlap_param_gather:
        config.param_sync_func = one_or_all([chunk.start_param_sync for chunk in chunks])


def one_or_all(values: list[Any]) -> Any:
    """What megatron-core's schedules take: a list with virtual stages, else the value itself."""
    return values if len(values) > 1 else values[0]
