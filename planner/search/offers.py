"""What a search finds: layouts to offer, the limits they keep, and what they cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from llmtrain.config.change import as_overrides
from llmtrain.config.recipe import Recipe
from llmtrain.planner.memory import peak_memory
from llmtrain.planner.mending import is_expressible
from llmtrain.planner.outlook import Outlook, outlook_of
from llmtrain.planner.step import StepTime, recipe_step

Objective = Literal["step", "days", "gpu-hours", "money"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What an offered layout must keep."""

    memory: float = 1.0
    """Share of the GPU's memory that may be needed."""
    days: float | None = None
    """Wall clock with failures."""
    gpu_hours: float | None = None
    """With failures, spare nodes included."""
    money: float | None = None
    """What these GPU-hours cost."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """A layout that breaks no rule, that its program can run, and that fits."""

    recipe: Recipe
    """The recipe with it."""
    changes: Mapping[str, Any]
    """Keys that differ from the recipe asked for."""
    step: StepTime
    """Its step."""
    needed_bytes: int
    """Memory without which its worst rank fails."""
    outlook: Outlook | None
    """Its days and cost; None where the length is not given."""

    @property
    def overrides(self) -> tuple[str, ...]:
        """To paste."""
        return as_overrides(self.changes)

    @property
    def memory_share(self) -> float | None:
        """Of the GPU's memory; None where that is not known."""
        capacity = self.recipe.cluster.gpu.memory_bytes
        return None if capacity is None else self.needed_bytes / capacity

    def costs(self) -> tuple[float, float]:
        """Days and GPU-hours with failures; of one step where the length is not given."""
        if self.outlook is None:
            seconds = float(self.step.seconds)
            return seconds / 86_400.0, seconds * self.recipe.gpus / 3600.0
        return self.outlook.goodput.days, self.outlook.goodput.gpu_hours

    def measure(self, objective: Objective) -> float:
        """What the objective makes least."""
        days, hours = self.costs()
        price = self.outlook.goodput.price if self.outlook else None
        values = {"step": float(self.step.seconds), "days": days, "gpu-hours": hours}
        return values.get(objective, hours if price is None else price)


def offer_of(recipe: Recipe, changes: Mapping[str, Any], memory: float) -> Offer | None:
    """A candidate as an offer, by the plan's own rules; None where it breaks one."""
    step = recipe_step(recipe)
    if step is None or not is_expressible(recipe):
        return None
    needed = max(peak.needed for peak in peak_memory(recipe))
    capacity = recipe.cluster.gpu.memory_bytes
    if capacity is not None and needed > capacity * memory:
        return None
    return Offer(
        recipe=recipe, changes=changes, step=step, needed_bytes=needed, outlook=outlook_of(recipe)
    )


def allows(limits: Limits, offer: Offer) -> bool:
    """Whether an offer keeps the limits of days and cost."""
    return not broken(limits, offer)


def broken(limits: Limits, offer: Offer) -> tuple[str, ...]:
    """Names of the limits that an offer does not keep; unknown days or cost keep none."""
    good = offer.outlook.goodput if offer.outlook else None
    has = {
        "days": good.days if good else None,
        "gpu_hours": good.gpu_hours if good else None,
        "money": good.price if good else None,
    }
    return tuple(name for name, value in has.items() if _over(getattr(limits, name), value))


def _over(limit: float | None, value: float | None) -> bool:
    return limit is not None and (value is None or value > limit)
