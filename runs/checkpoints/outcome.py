"""What is said of a checkpoint."""

from dataclasses import dataclass
from typing import Any, Literal

Outcome = Literal["as_is", "resharded", "convert", "no", "none"]
"""as_is, resharded: it is loaded; convert: by another command first; none: there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What will happen to one checkpoint."""

    outcome: Outcome
    """In a word."""
    says: str
    """In a sentence."""
    commands: tuple[str, ...] = ()
    """What converts it, in order, each a line for a shell."""
    then: str = ""
    """What the recipe has to say so that it is loaded, as an override."""

    @property
    def loads(self) -> bool:
        """Whether the program can be started."""
        return self.outcome in ("as_is", "resharded", "none")

    def as_json(self) -> dict[str, Any]:
        """The same for ``--json``."""
        return {"outcome": self.outcome, "says": self.says, "commands": list(self.commands)}


def no(says: str) -> Verdict:
    """It is not loaded, and why."""
    return Verdict(outcome="no", says=f"will not load: {says}")
