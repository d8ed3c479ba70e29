"""AdamW for machines without Transformer Engine, kept as Transformer Engine keeps it.

torch's AdamW stores a step count with every parameter. megatron-core's distributed optimizer saves
and loads one count for each group, as the FusedAdam of Transformer Engine and Apex has it; with
torch's optimizer its checkpoint does not resume exactly (distrib_optimizer.py, ``state_dict``).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim.adamw import adamw


class GroupStepAdamW(torch.optim.Optimizer):
    """Adam with decoupled weight decay (arXiv 1711.05101) and one step count a group."""

    def __init__(
        self,
        params: Any,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        adam_w_mode: bool = True,
    ) -> None:
        """The arguments are FusedAdam's; ``adam_w_mode`` must be true."""
        if not adam_w_mode:
            raise ValueError("only decoupled weight decay is implemented")
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; there is no closure."""
        for group in self.param_groups:
            group["step"] = group.get("step", 0) + 1
            params = [param for param in group["params"] if param.grad is not None]
            if params:
                self._update(group, params)

    def _update(self, group: dict[str, Any], params: list[torch.Tensor]) -> None:
        for param in params:
            if not self.state[param]:
                self.state[param]["exp_avg"] = torch.zeros_like(param)
                self.state[param]["exp_avg_sq"] = torch.zeros_like(param)
        beta1, beta2 = group["betas"]
        # The kernel adds one to each count itself.
        count = group["step"] - 1
        adamw(
            params,
            [param.grad for param in params if param.grad is not None],
            [self.state[param]["exp_avg"] for param in params],
            [self.state[param]["exp_avg_sq"] for param in params],
            [],
            [torch.tensor(float(count)) for _ in params],
            fused=True,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def install() -> None:
    """Let megatron-core build this optimizer, and treat its state as FusedAdam's."""
    import megatron.core.optimizer as builder
    from megatron.core.optimizer import distrib_optimizer

    stand_ins: tuple[tuple[Any, str, Any], ...] = (
        (builder, "Adam", GroupStepAdamW),
        (builder, "USING_PYTORCH_OPTIMIZER", False),
        # The distributed optimizer accepts this class alone.
        (distrib_optimizer, "Adam", GroupStepAdamW),
        # With these two the step count is read from and written to the group.
        (distrib_optimizer, "HAVE_APEX_OR_TE", True),
        (distrib_optimizer, "USING_TE_OPTIMIZER", True),
    )
    for module, name, value in stand_ins:
        setattr(module, name, value)
