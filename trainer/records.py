"""What a run writes down: metrics.jsonl, events.jsonl and TensorBoard's event files."""

import json
import math
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from llmtrain.trainer.validation import ValidationRow


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One step in metrics.jsonl."""

    step: int
    """From 1."""
    loss: float
    """Mean nats per token over the global batch."""
    grad_norm: float
    """Before clipping."""
    learning_rate: float
    """What the step used."""
    step_seconds: float
    """Wall clock."""
    tokens_per_second: float
    """Of all ranks together."""
    memory_bytes: int
    """Of the rank that writes: most bytes of tensors on a GPU, resident set on a CPU."""


def event(folder: Path, kind: str, step: int | None, **more: Any) -> None:
    """Append one line to events.jsonl; any rank may, one write a line."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = {"time": now, "event": kind, "step": step, **more}
    with (folder / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


class Metrics:
    """Writes rows to metrics.jsonl and to TensorBoard."""

    def __init__(self, folder: Path) -> None:
        """Append to the files of the run in ``folder``."""
        # tensorboard takes a while to import, and only this rank needs it.
        from torch.utils.tensorboard import SummaryWriter

        self._file: TextIO = (folder / "metrics.jsonl").open("a", buffering=1, encoding="utf-8")
        self._board = SummaryWriter(folder / "logs" / "tensorboard")

    def write(self, row: "Row | ValidationRow") -> None:
        """Add one row; what is not a finite number becomes null, as JSON has no other word."""
        values = asdict(row)
        finite = {key: value if math.isfinite(value) else None for key, value in values.items()}
        self._file.write(json.dumps(finite) + "\n")
        for key, value in values.items():
            if key != "step":
                self._board.add_scalar(key, value, row.step)

    def close(self) -> None:
        """Write what is still held back."""
        self._file.close()
        self._board.close()
