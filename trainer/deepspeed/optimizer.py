"""The optimizer inside DeepSpeed's, and the norm that decides whether it may update."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from deepspeed.moe.utils import is_moe_param
from megatron.core import parallel_state

from llmtrain.config.training import Optim
from llmtrain.trainer.deepspeed.experts import group_name


def adam(params: Iterable[tuple[str, torch.nn.Parameter]], optim: Optim) -> torch.optim.AdamW:
    """torch's, which needs no compiler; no decay of biases and norms, as megatron-core's.

    Experts are apart in every layout, as a universal checkpoint wants it; those that other ranks
    have not are marked as DeepSpeed marks its own.
    """
    groups: dict[tuple[bool, bool], dict[str, Any]] = {}
    for name, param in params:
        kind = decays(name, param), ".experts." in name
        group = groups.setdefault(kind, {"params": []})
        group["params"].append(param)
        group |= {} if kind[0] else {"weight_decay": 0}
        group |= {"moe": True, "name": group_name()} if is_moe_param(param) else {}
    return torch.optim.AdamW(
        list(groups.values()),
        lr=optim.lr,
        betas=(optim.beta1, optim.beta2),
        eps=optim.eps,
        weight_decay=optim.weight_decay,
        fused=True,
    )


def decays(name: str, param: torch.nn.Parameter) -> bool:
    """Whether weight decay applies; by megatron-core's rule (``optimizer/__init__.py``)."""
    # ZeRO-3 has cut the parameter, and kept its shape.
    return not name.endswith(".bias") and len(getattr(param, "ds_shape", param.shape)) > 1


class Norms:
    """The norm of all gradients, and the right to say that it is no number.

    From stage 1 on DeepSpeed's optimizer leaves the weights alone where the norm is no number;
    stages 1 and 2 with bf16 only if asked. At stage 0 the norm is computed here: DeepSpeed's own
    counts some weights of a pipeline twice, others not at all.
    """

    def __init__(self, engine: Any, clip: float) -> None:
        """Over what ``deepspeed.initialize`` has made; ``clip`` is the largest norm, 0 for none."""
        self._engine, self._clip, self._vetoed = engine, clip, False
        optimizer = engine.optimizer
        self._alone = isinstance(optimizer, torch.optim.AdamW)
        self._own = math.nan
        if self._alone:
            engine.clip_fp32_gradients = lambda: None
            self._step = optimizer.step
            return
        optimizer.check_grad_overflow = True
        name = next(name for name in VETOED if hasattr(optimizer, name))
        setattr(optimizer, name, self._answer(getattr(optimizer, name), VETOED[name]))

    def _answer(self, ask: Callable[..., Any], veto: Callable[[], Any]) -> Callable[..., Any]:
        def answer(*args: Any, **named: Any) -> Any:
            found = ask(*args, **named)
            return veto() if self._vetoed else found

        return answer

    def measure(self) -> None:
        """At stage 0: compute the norm and clip; hold the update if it is no number."""
        if not self._alone:
            return
        params = [param for param in self._engine.module.parameters() if param.grad is not None]
        self._own = norm_of(params)
        held = self._vetoed or not math.isfinite(self._own)
        self._engine.optimizer.step = _nothing if held else self._step
        if self._clip and self._own > self._clip:
            for param in params:
                param.grad *= self._clip / self._own

    def last(self) -> float:
        """Of the last step."""
        found = self._own if self._alone else self._engine.optimizer._global_grad_norm
        return float(found) if math.isfinite(float(found)) else math.nan

    @contextmanager
    def vetoed(self) -> Iterator[None]:
        """Within, no norm is a number."""
        self._vetoed = True
        yield
        self._vetoed = False


def _nothing() -> None:
    """In the place of an update that must not be."""


def norm_of(params: Iterable[torch.nn.Parameter]) -> float:
    """Norm of the gradients of the whole model, of which each rank has ``params``.

    What several tensor parallel ranks or stages hold is counted once; of experts each rank's own.
    """
    first = parallel_state.get_tensor_model_parallel_rank() == 0
    pairs = [(param, param.grad) for param in params if param.grad is not None]
    own, shared = torch.zeros(2, 1, dtype=torch.float64, device=pairs[0][1].device)
    for param, gradient in pairs:
        copied = getattr(param, "ds_pipe_replicated", False)
        if not copied and (first or getattr(param, "tensor_model_parallel", False)):
            total = own if is_moe_param(param) else shared
            total += gradient.double().square().sum()
    dist.all_reduce(shared, group=parallel_state.get_model_parallel_group())
    dist.all_reduce(own, group=parallel_state.get_expert_tensor_model_pipeline_parallel_group())
    return float((own + shared).sqrt())


VETOED: dict[str, Callable[[], Any]] = {
    "scaled_global_norm": lambda: torch.tensor(math.nan),
    "_get_norm_groups": lambda: [torch.tensor(math.nan)],
    "get_grads_for_norm": lambda: ([torch.tensor([math.nan])], {}),
}
"""By which method stages 1 and 2, stage 3 and a pipeline in bf16 find it, and no number there."""
