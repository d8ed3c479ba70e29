"""megatron-core's gradient buffers and optimizer around a stage."""

from typing import Any

import torch
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
from llmtrain.trainer.megatron_config import weight_dtype


def wrap(chunk: GPTModel, recipe: Recipe) -> DistributedDataParallel:
    """The chunk with its gradients in buffers that are reduced over the replicas."""
    optim = recipe.optim
    config = DistributedDataParallelConfig(
        grad_reduce_in_fp32=optim.grad_dtype == "fp32",
        overlap_grad_reduce=optim.overlap_grad_reduce,
        overlap_param_gather=optim.overlap_param_gather,
        use_distributed_optimizer=optim.zero == 1,
        fp8_param_gather=recipe.precision.kind == "fp8" and recipe.precision.fp8.param_gather,
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
    optim, dtype = recipe.optim, weight_dtype(recipe)
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
        fp16=dtype is torch.float16,
        bf16=dtype is torch.bfloat16,
        params_dtype=dtype,
        loss_scale=recipe.precision.loss_scale,
        initial_loss_scale=recipe.precision.initial_loss_scale,
        loss_scale_window=recipe.precision.loss_scale_window,
        use_distributed_optimizer=optim.zero == 1,
        overlap_param_gather=optim.overlap_param_gather,
        fp8_recipe=recipe.precision.fp8.recipe if recipe.precision.kind == "fp8" else None,
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
