"""A checkpoint under way, and how its writing ended."""

from dataclasses import dataclass
from pathlib import Path

from llmtrain.trainer.parts import Part


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """How the writing of a checkpoint ended; the same on every rank."""

    step: int
    """Steps that the state has behind it."""
    name: str
    """Of the checkpoint's folder."""
    error: str | None
    """Why it is not there; None: it is complete."""
    seconds: float
    """From the request until it was complete."""
    blocked_seconds: float
    """Of these, what training waited for."""


@dataclass(kw_only=True, slots=True)
class Pending:
    """A checkpoint under way."""

    step: int
    """Steps that the state has behind it."""
    partial: Path
    """Where it is written."""
    part: Part | None
    """What this rank writes; None where not even the folder could be made."""
    error: str | None
    """Why the folder could not be made."""
    started: float
    """When it was asked for, by the monotonic clock."""
    blocked_seconds: float
    """What training has waited for it."""
