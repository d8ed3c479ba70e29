"""What megatron-core needs on a machine without CUDA; installed only there.

megatron-core 0.16 names ``cuda`` where it means "the device" and calls ``torch.cuda`` for the
current device, streams and random states. These stand-ins answer with the CPU. They must be
installed before ``megatron.core`` is imported.
"""

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


def install() -> None:
    """Put every stand-in in its place, for the life of the process; a second call does nothing."""
    stream: Any = torch.cuda.Stream
    if stream is _Stream:
        return
    for module, name, stand_in in _stand_ins():
        setattr(module, name, stand_in)
    # Entered and never left.
    contextlib.ExitStack().enter_context(CudaMeansCpu())
    from megatron.core.tensor_parallel import random
    from megatron.core.transformer import multi_latent_attention
    from megatron.core.transformer.moe import moe_utils

    for module, name, stand_in in _absent_engine(random, moe_utils, multi_latent_attention):
        setattr(module, name, stand_in)
    # The tracker behind dropout reads and sets the generator of the current device through these.
    for name, stand_in in (
        ("_get_cuda_rng_state", _get_rng_state),
        ("_set_cuda_rng_state", _set_rng_state),
    ):
        setattr(random, name, stand_in)
    # It warns when the CPU's generator moves while the device's is in use: here they are one.
    logging.getLogger(random.__name__).setLevel(logging.ERROR)


def _stand_ins() -> tuple[tuple[Any, str, Any], ...]:
    cuda = torch.cuda
    return (
        # `device=torch.cuda.current_device()` allocates embeddings, linear layers and buffers.
        (cuda, "current_device", lambda: torch.device("cpu")),
        # Pipeline send and receive, the timers and checkpoints wait for the device.
        (cuda, "synchronize", _nothing),
        # Checkpoints release cached memory.
        (cuda, "empty_cache", _nothing),
        # The gradient buffers order their reductions on streams.
        (cuda, "current_stream", _Stream),
        (cuda, "default_stream", _Stream),
        (cuda, "Stream", _Stream),
        (cuda, "stream", lambda stream: contextlib.nullcontext()),
        # The recompute and dropout code saves and seeds the device's generator.
        (cuda, "get_rng_state", _get_rng_state),
        (cuda, "set_rng_state", _set_rng_state),
        (cuda, "manual_seed", lambda seed: torch.manual_seed(seed) and None),
        # Activations and losses are compiled when first called, which on a CPU needs a C++
        # compiler. Left as they are, they also import faster.
        (torch, "compile", _not_compiled),
    )


def _absent_engine(random: Any, moe_utils: Any, latent: Any) -> tuple[tuple[Any, str, Any], ...]:
    """Names that megatron-core imports from Transformer Engine, and reads where there is none."""
    from llmtrain.trainer.whole_linear import WholeLinear

    return (
        # The projections to the compressed tensors, of which every rank has the whole.
        (latent, "TELinear", WholeLinear),
        # The router's product is then torch's.
        (moe_utils, "te_general_gemm", None),
        # Norms whose output is dropped and computed again, which asks whether FP8 is on.
        (random, "FP8GlobalStateManager", _NoFp8),
        (random, "activation_recompute_forward", lambda **named: contextlib.nullcontext()),
        (random, "fp8_autocast", lambda **named: contextlib.nullcontext()),
    )


class _NoFp8:
    """Answers for Transformer Engine's state."""

    @staticmethod
    def is_fp8_enabled() -> bool:
        """Never."""
        return False


class CudaMeansCpu(TorchFunctionMode):
    """Reads ``cuda`` as ``cpu`` in every call of a torch function."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call ``func`` with its device changed."""
        kwargs = kwargs or {}
        # schedules.py, clip_grads.py, optimizer.py: torch.zeros(…, device="cuda").
        if "device" in kwargs:
            kwargs = {**kwargs, "device": _cpu_for_cuda(kwargs["device"])}
        # rope_utils.py: the places of a context parallel rank.
        if kwargs.get("pin_memory"):
            kwargs = {**kwargs, "pin_memory": False}
        # language_module.py: `weight.data.cuda()` for tied embeddings over pipeline stages.
        if func is torch.Tensor.cuda:
            return args[0]
        # distrib_optimizer.py compares `param.type()` with "torch.cuda.FloatTensor".
        if func is torch.Tensor.type and len(args) == 1 and not kwargs:
            return func(*args).replace("torch.", "torch.cuda.", 1)
        return func(*args, **kwargs)


def _cpu_for_cuda(device: Any) -> Any:
    named = isinstance(device, (str, torch.device)) and str(device).startswith("cuda")
    return torch.device("cpu") if named else device


def _not_compiled(function: Any = None, **options: Any) -> Any:
    return _not_compiled if function is None else function


def _nothing(*args: Any, **kwargs: Any) -> None:
    """There is nothing to wait for: the CPU has done what was asked when the call returns."""


def _get_rng_state(*args: Any, **kwargs: Any) -> torch.Tensor:
    return torch.get_rng_state()


def _set_rng_state(new_state: torch.Tensor, *args: Any, **kwargs: Any) -> None:
    torch.set_rng_state(new_state)


class _Stream:
    """A stream on which everything is already done."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Accept what a CUDA stream is made with."""

    def wait_stream(self, stream: Any) -> None:
        """Return at once."""

    def wait_event(self, event: Any) -> None:
        """Return at once."""

    def synchronize(self) -> None:
        """Return at once."""
