"""Where a rank's output goes: its own log; the terminal is kept for the progress line."""

import os
import sys
from pathlib import Path
from typing import TextIO

from llmtrain.trainer.rank import Rank


def log_path(folder: Path, rank: Rank) -> Path:
    """``logs/NODE/rank-N.log`` of the run in ``folder``."""
    return folder / "logs" / rank.node / f"rank-{rank.number}.log"


def keep_terminal(log: Path) -> TextIO:
    """Send stdout and stderr to ``log``, appending; return the stderr there was.

    The file descriptors are replaced, not only ``sys.stderr``: libraries in C++ and child processes
    write to them directly. To be called before torch is imported, whose import already warns.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    terminal = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="replace")
    sys.stdout.flush()
    sys.stderr.flush()
    opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(opened, 1)
    os.dup2(opened, 2)
    os.close(opened)
    return terminal
