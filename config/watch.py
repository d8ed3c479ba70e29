"""Who watches a run, and what is done when it goes wrong: guard, hang, straggler, log, profile."""

from dataclasses import dataclass
from typing import Literal

from llmtrain.config.checks import at_least, positive, require
from llmtrain.config.errors import Problem


@dataclass(frozen=True, kw_only=True, slots=True)
class Guard:
    """What is done about a step whose loss or gradient cannot be right.

    Such a step never changes the weights. ``stop``: save the state before it and end; ``skip``:
    pass over its batch; ``rollback``: go back to the weights of the newest checkpoint, or of the
    one before where the next step is no better, and pass over all batches since, that of the step
    included.
    """

    nan: Literal["stop", "skip", "rollback"] = "stop"
    """What is done where the loss or the gradient's norm is not a finite number."""
    spike: Literal["ignore", "stop", "skip", "rollback"] = "ignore"
    """What is done where the loss is more than ``guard.factor`` times the median before it."""
    factor: float = 2.0
    """A loss is a spike from this multiple of the median of ``guard.window`` losses."""
    window: int = 50
    """Steps of the median; before so many there is no spike."""
    limit: int = 3
    """Steps that are skipped or rolled back within ``guard.window`` steps; one more ends the
    run."""

    def __post_init__(self) -> None:
        require(
            at_least("window", self.window, 1),
            at_least("limit", self.limit, 1),
            self._factor_problem(),
        )

    def _factor_problem(self) -> Problem | None:
        if self.factor > 1:
            return None
        says = f"= {self.factor:g} would take every loss for a spike"
        return Problem(code="out_of_range", key="factor", says=says, hint="more than 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Hang:
    """When a rank that gets no further is taken for hung.

    Then all ranks write their stacks into their logs, the one that is missing is named, and they
    end: a restart goes on from the newest checkpoint.
    """

    factor: float | None = 10.0
    """A step that takes so many times the median of the steps before it; null: nobody watches."""
    least_seconds: float = 300.0
    """A step that takes less never is."""
    start_seconds: float = 1800.0
    """The same for what is no step: to meet and to load, the first step, a checkpoint, a
    validation."""

    def __post_init__(self) -> None:
        require(
            positive("factor", self.factor),
            positive("least_seconds", self.least_seconds),
            positive("start_seconds", self.start_seconds),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Straggler:
    """When a rank that computes longer than the others of its stage is named."""

    factor: float = 1.2
    """So many times the median of the others."""
    window: int = 50
    """Steps of which its own median counts."""

    def __post_init__(self) -> None:
        require(at_least("window", self.window, 1), self._factor_problem())

    def _factor_problem(self) -> Problem | None:
        if self.factor > 1:
            return None
        says = f"= {self.factor:g} would name ranks that are as fast as the others"
        return Problem(code="out_of_range", key="factor", says=says, hint="more than 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Log:
    """Where the metrics go, besides metrics.jsonl, which has every step."""

    interval: int = 1
    """Steps between two points in TensorBoard, W&B and MLflow."""
    tensorboard: bool = True
    """Event files in ``logs/tensorboard``."""
    wandb: str | None = None
    """Project in Weights & Biases; null: none. Its account, server and offline mode are those of
    the environment (``WANDB_MODE``, …)."""
    mlflow: str | None = None
    """Experiment in MLflow; null: none. Its server is the environment's
    (``MLFLOW_TRACKING_URI``)."""

    def __post_init__(self) -> None:
        require(at_least("interval", self.interval, 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """Steps that are traced."""

    tool: Literal["none", "torch", "nsys"] = "none"
    """torch: a trace a rank in ``logs/NODE`` for chrome://tracing or Perfetto; nsys: the ranks
    start under NVIDIA's ``nsys profile``, a report a node."""
    start: int = 10
    """The first step that is traced."""
    steps: int = 2
    """How many are."""
    ranks: tuple[int, ...] = (0,)
    """Which ranks are traced by torch."""

    def __post_init__(self) -> None:
        require(
            at_least("start", self.start, 1),
            at_least("steps", self.steps, 1),
            *(at_least("ranks", rank, 0) for rank in self.ranks),
        )
