"""The Recipe: what is trained, where, and with which program."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from re import sub

from llmtrain.config.batch import Batch
from llmtrain.config.calibration import Calibration
from llmtrain.config.checks import at_least, require, variable_names
from llmtrain.config.data import Data
from llmtrain.config.model import Model
from llmtrain.config.numerics import Kernels, Precision, Recompute
from llmtrain.config.parallel import Parallel
from llmtrain.config.place import Backend, Cluster, Nodes, Price
from llmtrain.config.site import Site
from llmtrain.config.training import Checkpoint, Optim, Run, Schedule
from llmtrain.config.watch import Guard, Hang, Log, Profile, Straggler


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A complete run. Every field is a recipe key; nested fields are dotted."""

    name: str
    """The recipe's name; the name of its file where the file gives none."""
    description: str = ""
    """One line for ``llmtrain recipes``."""
    source: str = ""
    """Where shape and layout were published."""
    gpus: int
    """GPUs that compute, spares not counted."""
    tokens: int | None = None
    """Tokens of the whole run; null: ``run.steps`` says how long it is."""
    model: Model
    cluster: Cluster
    backend: Backend
    parallel: Parallel = field(default_factory=Parallel)
    batch: Batch
    precision: Precision = field(default_factory=Precision)
    optim: Optim = field(default_factory=Optim)
    recompute: Recompute = field(default_factory=Recompute)
    kernels: Kernels = field(default_factory=Kernels)
    schedule: Schedule = field(default_factory=Schedule)
    data: Data = field(default_factory=Data)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    guard: Guard = field(default_factory=Guard)
    hang: Hang = field(default_factory=Hang)
    straggler: Straggler = field(default_factory=Straggler)
    log: Log = field(default_factory=Log)
    profile: Profile = field(default_factory=Profile)
    site: Site = field(default_factory=Site)
    run: Run = field(default_factory=Run)
    nodes: Nodes = field(default_factory=Nodes)
    price: Price = field(default_factory=Price)
    calibration: Calibration = field(default_factory=Calibration)
    env: Mapping[str, str] = field(default_factory=dict)
    """Environment of this recipe; it wins over cluster and site."""

    def __post_init__(self) -> None:
        require(
            at_least("gpus", self.gpus, 1),
            at_least("tokens", self.tokens, 1),
            *variable_names(self.env),
        )

    @property
    def run_name(self) -> str:
        """What the run's folder is called, before the time; a recipe's name may hold anything."""
        return self.run.name or sub(r"[^\w.-]+", "-", self.name).strip("-.")[:100] or "run"
