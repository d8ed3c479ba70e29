"""Checkpoints: complete or not there.

``checkpoints/step-NNNNNNNN`` is written as ``step-NNNNNNNN.LIFE.partial``. Every rank
writes its own file; when all have, rank 0 adds the index and, last, SHA256SUMS, and renames the
folder. So a folder with the short name whose files are those of its SHA256SUMS is complete. What
the files hold is the engine's. The state of the random numbers is not stored: it follows from seed,
step and rank.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch.distributed as dist

from llmtrain.config.errors import RunError
from llmtrain.trainer import checkpoint_folder
from llmtrain.trainer.agreement import failure_of_leader, from_leader
from llmtrain.trainer.checkpoint_folder import complete
from llmtrain.trainer.checksums import read_sums, write_sums
from llmtrain.trainer.engine import Engine
from llmtrain.trainer.life import Life
from llmtrain.trainer.parts import Part
from llmtrain.trainer.pending import Pending, Saved

NO_MORE = "a run that has lost its checkpoints does not begin again: start another one"
"""What to do without a checkpoint."""


@dataclass(kw_only=True, slots=True)
class Checkpoints:
    """The checkpoints of one run. Every method that ranks agree in must be called by all."""

    folder: Path
    """``checkpoints/`` of the run, or where the site keeps them."""
    keep: int
    """Newest that are kept."""
    background: bool
    """Training goes on while they are written; it waits for a copy of the state only."""
    engine: Engine
    """Has the state."""
    life: Life
    """Of the run; another one may have begun meanwhile."""
    more: dict[str, Any] = field(default_factory=dict)
    """What else belongs to the state, the same on every rank; changed in place."""
    pending: Pending | None = field(default=None, init=False)
    """Under way."""

    def begin(self, step: int) -> None:
        """Start to write the state after ``step`` steps; none may be under way. All ranks."""
        started = time.perf_counter()
        folder = checkpoint_folder.partial_of(self.folder, step, self.life.number)
        error = failure_of_leader(lambda: self._make(folder))
        part = None if error else self._start(step, folder)
        self.pending = Pending(
            step=step,
            partial=folder,
            part=part,
            error=error,
            started=started,
            blocked_seconds=time.perf_counter() - started,
        )

    def _make(self, partial: Path) -> None:
        self.life.require()
        checkpoint_folder.begin(partial)

    def _start(self, step: int, folder: Path) -> Part:
        part = self.engine.part(folder, {"step": step, "more": dict(self.more)})
        if self.background:
            part.start()
        else:
            part.write()
        return part

    @property
    def writing(self) -> bool:
        """Whether this rank still writes."""
        return bool(self.pending and self.pending.part and self.pending.part.busy)

    def finish(self) -> Saved:
        """Wait for what is under way, and make it complete if all went well. All ranks."""
        pending, started = self.pending, time.perf_counter()
        if pending is None:
            raise RuntimeError("no checkpoint is under way")
        error = pending.error or self._complete(pending)
        self.pending = None
        now = time.perf_counter()
        return Saved(
            step=pending.step,
            name=checkpoint_folder.complete_of(pending.partial).name,
            error=error,
            seconds=now - pending.started,
            blocked_seconds=pending.blocked_seconds + now - started,
        )

    def _complete(self, pending: Pending) -> str | None:
        part, folder = pending.part, pending.partial
        if part is None:
            return pending.error
        part.wait()
        parts: list[Any] = [None] * dist.get_world_size()
        mine = (part.error, part.tell(), part.sums)
        dist.gather_object(mine, parts if dist.get_rank() == 0 else None)
        error = from_leader(lambda: next((error for error, _, _ in parts if error), None))
        error = error or failure_of_leader(lambda: self._seal(folder, part, parts))
        if error:
            failure_of_leader(lambda: shutil.rmtree(folder, ignore_errors=True))
        return error

    def _seal(self, partial: Path, part: Part, parts: list[Any]) -> None:
        part.complete([told for _, told, _ in parts])
        sums = {name: value for _, _, sums in parts for name, value in sums.items()}
        write_sums(partial, sums | part.sums)
        self.life.require()
        checkpoint_folder.seal(partial)
        checkpoint_folder.prune(self.folder, self.keep)

    def load(self, warn: Callable[[str, str], None], below: int | None = None) -> int:
        """Restore the newest complete checkpoint; how many steps it has behind it, 0 for none.

        All ranks. Only those of less than ``below`` steps count. ``warn`` is called with the name
        of each newer one that is not what was written, and with what is wrong; it is set aside.

        Raises:
            RunError: if there are checkpoints, or were some, and none of them is what was written,
                or it is of another optimizer.
        """
        names = from_leader(lambda: [path.name for path in complete(self.folder, below)])
        for path in [self.folder / name for name in reversed(names)]:
            wrong = self._verify(path)
            if wrong is None:
                return self._restore(path)
            warn(path.name, wrong)
            failure_of_leader(partial(checkpoint_folder.set_aside, path))
        if names:
            raise RunError(f"no checkpoint in {self.folder} is what was written", hint=NO_MORE)
        lost = from_leader(lambda: checkpoint_folder.gone(self.folder, self.life.folder))
        if lost and below is None:
            raise RunError(lost, hint=NO_MORE)
        return 0

    def _verify(self, path: Path) -> str | None:
        """What is wrong with a checkpoint; each rank reads its share of the files."""
        sums = from_leader(lambda: read_sums(path))
        wrong = from_leader(lambda: checkpoint_folder.unlisted(path, sums))
        if wrong:
            return wrong
        share = sorted(sums.items())[dist.get_rank() :: dist.get_world_size()]
        found: list[str | None] = [None] * dist.get_world_size()
        dist.all_gather_object(found, checkpoint_folder.first_damage(path, share))
        return next((wrong for wrong in found if wrong), None)

    def _restore(self, path: Path) -> int:
        facts = self.engine.restore(path)
        self.more.update(facts["more"])
        return int(facts["step"])
