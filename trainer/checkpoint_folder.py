"""The folder of a run's checkpoints: which are complete, and what is tidied away. One rank acts."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from llmtrain.trainer.checksums import SUMS, damage

PARTIAL = ".partial"
"""Ends the name of a checkpoint that is being written, or removed."""

DAMAGED = ".damaged"
"""Ends the name of a checkpoint whose files are not those that were written."""


def complete(folder: Path, below: int | None = None) -> list[Path]:
    """Complete checkpoints, oldest first; that their files are whole is not looked at.

    Only those of less than ``below`` steps.
    """
    if not folder.is_dir():
        return []
    found = sorted(path for path in folder.iterdir() if re.fullmatch(r"step-\d{8}", path.name))
    return [path for path in found if below is None or int(path.name[-8:]) < below]


def gone(folder: Path, run: Path) -> str | None:
    """Why there must be a checkpoint where none is complete; None: there never was one."""
    if folder.is_symlink() and not folder.is_dir():
        return f"{folder} is a link to {os.readlink(folder)}, which is not there"
    aside = sorted(folder.glob(f"step-*{DAMAGED}"))
    if aside:
        return f"{aside[-1]} is damaged, and no other checkpoint is there"
    written = list(_written(run))
    return f"{folder / written[-1]} was written and is gone" if written else None


def _written(run: Path) -> Iterator[str]:
    """Names of the checkpoints that the run's events tell of."""
    with suppress(OSError):
        for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines():
            with suppress(ValueError, LookupError, TypeError):
                event = json.loads(line)
                if event["event"] == "checkpoint":
                    yield event["name"]


def partial_of(folder: Path, step: int, life: int | None) -> Path:
    """Where a checkpoint is written; lives that go on beside each other do not share it."""
    return folder / f"step-{step:08d}{'' if life is None else f'.{life}'}{PARTIAL}"


def complete_of(partial: Path) -> Path:
    """What it is called when it is complete."""
    return partial.with_name(partial.name.partition(".")[0])


def begin(partial: Path) -> None:
    """Make the folder of a checkpoint; what killed processes left behind goes, and makes room."""
    for old in partial.parent.glob(f"*{PARTIAL}"):
        shutil.rmtree(old, ignore_errors=True)
    partial.mkdir(parents=True)


def seal(partial: Path) -> None:
    """Give a checkpoint the name of a complete one."""
    sync(partial)
    os.replace(partial, complete_of(partial))
    sync(partial.parent)


def sync(folder: Path) -> None:
    """Wait until the names in ``folder`` are on the disk."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def prune(folder: Path, keep: int) -> None:
    """Remove all but the ``keep`` newest; one that cannot be removed stays."""
    for old in complete(folder)[:-keep]:
        with suppress(OSError):
            # Renamed first: a removal that is cut short must not leave half a checkpoint.
            doomed = old.with_name(old.name + PARTIAL)
            os.replace(old, doomed)
            shutil.rmtree(doomed)


def set_aside(path: Path) -> None:
    """Rename a damaged checkpoint: it counts no longer as one that is kept."""
    aside = path.with_name(path.name + DAMAGED)
    shutil.rmtree(aside, ignore_errors=True)
    os.replace(path, aside)


def first_damage(path: Path, sums: list[tuple[str, str]]) -> str | None:
    """What is wrong with the first of some files that is not what was written."""
    found = (damage(path, name, expected) for name, expected in sums)
    return next((wrong for wrong in found if wrong), None)


def unlisted(path: Path, sums: dict[str, str]) -> str | None:
    """What is wrong with SHA256SUMS itself: it is not there, or does not name every file."""
    if not sums:
        return f"{SUMS} is missing"
    strange = sorted({file.name for file in path.iterdir()} - set(sums) - {SUMS})
    return f"{SUMS} does not name {strange[0]}" if strange else None
