"""What an activation formula reads: the model, a layout, the numbers, and which program runs."""

from dataclasses import dataclass

from llmtrain.config.attention import is_unfused
from llmtrain.config.model import Model
from llmtrain.config.recipe import Recipe
from llmtrain.planner.candidate import Candidate, candidate_of
from llmtrain.planner.numeric import Quantity, choose
from llmtrain.planner.programs import Program, program_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Recomputed:
    """What is dropped after the forward pass and computed again. Flags are 0 or 1."""

    modules: frozenset[str] = frozenset()
    """Modules that selective recompute drops."""
    full: Quantity = 0
    """Flag: whole layers."""
    block: Quantity = 0
    """Flag: the first ``layers`` of a chunk, in place of all in groups of ``layers``."""
    layers: Quantity = 1
    """See ``block``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One layout of a model, or with NumPy arrays in ``layout`` and ``recomputed`` many."""

    model: Model
    """What is trained."""
    layout: Candidate
    """How it is cut."""
    recomputed: Recomputed
    """What is recomputed."""
    width: int
    """Bytes of an activation."""
    input_width: int
    """Bytes of what a matrix product keeps of its input (FP8: 1)."""
    flash: bool
    """No matrix of scores is kept."""
    program: Program
    """Who runs it."""

    @property
    def tokens(self) -> Quantity:
        """Tokens of a micro-batch on one rank, gathered over tensor parallel."""
        return self.layout.micro * self.model.seq / self.layout.cp

    @property
    def local(self) -> Quantity:
        """Tokens between the tensor parallel regions: cut under sequence parallel."""
        return self.tokens / choose(self.layout.sequence, self.layout.tp, 1)

    @property
    def hidden(self) -> Quantity:
        """Bytes of the residual stream of one micro-batch."""
        return self.local * self.model.hidden * self.width

    def drops(self, module: str) -> bool:
        """Whether selective recompute drops ``module``."""
        return module in self.recomputed.modules


def recomputed_of(recipe: Recipe) -> Recomputed:
    """What a recipe recomputes."""
    wanted = recipe.recompute
    selective = wanted.kind == "selective"
    return Recomputed(
        modules=frozenset(wanted.modules) if selective else frozenset(),
        full=int(wanted.kind == "full"),
        block=int(wanted.method == "block"),
        layers=wanted.layers,
    )


def setting_of(recipe: Recipe, program: Program | None = None) -> Setting:
    """The setting of one recipe; ``program`` stands in for the one its backend implies."""
    width = recipe.precision.weight_bytes
    return Setting(
        model=recipe.model,
        layout=candidate_of(recipe),
        recomputed=recomputed_of(recipe),
        width=width,
        input_width=1 if recipe.precision.kind == "fp8" else width,
        flash=not is_unfused(recipe),
        program=program or program_of(recipe),
    )
