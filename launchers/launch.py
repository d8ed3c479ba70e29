"""The Launch: everything that will be submitted, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Variable:
    """One environment variable of the ranks."""

    name: str
    """As it is exported."""
    value: str
    """Its value; never a secret."""
    source: str
    """Who sets it: cluster, site, recipe, or a rule, and where that was read."""
    reason: str
    """What it is good for."""

    @property
    def where(self) -> str:
        """Who sets it: ``cluster NAME (level)``, ``site NAME (…)``, ``recipe NAME (…)``, rule."""
        return self._parts()[0]

    @property
    def read_in(self) -> str:
        """Where that was read; empty for what a site or a recipe decided."""
        return self._parts()[2]

    def _parts(self) -> tuple[str, str, str]:
        return self.source.partition(": " if self.source.startswith("rule: ") else "; ")


@dataclass(frozen=True, kw_only=True, slots=True)
class Mount:
    """A folder of the node as it is seen in the container."""

    host: str
    """Its path on the node; ``$LLMTRAIN_RUN`` is the run's folder."""
    inside: str
    """Its path in the container."""
    source: str
    """Who asks for it."""
    read_only: bool = False
    """It cannot be written to from inside."""

    def __str__(self) -> str:
        return f"{self.host}:{self.inside}{':ro' if self.read_only else ''}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """What is started somewhere in the job."""

    where: str
    """Where and how often: once, on each node, for each rank."""
    words: tuple[str, ...]
    """Unquoted; shell variables as ``$NAME``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """What every rank runs, as a backend says it. The working directory is the run's folder."""

    module: str | None = None
    """A Python module (``python -m``); null: ``script``."""
    script: str | None = None
    """A Python file."""
    arguments: tuple[str, ...] = ()
    """Arguments of the program, unquoted."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Files that the program reads, by name in the run's folder."""
    environment: tuple[Variable, ...] = ()
    """What this program needs, beside the fabric's environment."""
    missing: tuple[str, ...] = ()
    """Recipe keys that must be given before this can start, for example ``backend.path``."""
    warnings: tuple[str, ...] = ()
    """What the program cannot say exactly, and why."""

    @property
    def command(self) -> tuple[str, ...]:
        """The program and its arguments, as they follow the launcher's own."""
        target = ("-m", self.module) if self.module else (self.script or "",)
        return (*target, *self.arguments)


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """A plan made into files and a command. The same recipe gives the same bytes."""

    name: str
    """Begins the name of the run's folder."""
    nodes: int
    """Nodes that compute."""
    ranks_per_node: int
    """Processes on each."""
    program: Program
    """What every rank runs."""
    command: tuple[str, ...]
    """What starts the ranks of one node, unquoted; shell variables as ``$NAME``."""
    environment: tuple[Variable, ...]
    """Of every rank, sorted by name."""
    script: str
    """Name of the file that starts the job: ``job.sh`` or ``job.sbatch``."""
    files: Mapping[str, str]
    """Everything that is written into the run's folder, SHA256SUMS included, by name."""
    commands: tuple[Command, ...] = ()
    """Every command on the way to a rank, the outermost first."""
    later: tuple[Variable, ...] = ()
    """Variables whose value only the job finds out; the value says how."""
    missing: tuple[str, ...] = ()
    """Recipe keys that must be given before this can start."""
    mounts: tuple[Mount, ...] = ()
    """What a container sees of the node."""
    notes: tuple[str, ...] = ()
    """What was decided on the way, in words."""
    warnings: tuple[str, ...] = ()
    """What was left out, and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What a scheduler makes of a program."""

    name: str
    """``job.sh`` or ``job.sbatch``."""
    text: str
    """The script."""
    command: tuple[str, ...]
    """What it starts on one node, unquoted; shell variables as ``$NAME``."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Further files that it needs in the run's folder, by name."""
    commands: tuple[Command, ...] = ()
    """Every command on the way to a rank, the outermost first."""
    later: tuple[Variable, ...] = ()
    """Variables whose value only the job finds out; the value says how."""
    mounts: tuple[Mount, ...] = ()
    """What a container sees of the node."""
    notes: tuple[str, ...] = ()
    """What was decided on the way, in words."""
    warnings: tuple[str, ...] = ()
    """What a user should know before it is submitted."""
