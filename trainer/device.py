"""What computes and with which kernels: every choice between CUDA and CPU is made here."""

import importlib.util
from dataclasses import dataclass
from typing import Any

import torch

from llmtrain.config.errors import LaunchError
from llmtrain.config.recipe import Recipe
from llmtrain.trainer.rank import Rank


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """The device of one rank."""

    torch: torch.device
    """As torch names it."""
    backend: str
    """What ``init_process_group`` is told."""
    transformer_engine: bool
    """Layers are Transformer Engine's, not megatron-core's local ones."""

    @property
    def cuda(self) -> bool:
        """Whether it is a GPU."""
        return self.torch.type == "cuda"

    def config(self, recipe: Recipe) -> dict[str, Any]:
        """The kernel choices of megatron-core's TransformerConfig."""
        from megatron.core.transformer.enums import AttnBackend

        attention = recipe.kernels.attention if self.transformer_engine else "auto"
        return {
            "attention_backend": AttnBackend[attention],
            "bias_activation_fusion": False,
            "bias_dropout_fusion": self.cuda,
            # The fused kernel of the local layers is Apex's.
            "masked_softmax_fusion": self.transformer_engine,
            "persist_layer_norm": self.transformer_engine,
            "apply_rope_fusion": self.transformer_engine,
            "gradient_accumulation_fusion": False,
            # Over gloo a sent tensor is still read after the call: freeing it corrupts the loss.
            "deallocate_pipeline_outputs": self.cuda,
        } | (self._experts(recipe) if recipe.model.experts else {})

    def _experts(self, recipe: Recipe) -> dict[str, Any]:
        """How tokens come to their experts, and how these compute."""
        return {
            # Over gloo the exchange of megatron-core's alltoall fails.
            "moe_token_dispatcher_type": "alltoall" if self.cuda else "allgather",
            # Transformer Engine's grouped product is for 16-bit numbers.
            "moe_grouped_gemm": self.transformer_engine and recipe.precision.weight_bytes == 2,
        }


def choose(recipe: Recipe, rank: Rank) -> Device:
    """The device the recipe's cluster names, made ready for megatron-core to be imported.

    Raises:
        LaunchError: if the recipe wants a GPU and this machine has none.
    """
    if recipe.cluster.device == "cpu":
        from llmtrain.trainer import without_cuda

        without_cuda.install()
        return Device(torch=torch.device("cpu"), backend="gloo", transformer_engine=False)
    if not torch.cuda.is_available():
        raise LaunchError(
            f"cluster {recipe.cluster.name} has GPUs, and {rank.node} has none that torch can use",
            hint="cluster=local-cpu trains on this machine",
        )
    device = torch.device("cuda", rank.local)
    torch.cuda.set_device(device)
    # gloo beside nccl: checkpoints exchange what lies in host memory.
    engine = importlib.util.find_spec("transformer_engine") is not None
    if recipe.precision.kind == "fp8" and not engine:
        raise LaunchError(
            f"`precision=fp8` needs Transformer Engine, which {rank.node} has not installed",
            hint="`precision=bf16` trains without it",
        )
    return Device(torch=device, backend="cpu:gloo,cuda:nccl", transformer_engine=engine)
