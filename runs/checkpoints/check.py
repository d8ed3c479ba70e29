"""What a run would go on from, before it is started: found, read, and judged."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmtrain.config.recipe import Recipe
from llmtrain.launchers.backends.tracker import tracker_file
from llmtrain.runs.checkpoints.folder import (
    listed,
    named,
    read_stored,
    strangers,
    tracked,
    whole,
    word_for,
)
from llmtrain.runs.checkpoints.outcome import Verdict, no
from llmtrain.runs.checkpoints.stored import Stored
from llmtrain.runs.checkpoints.verdict import strange, verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Tracker:
    """The file that names what the program loads, and what it must say instead."""

    path: Path
    """The file."""
    was: str | None
    """What it says; None: it is not there."""
    now: str
    """The newest checkpoint that is whole."""
    why: str
    """What is wrong with what it says."""

    def as_json(self) -> dict[str, Any]:
        """The same for ``--json``."""
        return {"file": self.path.name, "was": self.was, "now": self.now, "why": self.why}


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """The answer."""

    verdict: Verdict
    """Of the checkpoint that will be loaded."""
    stored: Stored | None
    """That checkpoint; None: there is none."""
    skipped: Stored | None
    """A newer one that is not whole."""
    tracker: Tracker | None
    """How the program is led to it; None: it finds it by itself."""

    def as_json(self) -> dict[str, Any]:
        """The same for ``--json``."""
        return {
            **self.verdict.as_json(),
            "checkpoint": self.stored.as_json() if self.stored else None,
            "skipped": self.skipped.as_json() if self.skipped else None,
            "tracker": self.tracker.as_json() if self.tracker else None,
        }


NONE = Verdict(outcome="none", says="there is no checkpoint: it begins at step 1")


def check(folder: Path, recipe: Recipe) -> Check:
    """What the program of ``recipe`` will go on from in ``folder``, its checkpoints.

    A checkpoint that is not whole is passed over: the reference trainer does that by itself, other
    programs do what their tracker says, which is then to be moved. Where there is none that the
    program looks for, another is judged: a run must not begin again unnoticed.
    """
    try:
        return _check(folder, recipe)
    except OSError as error:
        return _refused(_unread(folder, error))


def _check(folder: Path, recipe: Recipe) -> Check:
    first, why = _first(folder, recipe)
    if first is not None and first.whole:
        return Check(verdict=verdict(first, recipe), stored=first, skipped=None, tracker=None)
    if first is None and not why:
        return _strange(next(strangers(folder, recipe), None), recipe)
    good = next(whole(folder, recipe), None)
    if good is None:
        return _refused(f"{why}, and there is no checkpoint that is whole", first)
    return Check(
        verdict=verdict(good, recipe),
        stored=good,
        skipped=first,
        tracker=_tracker(folder, recipe, good, why),
    )


def _refused(says: str, stored: Stored | None = None) -> Check:
    return Check(verdict=no(says), stored=stored, skipped=None, tracker=None)


def _unread(folder: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError) and folder.is_symlink():
        return f"{folder.name} is a link to {folder.readlink()}, which is not there"
    return f"{folder.name} cannot be read: {error.strerror or error}"


def _strange(stored: Stored | None, recipe: Recipe) -> Check:
    found = NONE if stored is None else strange(stored, recipe)
    return Check(verdict=found, stored=stored, skipped=None, tracker=None)


def _first(folder: Path, recipe: Recipe) -> tuple[Stored | None, str]:
    """What would be loaded as things stand, and what is wrong with that."""
    if tracker_file(recipe) is None:
        return _newest(folder, recipe)
    try:
        word = named(folder, recipe)
    except (OSError, ValueError) as error:
        return None, f"{tracker_file(recipe)} cannot be read: {error}"
    if word is None:
        return _untracked(folder, recipe)
    path = tracked(folder, recipe, word)
    stored = read_stored(path) if path.is_dir() else None
    if stored is None:
        return None, f"{tracker_file(recipe)} says {word!r}, and there is no such checkpoint"
    return stored, f"{path.name} is not whole: {stored.damage}"


def _untracked(folder: Path, recipe: Recipe) -> tuple[Stored | None, str]:
    """Without a tracker the program begins, whatever is there."""
    missing = f"{tracker_file(recipe)} is missing, and"
    there = next(whole(folder, recipe), None)
    if there is not None:
        return None, f"{missing} {there.path.name} is there"
    found = next(filter(None, map(read_stored, listed(folder, recipe))), None)
    return (
        (found, f"{missing} {found.path.name} is not whole: {found.damage}")
        if found
        else (None, "")
    )


def _newest(folder: Path, recipe: Recipe) -> tuple[Stored | None, str]:
    for path in listed(folder, recipe):
        stored = read_stored(path)
        if stored is None:
            stored = Stored(path=path, format="torch_dist", damage="it is empty")
        return stored, f"{path.name} is not whole: {stored.damage}"
    return None, ""


def _tracker(folder: Path, recipe: Recipe, good: Stored, why: str) -> Tracker | None:
    file = tracker_file(recipe)
    if file is None:
        return None
    try:
        was = named(folder, recipe)
    except (OSError, ValueError):
        was = None
    return Tracker(path=folder / file, was=was, now=word_for(good.path, recipe), why=why)
