"""The experiment around the model: optimizer, learning-rate schedule, checkpoints, run."""

from dataclasses import dataclass
from re import fullmatch
from typing import Literal

from llmtrain.config.checks import at_least, fraction, positive, require
from llmtrain.config.errors import Problem, Repair


@dataclass(frozen=True, kw_only=True, slots=True)
class Optim:
    """The optimizer and where its states live."""

    name: Literal["adam"] = "adam"
    """Adam with decoupled weight decay."""
    zero: int = 0
    """ZeRO stage, 0-3; 1 is Megatron's distributed optimizer."""
    lr: float = 1e-4
    """Peak learning rate."""
    min_lr: float = 0.0
    """Learning rate at the end of the decay."""
    beta1: float = 0.9
    """Decay of the first moment."""
    beta2: float = 0.95
    """Decay of the second moment."""
    eps: float = 1e-8
    """Added to the root of the second moment."""
    weight_decay: float = 0.1
    """Decoupled weight decay; biases and norms are left alone."""
    clip: float = 1.0
    """Largest global norm of the gradients; 0: no clipping."""
    grad_dtype: Literal["fp32", "weights"] = "fp32"
    """In what gradients are summed: fp32, or the numbers of the weights."""
    master: bool = True
    """An fp32 copy of 16-bit weights is kept."""
    overlap_grad_reduce: bool = False
    """The data parallel reduction overlaps the backward pass."""
    overlap_param_gather: bool = False
    """The distributed optimizer's gathering overlaps the forward pass."""
    offload: bool = False
    """Optimizer states live off the GPU."""
    offload_to: Literal["cpu", "nvme"] = "cpu"
    """Where: in host memory, or on the node's disk (``site.nvme``) by DeepSpeed alone."""
    secondary_partition: int = 1
    """ZeRO++: ranks of a node that hold all weights together a second time; 1: none do."""
    quantized_weights: bool = False
    """ZeRO++: weights are gathered in 8 bits."""
    quantized_gradients: bool = False
    """ZeRO++: gradients are reduced in 4 bits inside a node and 8 between nodes."""

    def __post_init__(self) -> None:
        require(
            self._zero_problem(),
            positive("lr", self.lr),
            at_least("min_lr", self.min_lr, 0),
            fraction("beta1", self.beta1),
            fraction("beta2", self.beta2),
            positive("eps", self.eps),
            at_least("weight_decay", self.weight_decay, 0),
            at_least("clip", self.clip, 0),
            self._lr_problem(),
            self._gather_problem(),
            at_least("secondary_partition", self.secondary_partition, 1),
            self._plus_problem(),
        )

    def _zero_problem(self) -> Problem | None:
        if 0 <= self.zero <= 3:
            return None
        return Problem(
            code="out_of_range", key="zero", says=f"must be 0, 1, 2 or 3, not {self.zero}"
        )

    def _lr_problem(self) -> Problem | None:
        if self.min_lr <= self.lr:
            return None
        says = f"= {self.min_lr:g} is more than `optim.lr` = {self.lr:g}"
        return Problem(code="out_of_range", key="min_lr", says=says)

    @property
    def plus(self) -> str | None:
        """The first key of ZeRO++ that is asked for; None where none is."""
        asked = {
            "secondary_partition": self.secondary_partition > 1,
            "quantized_weights": self.quantized_weights,
            "quantized_gradients": self.quantized_gradients,
        }
        return next((key for key, is_asked in asked.items() if is_asked), None)

    def _plus_problem(self) -> Problem | None:
        if not self.plus or self.zero == 3:
            return None
        off = "1" if self.plus == "secondary_partition" else "false"
        mends = ("optim.zero=3", f"optim.{self.plus}={off}")
        return Problem(
            code="conflict",
            key=self.plus,
            says="is ZeRO++: it needs `optim.zero=3`",
            repairs=tuple(Repair(overrides=(each,)) for each in mends),
        )

    def _gather_problem(self) -> Problem | None:
        if self.zero or not self.overlap_param_gather:
            return None
        return Problem(
            code="conflict",
            key="overlap_param_gather",
            says="needs the distributed optimizer: `optim.zero=1`",
            repairs=(
                Repair(overrides=("optim.overlap_param_gather=false",)),
                Repair(overrides=("optim.zero=1",)),
            ),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """The learning rate over the steps: warm-up, then constant, linear, cosine or WSD."""

    kind: Literal["constant", "linear", "cosine", "wsd"] = "cosine"
    """wsd: warm-up, stable, decay."""
    warmup: int = 0
    """Steps from 0 to the peak."""
    decay: int | None = None
    """Steps at which the decay ends, warm-up included; null: the whole run."""
    anneal: int | None = None
    """Steps of the last decay of wsd; null: a tenth of the run."""

    def __post_init__(self) -> None:
        require(
            at_least("warmup", self.warmup, 0),
            at_least("decay", self.decay, 1),
            at_least("anneal", self.anneal, 1),
        )

    def anneal_steps(self, steps: int) -> int:
        """Steps of WSD's last decay in a run of ``steps``: a tenth where nothing is said."""
        return self.anneal or max(1, steps // 10)


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """When the state is saved and how much of it is kept."""

    interval: int | None = None
    """Steps between two checkpoints; null: as many as lose least by the plan, and where no plan can
    tell, only at the end of the run. On request and at the end there is one in any case."""
    keep: int = 2
    """Newest checkpoints that are kept."""
    async_: bool = True
    """Training goes on while a checkpoint is written; it waits for a copy of the state in host
    memory only."""
    universal: bool = False
    """DeepSpeed goes on from a universal checkpoint, which any layout reads."""

    def __post_init__(self) -> None:
        require(at_least("interval", self.interval, 1), at_least("keep", self.keep, 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """This run of the recipe."""

    name: str | None = None
    """Begins the name of the run's folder; null: the recipe's name."""
    steps: int | None = None
    """Optimizer steps in all; wins over ``tokens``."""
    seed: int = 1234
    """Of weights, data order and dropout."""

    def __post_init__(self) -> None:
        require(at_least("steps", self.steps, 1), at_least("seed", self.seed, 0), self._name())

    def _name(self) -> Problem | None:
        if self.name is None or fullmatch(r"\w[\w.-]{,99}", self.name):
            return None
        return Problem(
            code="invalid_name",
            key="name",
            says=f"= {self.name!r} names a folder",
            hint="letters, digits, `.`, `_` and `-` are allowed, 100 at most; no `.` or `-` first",
        )
