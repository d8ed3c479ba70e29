"""Steps whose loss or gradient cannot be right: found before they change the weights."""

import math
from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

import torch
from megatron.core.optimizer.optimizer import ChainedOptimizer, MegatronOptimizer

from llmtrain.config.watch import Guard

Cause = Literal["nan", "spike"]

Action = Literal["stop", "skip", "rollback"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What is done about a step; the same on every rank."""

    cause: Cause
    """What is wrong with it."""
    action: Action
    """What the rules say."""
    says: str
    """A sentence for the record."""


class Watch:
    """Judges every step by the recipe's rules. All ranks see the same losses and judge alike."""

    def __init__(self, rules: Guard) -> None:
        """Nothing was seen yet."""
        self._rules = rules
        self._losses: deque[float] = deque(maxlen=rules.window)
        self._passed: list[int] = []

    def loss(self, step: int, loss: float) -> Verdict | None:
        """Judge the loss of ``step``; None: the weights may be changed by it."""
        if not math.isfinite(loss):
            return self._verdict(step, "nan", f"the loss of step {step} is {loss}")
        usual = self._usual()
        if usual is not None and loss > self._rules.factor * usual:
            says = f"the loss of step {step} is {loss:.4f}, the median before it {usual:.4f}"
            return self._verdict(step, "spike", says)
        self._losses.append(loss)
        return None

    def gradient(self, step: int, norm: float) -> Verdict | None:
        """Judge the norm of all gradients of ``step``."""
        if math.isfinite(norm):
            return None
        return self._verdict(step, "nan", f"the gradient's norm of step {step} is {norm}")

    def _usual(self) -> float | None:
        """What a loss is compared with; None where it is not, or not yet."""
        known = len(self._losses) == self._rules.window
        return median(self._losses) if known and self._rules.spike != "ignore" else None

    def _verdict(self, step: int, cause: Cause, says: str) -> Verdict:
        rule = self._rules.nan if cause == "nan" else self._rules.spike
        action: Action = "stop" if rule == "ignore" else rule
        since = step - self._rules.window
        self._passed = [passed for passed in self._passed if passed > since]
        if action != "stop" and len(self._passed) >= self._rules.limit:
            action = "stop"
            says += f"; {len(self._passed)} steps since {since} were passed over before"
        self._passed.append(step)
        return Verdict(cause=cause, action=action, says=says)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"losses": list(self._losses), "passed": list(self._passed)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state`."""
        self._losses.clear()
        self._losses.extend(state["losses"])
        self._passed = list(state["passed"])


class GuardedOptimizer(ChainedOptimizer):
    """Leaves weights and moments as they are where the gradient's norm is no finite number."""

    def __init__(self, inner: MegatronOptimizer) -> None:
        """Over megatron-core's optimizer."""
        whole = isinstance(inner, ChainedOptimizer)
        super().__init__(inner.chained_optimizers if whole else [inner])
        self.norm = 0.0
        """Norm of all gradients in the last step, before clipping; 0 where it was not computed."""

    def prepare_grads(self) -> bool:
        """What comes first in a step; whether the loss scale has found an overflow."""
        self.norm = 0.0
        return bool(super().prepare_grads())

    @torch.no_grad()
    def get_grad_norm(self) -> Any:
        """The norm, which is asked for before the update."""
        norm = super().get_grad_norm()
        self.norm = float(norm)
        return norm

    @torch.no_grad()
    def step_with_ready_grads(self) -> bool:
        """Update if the norm is a number; whether it was."""
        return math.isfinite(self.norm) and bool(super().step_with_ready_grads())
