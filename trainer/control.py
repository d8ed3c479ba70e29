"""Requests to save or stop, by signal to any rank or by a file."""

import signal
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""Each asks for a checkpoint and a stop; Slurm sends SIGUSR1 before the wall clock ends."""


@dataclass(kw_only=True, slots=True)
class Requests:
    """What was asked of this rank since the last step."""

    folder: Path
    """The run's folder; files named ``save`` or ``stop`` in its ``control/`` are requests."""
    leads: bool
    """Only one rank looks at the files."""
    signalled: str = field(default="", init=False)
    """The signal that asked to stop; another one changes nothing."""

    def listen(self) -> None:
        """Take the signals from now on."""
        for number in SIGNALS:
            signal.signal(number, self._take)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.signalled = self.signalled or signal.Signals(number).name

    def save(self) -> bool:
        """Whether a checkpoint is asked for."""
        return self.leads and self._file("save").exists()

    def stop(self) -> bool:
        """Whether a stop is asked for."""
        return bool(self.signalled) or (self.leads and self._file("stop").exists())

    def done(self, *, save: bool, stop: bool) -> None:
        """Take away the files whose request has been met; one that came since then stays."""
        if self.leads and save:
            self._file("save").unlink(missing_ok=True)
        if self.leads and stop:
            self._file("stop").unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self.folder / "control" / name
