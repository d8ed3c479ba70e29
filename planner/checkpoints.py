"""What checkpoints weigh: one, all that are kept, and those of a day.

Weights are written in their own numbers, the optimizer as two fp32 moments and, where there is one,
an fp32 copy of the weights; gradients are not. BLOOM's 2.3 TB (its blog,
huggingface.co/blog/bloom-megatron-deepspeed) are the test. Replicas write nothing twice.
"""

from dataclasses import dataclass

from llmtrain.config.recipe import Recipe
from llmtrain.planner.parameters import stage_parameters, total_parameters

DAY = 86_400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoints:
    """Space that checkpoints take."""

    bytes: int
    """One."""
    kept_bytes: int
    """Those that are kept, and the one being written beside them."""
    bytes_per_day: float | None
    """Written in a day; None where interval or step time is not known."""
    quota_bytes: int | None
    """What the site allows."""

    @property
    def exceeds_quota(self) -> bool:
        """Whether the kept ones do not fit."""
        return self.quota_bytes is not None and self.kept_bytes > self.quota_bytes


def checkpoint_bytes(recipe: Recipe) -> int:
    """Bytes of one checkpoint, all ranks together.

    DeepSpeed's engine writes what each rank holds, so a tied embedding twice where the ends of the
    pipeline are apart; Megatron's distributed format writes every tensor once.
    """
    each = recipe.precision.weight_bytes + state_bytes(recipe)
    return stored_parameters(recipe) * each


def stored_parameters(recipe: Recipe) -> int:
    """Parameters that a checkpoint holds."""
    if "deepspeed" in recipe.backend.name:
        return sum(stage_parameters(recipe, stage) for stage in range(recipe.parallel.pp))
    return total_parameters(recipe)


def state_bytes(recipe: Recipe) -> int:
    """Bytes of a parameter's optimizer states in a checkpoint."""
    mixed = recipe.precision.kind != "fp32"
    return 8 + (4 if mixed and recipe.optim.master else 0)


def checkpoints_of(
    recipe: Recipe, step_seconds: float | None, interval_steps: int | None
) -> Checkpoints:
    """The space that a run's checkpoints take, written every ``interval_steps``."""
    one = checkpoint_bytes(recipe)
    known = step_seconds and interval_steps
    return Checkpoints(
        bytes=one,
        kept_bytes=one * (recipe.checkpoint.keep + 1),
        bytes_per_day=one * DAY / (step_seconds * interval_steps) if known else None,  # type: ignore[operator]
        quota_bytes=recipe.site.checkpoint_quota_bytes,
    )
