"""The steps that are traced."""

from pathlib import Path

import torch

from llmtrain.config.watch import Profile
from llmtrain.trainer.rank import Rank


class Window:
    """Begins and ends the trace of one rank."""

    def __init__(self, rules: Profile, folder: Path, rank: Rank) -> None:
        """``folder`` is the run's."""
        self._rules = rules
        self._traced = rules.tool != "none" and (rules.tool == "nsys" or rank.number in rules.ranks)
        last = rules.start + rules.steps - 1
        name = f"trace-rank-{rank.number}-steps-{rules.start}-{last}.json.gz"
        self._file = folder / "logs" / rank.node / name
        self._torch: torch.profiler.profile | None = None
        self._open = False

    def opens(self, step: int) -> bool:
        """Whether the trace begins with ``step``."""
        return self._traced and step == self._rules.start

    def before(self, step: int) -> None:
        """Begin the trace if ``step`` is the first."""
        if not self.opens(step):
            return
        self._open = True
        if self._rules.tool == "nsys":
            # `nsys profile --capture-range=cudaProfilerApi` waits for this.
            torch.cuda.profiler.start()
            return
        self._torch = torch.profiler.profile(record_shapes=True)
        self._torch.start()

    def after(self, step: int) -> Path | None:
        """End the trace if ``step`` is the last; the file that holds it."""
        last = self._rules.start + self._rules.steps - 1
        return self.close() if self._open and step >= last else None

    def close(self) -> Path | None:
        """End the trace, however many steps it has; the file that holds it."""
        if not self._open:
            return None
        self._open = False
        if self._torch is None:
            torch.cuda.profiler.stop()
            return None
        self._torch.stop()
        self._torch.export_chrome_trace(str(self._file))
        self._torch = None
        return self._file
