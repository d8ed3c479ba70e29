"""Numbers and kernels: precision, recompute, and which kernels compute a layer."""

from dataclasses import dataclass, field
from typing import Literal

from llmtrain.config.checks import at_least, known, require
from llmtrain.config.errors import Problem, Repair

Kind = Literal["fp32", "fp16", "bf16", "fp8"]

RECOMPUTE_MODULES = (
    "core_attn",
    "layernorm",
    "mla_up_proj",
    "mlp",
    "moe",
    "moe_act",
    "shared_experts",
)
"""Modules that can be recomputed alone (megatron-core ``TransformerConfig.recompute_modules``)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fp8:
    """What ``precision: fp8`` means in detail (Transformer Engine)."""

    recipe: Literal["delayed", "tensorwise", "blockwise", "mxfp8"] = "delayed"
    """How the scaling factors are found."""
    format: Literal["hybrid", "e4m3"] = "hybrid"
    """hybrid: e4m3 forward, e5m2 backward."""
    param_gather: bool = False
    """The distributed optimizer gathers weights in FP8."""
    bf16_ends: bool = False
    """The first and the last layer stay in bf16."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Precision:
    """The numbers of weights and matrix products."""

    kind: Kind = "bf16"
    """fp8: products in FP8, everything else as bf16."""
    fp8: Fp8 = field(default_factory=Fp8)
    """Only read where ``kind`` is fp8."""
    loss_scale: float | None = None
    """A constant loss scale for fp16; null: dynamic."""
    initial_loss_scale: float = 2.0**32
    """Where the dynamic loss scale begins (Megatron's default)."""
    loss_scale_window: int = 1000
    """Steps without overflow before the dynamic scale doubles."""

    def __post_init__(self) -> None:
        require(
            at_least("loss_scale", self.loss_scale, 1),
            at_least("initial_loss_scale", self.initial_loss_scale, 1),
            at_least("loss_scale_window", self.loss_scale_window, 1),
        )

    @property
    def weight_bytes(self) -> int:
        """Bytes of one weight as the forward pass holds it."""
        return 4 if self.kind == "fp32" else 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Recompute:
    """Which activations are dropped and computed again (arXiv 2205.05198)."""

    kind: Literal["none", "selective", "full"] = "none"
    """selective: the named modules; full: whole layers."""
    modules: tuple[str, ...] = ("core_attn",)
    """What selective recompute drops."""
    method: Literal["uniform", "block"] = "uniform"
    """uniform: all layers in groups of ``layers``; block: the first ``layers`` of a chunk."""
    layers: int = 1
    """See ``method``."""

    def __post_init__(self) -> None:
        require(
            at_least("layers", self.layers, 1),
            known("modules", self.modules, RECOMPUTE_MODULES),
            self._empty(),
        )

    def _empty(self) -> Problem | None:
        if self.kind != "selective" or self.modules:
            return None
        repairs = ("recompute.modules=[core_attn]", "recompute.kind=none", "recompute.kind=full")
        return Problem(
            code="missing",
            key="modules",
            says="is empty",
            repairs=tuple(Repair(overrides=(each,)) for each in repairs),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Kernels:
    """Which kernels compute a layer."""

    attention: Literal["auto", "unfused", "flash", "fused"] = "auto"
    """auto: the backend's own choice, which is unfused in Megatron-DeepSpeed and in fp32 on a GPU;
    fused: cuDNN's."""
    tp_overlap: bool = False
    """Tensor parallel communication overlaps the matrix products (user buffers)."""
    cuda_graphs: bool = False
    """Layers are captured as CUDA graphs."""
    dispatcher: Literal["alltoall", "deepep"] = "alltoall"
    """How tokens get to their experts. deepep: once a node, then over NVLink."""
