"""All runs under one folder, quickly: what has ended is kept in an index that can be rebuilt.

The truth are the runs' own files. The index (``.llmtrain-index.json`` beside them) only saves
reading those that have not changed; it may be deleted, is replaced in one step, and two that write
it at once lose nothing but time.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from llmtrain.runs.presence import Presence, presences
from llmtrain.runs.slurm import Submitted, submitted
from llmtrain.runs.state import ENDINGS, State, read_state

INDEX = ".llmtrain-index.json"
KEYS = [field.name for field in fields(State)]
"""An index that was written for other ones is not read."""
LIVING = ("queued", "starting", "running", "unknown")
"""What may go on by itself."""
FINAL = ("finished", "cancelled")
"""After these no scheduler starts a run again by itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What is known of a run."""

    name: str
    """Of its folder."""
    signature: str
    """Changes whenever the run's events or its control folder do."""
    created: int
    """When its folder was made, nanoseconds since 1970."""
    job: Mapping[str, str] | None
    """Its newest job, as :class:`Submitted`; None: it never went to Slurm."""
    values: Mapping[str, Any]
    """Its state, but for the name and the folder."""

    def state(self, root: Path) -> State:
        """As an object: made for those only that are shown."""
        return State(name=self.name, path=root / self.name, **self.values)


def all_runs(root: Path, newest: int | None = None) -> tuple[list[State], int]:
    """The runs under ``root``, the newest first, and how many are left out.

    ``newest``: not more that have ended than these.
    """
    known = _read(root)
    signatures = dict(_signatures(root))
    kept = {n: e for n, e in known.items() if e.signature and signatures.get(n) == e.signature}
    asked = {n: e for n, e in kept.items() if e.job and e.values["status"] not in FINAL}
    fresh = [name for name in signatures if name not in kept and _is_run(root / name)]
    jobs = {root / name: Submitted(**(entry.job or {})) for name, entry in asked.items()}
    there = presences([root / name for name in fresh], jobs)
    again = [name for name in asked if there[root / name] in ("queued", "here")]
    new = {
        name: _entry(root / name, signatures[name], there[root / name]) for name in (*fresh, *again)
    }
    lasting = {name: entry for name, entry in new.items() if _lasts(entry, there[root / name])}
    if lasting or len(kept) != len(known):
        _write(root, (kept | lasting).values())
    ordered = sorted((kept | new).values(), key=lambda entry: (-entry.created, entry.name))
    shown = [e for n, e in enumerate(ordered) if newest is None or n < newest or _lives(e)]
    return [entry.state(root) for entry in shown], len(ordered) - len(shown)


def _lives(entry: Entry) -> bool:
    return entry.values["status"] in LIVING


def _lasts(entry: Entry, there: Presence) -> bool:
    """It has ended; where Slurm may have queued it again, that is asked each time."""
    return there in ("gone", "unknown") and entry.values["status"] in ENDINGS


def _is_run(folder: Path) -> bool:
    return (folder / "launch.json").is_file()


def _signatures(root: Path) -> Iterator[tuple[str, str]]:
    """Name and signature of everything that may be a run; none for one that wrote nothing yet."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(root) as found:
        for each in found:
            if not each.name.startswith("."):
                yield each.name, _signature(each.path)


def _signature(path: str) -> str:
    try:
        events, control = os.stat(f"{path}/events.jsonl"), os.stat(f"{path}/control")
    except OSError:
        return ""
    return f"{events.st_mtime_ns} {events.st_size} {control.st_mtime_ns}"


def _entry(folder: Path, signature: str, there: Presence) -> Entry:
    job, values = submitted(folder), asdict(read_state(folder, there))
    del values["name"], values["path"]
    return Entry(
        name=folder.name,
        signature=signature,
        created=(folder / "launch.json").stat().st_mtime_ns,
        job=None if job is None else asdict(job),
        values=values,
    )


def _read(root: Path) -> dict[str, Entry]:
    """The index; empty if there is none that can be read."""
    try:
        data = json.loads((root / INDEX).read_bytes(), parse_constant=lambda word: None)
        if data["keys"] != KEYS:
            return {}
        return {row[0]: _from_row(*row) for row in data["runs"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _from_row(name: str, signature: str, created: int, job: Any, values: Any) -> Entry:
    return Entry(name=name, signature=signature, created=created, job=job, values=values)


def _write(root: Path, entries: Iterable[Entry]) -> None:
    """Replace the index; whoever may not write here does without one."""
    rows = [(e.name, e.signature, e.created, e.job, e.values) for e in entries]
    draft = root / f"{INDEX}.{os.getpid()}"
    try:
        draft.write_text(json.dumps({"keys": KEYS, "runs": rows}))
        draft.replace(root / INDEX)
    except OSError:
        draft.unlink(missing_ok=True)
