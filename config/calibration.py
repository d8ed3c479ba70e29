"""What runs on a cluster have shown of the plan: ``llmtrain calibrate`` writes it."""

from dataclasses import dataclass

from llmtrain.config.checks import at_least, positive, require


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """A correction of the plan, for one cluster, program and kind of numbers, and no other."""

    use: bool = True
    """Corrections are applied; false: the plan is as the published runs make it."""
    cluster: str = ""
    """Where it was measured."""
    gpu: str = ""
    """On which GPU."""
    backend: str = ""
    """With which program."""
    stack: str = ""
    """The software stack that the plan takes for it."""
    precision: str = ""
    """In which numbers."""
    step_factor: float = 1.0
    """Measured over planned step time."""
    step_error: float | None = None
    """Relative error that is left; null: the stack's own."""
    memory_factor: float = 1.0
    """Measured over planned memory, of what is not weights, gradients and optimizer."""
    memory_error: float | None = None
    """Relative error of the whole memory that is left; null: the model's own."""
    runs: tuple[str, ...] = ()
    """Names of the runs."""

    def __post_init__(self) -> None:
        require(
            positive("step_factor", self.step_factor),
            positive("memory_factor", self.memory_factor),
            at_least("step_error", self.step_error, 0),
            at_least("memory_error", self.memory_error, 0),
        )
