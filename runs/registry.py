"""All runs under one folder, quickly: what has ended is kept in an index that can be rebuilt.

The truth are the runs' own files. The index (``.llmtrain-index.json`` beside them) only saves
reading those that have not changed; it may be deleted, is replaced in one step, and two that write
it at once lose nothing but time.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from llmtrain.runs.presence import Presence, presences
from llmtrain.runs.state import State, read_state

INDEX = ".llmtrain-index.json"
SCHEMA = 1
"""Version of the index; another one is not read."""
FINAL = ("finished", "cancelled")
"""After these no scheduler starts a run again by itself."""
ENDED = (*FINAL, "failed", "stopped")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What the index knows of a run."""

    signature: str
    """Changes whenever the run's events or its control folder do."""
    created: int
    """When its folder was made, nanoseconds since 1970."""
    slurm: bool
    """Whether it went to Slurm."""
    state: State
    """As it ended."""


def all_runs(root: Path) -> list[State]:
    """Every run under ``root``, the newest first."""
    known = _read(root)
    signatures = dict(_signatures(root))
    kept = {
        name: entry
        for name, entry in known.items()
        if signatures.get(name) == entry.signature and entry.signature
    }
    asked = [name for name, entry in kept.items() if _may_go_on(entry)]
    fresh = [name for name in signatures if name not in kept and _is_run(root / name)]
    there = presences([root / name for name in (*fresh, *asked)])
    new = {name: _entry(root / name, signatures[name], there[root / name]) for name in fresh}
    again = {
        name: replace(kept[name], state=read_state(root / name, there[root / name]))
        for name in asked
        if there[root / name] in ("queued", "here")
    }
    lasting = {name: entry for name, entry in new.items() if _lasts(entry, there[root / name])}
    if lasting or len(kept) != len(known):
        _write(root, kept | lasting)
    entries = (kept | again | new).values()
    return [e.state for e in sorted(entries, key=lambda e: (-e.created, e.state.name))]


def _may_go_on(entry: Entry) -> bool:
    """Slurm may have queued it again, which no file of the run shows yet."""
    return entry.slurm and entry.state.status not in FINAL


def _lasts(entry: Entry, there: Presence) -> bool:
    return there == "gone" and entry.state.status in ENDED


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
    return Entry(
        signature=signature,
        created=(folder / "launch.json").stat().st_mtime_ns,
        slurm=(folder / "control" / "slurm.json").is_file(),
        state=read_state(folder, there),
    )


def _read(root: Path) -> dict[str, Entry]:
    """The index; empty if there is none that can be read."""
    try:
        data = json.loads((root / INDEX).read_bytes())
        if data["schema"] != SCHEMA or data["keys"] != [field.name for field in fields(State)]:
            return {}
        return {row[0]: _from_row(root, *row) for row in data["runs"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _from_row(
    root: Path, name: str, signature: str, created: int, slurm: bool, state: Mapping[str, Any]
) -> Entry:
    return Entry(
        signature=signature,
        created=created,
        slurm=slurm,
        state=State(name=name, path=root / name, **state),
    )


def _write(root: Path, entries: Mapping[str, Entry]) -> None:
    """Replace the index; whoever may not write here does without one."""
    rows = [
        (name, entry.signature, entry.created, entry.slurm, _without_place(entry.state))
        for name, entry in entries.items()
    ]
    data = {"schema": SCHEMA, "keys": [field.name for field in fields(State)], "runs": rows}
    draft = root / f"{INDEX}.{os.getpid()}"
    try:
        draft.write_text(json.dumps(data))
        draft.replace(root / INDEX)
    except OSError:
        draft.unlink(missing_ok=True)


def _without_place(state: State) -> dict[str, Any]:
    values = asdict(state)
    del values["name"], values["path"]
    return values
