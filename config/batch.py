"""How many sequences a step takes."""

from dataclasses import dataclass

from llmtrain.config.checks import at_least, require
from llmtrain.config.errors import Problem


@dataclass(frozen=True, kw_only=True, slots=True)
class Ramp:
    """Batch ramp-up as in Megatron's ``--rampup-batch-size``."""

    start: int
    """Global batch of the first step, in sequences."""
    step: int
    """Sequences added at each rise."""
    samples: int
    """Sequences over which the batch rises to ``batch.global``."""

    def __post_init__(self) -> None:
        require(
            at_least("start", self.start, 1),
            at_least("step", self.step, 1),
            at_least("samples", self.samples, 1),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Micro-batch and global batch, in sequences."""

    micro: int = 1
    """Sequences in one forward pass of one replica."""
    global_: int
    """Sequences of one optimizer step over all replicas (key ``batch.global``)."""
    ramp: Ramp | None = None
    """Batch ramp-up; null: the full batch from the first step."""

    def __post_init__(self) -> None:
        require(at_least("micro", self.micro, 1), at_least("global", self.global_, 1))
        require(*self._ramp_problems())

    def _ramp_problems(self) -> list[Problem]:
        if self.ramp is None:
            return []
        if self.ramp.start > self.global_:
            says = f"= {self.ramp.start} is more than `batch.global` = {self.global_}"
            return [Problem(code="out_of_range", key="ramp.start", says=says)]
        if (self.global_ - self.ramp.start) % self.ramp.step:
            rise = self.global_ - self.ramp.start
            says = f"= {self.ramp.step} does not divide the rise {rise}"
            return [Problem(code="not_divisible", key="ramp.step", says=says)]
        return []

    def sizes(self) -> tuple[int, ...]:
        """Every global batch the run passes through, smallest first."""
        if self.ramp is None:
            return (self.global_,)
        return tuple(range(self.ramp.start, self.global_ + 1, self.ramp.step))
