"""How the model is cut over the GPUs. The data parallel size is derived, never given."""

from dataclasses import dataclass
from typing import Literal

from llmtrain.config.checks import at_least, require
from llmtrain.config.errors import Problem, Repair

Order = Literal["tp-cp-ep-dp-pp", "tp-cp-ep-pp-dp"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Parallel:
    """Degrees of parallelism and the order in which they number the ranks."""

    tp: int = 1
    """Tensor parallel."""
    pp: int = 1
    """Pipeline parallel: stages."""
    vpp: int = 1
    """Virtual pipeline parallel: chunks of a stage."""
    cp: int = 1
    """Context parallel."""
    ep: int = 1
    """Expert parallel."""
    etp: int | None = None
    """Expert tensor parallel; null: as ``tp``."""
    sequence: bool = False
    """Sequence parallel over the tensor parallel ranks (Megatron's)."""
    order: Order = "tp-cp-ep-dp-pp"
    """Rank order, fastest axis first. Megatron's default; the other is its
    ``--use-tp-pp-dp-mapping``."""
    layers_per_stage: tuple[int, ...] | None = None
    """Layers of each stage (pp numbers), or of each chunk in pipeline order (pp x vpp numbers);
    null: evenly."""
    account_for_embedding: bool = False
    """The embedding counts as a layer of the first stage."""
    account_for_loss: bool = False
    """The output layer and loss count as a layer of the last stage."""

    def __post_init__(self) -> None:
        degrees = ("tp", "pp", "vpp", "cp", "ep", "etp")
        require(
            *(at_least(name, getattr(self, name), 1) for name in degrees),
            *(at_least("layers_per_stage", count, 0) for count in self.layers_per_stage or ()),
        )
        require(self._split_problem())

    def _split_problem(self) -> Problem | None:
        if self.layers_per_stage is None:
            return None
        key, given = "layers_per_stage", len(self.layers_per_stage)
        without = Repair(overrides=("parallel.layers_per_stage=null",))
        if given not in (self.pp, self.pp * self.vpp):
            chunks = f" or {self.pp * self.vpp} (one a chunk)" if self.vpp > 1 else ""
            says = f"has {given} numbers; it needs {self.pp} (one a stage){chunks}"
            return Problem(code="wrong_length", key=key, says=says, repairs=(without,))
        if self.account_for_embedding or self.account_for_loss:
            says = "says it all: leave out `account_for_embedding` and `account_for_loss`"
            others = ("parallel.account_for_embedding=false", "parallel.account_for_loss=false")
            repairs = (Repair(overrides=others), without)
            return Problem(code="conflict", key=key, says=says, repairs=repairs)
        return None

    @property
    def expert_tp(self) -> int:
        """Expert tensor parallel, with the default filled in."""
        return self.etp if self.etp is not None else self.tp

    @property
    def model_size(self) -> int:
        """GPUs of one replica: tp x pp x cp."""
        return self.tp * self.pp * self.cp
