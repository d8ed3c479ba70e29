"""How a machine is read: files below a root, and commands, each with a time-out."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

SECONDS = 20.0
"""How long a command may take: the driver of a broken GPU hangs."""


def run_command(words: Sequence[str]) -> str | None:
    """What a command prints; None if it is not there, fails, or does not end."""
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


class Machine(NamedTuple):
    """A node, or a recording of one."""

    root: Path = Path("/")
    """Of ``/sys`` and ``/proc``."""
    run: Callable[[Sequence[str]], str | None] = run_command
    """Runs a command."""

    def text(self, path: str) -> str | None:
        """A file below the root, stripped; None if it cannot be read."""
        try:
            return (self.root / path).read_text(errors="replace").strip()
        except OSError:
            return None

    def number(self, path: str) -> int | None:
        """A file that holds a whole number."""
        text = self.text(path)
        return int(text) if text is not None and re.fullmatch(r"-?\d+", text) else None

    def uptime(self) -> float | None:
        """Seconds since the kernel was started."""
        text = (self.text("proc/uptime") or "").split(" ")[0]
        return float(text) if text else None

    def names(self, path: str) -> list[str]:
        """What lies in a folder below the root."""
        try:
            return sorted(each.name for each in (self.root / path).iterdir())
        except OSError:
            return []

    def target(self, path: str) -> str | None:
        """The name of the file that a link below the root leads to."""
        place = str(self.root / path)
        return os.path.basename(os.path.realpath(place)) if os.path.exists(place) else None
