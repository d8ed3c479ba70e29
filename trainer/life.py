"""Which life of its run this process belongs to, and whether a newer one has begun.

Whoever starts the ranks counts: ``control/life`` begins with the number of the newest life, and the
ranks find theirs in LLMTRAIN_LIFE. Ranks on a node that was given up may live on while the run goes
on elsewhere: they write nothing any more, and end.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llmtrain.config.errors import RunError


class Superseded(RunError):
    """A newer life of the run has begun."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Life:
    """One start of a run's ranks."""

    folder: Path
    """The run's folder."""
    number: int | None
    """From 1; None: nobody counts."""

    @classmethod
    def read(cls, folder: Path, environ: Mapping[str, str] = os.environ) -> "Life":
        """The life that LLMTRAIN_LIFE names."""
        text = environ.get("LLMTRAIN_LIFE", "")
        return cls(folder=folder, number=int(text) if text.isdigit() else None)

    def newer(self) -> int | None:
        """Number of the newest life, if it is not this one."""
        if self.number is None:
            return None
        try:
            words = (self.folder / "control" / "life").read_text(encoding="utf-8").split()
            newest = int(words[0])
        except (OSError, ValueError, IndexError):
            return None
        return newest if newest > self.number else None

    def require(self) -> None:
        """Refuse to go on in a run that has gone on without this process.

        Raises:
            Superseded: if a newer life has begun.
        """
        newer = self.newer()
        if newer is not None:
            raise Superseded(f"life {newer} of this run has begun; this is life {self.number}")
