"""Whether a run's folder, and what it was prepared with, are still what they were."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmtrain.config.errors import RunError
from llmtrain.launchers.provenance import Provenance
from llmtrain.runs.folder import read_prepared


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """One thing that has changed since the run was prepared."""

    what: str
    """A file, a package, the commit."""
    was: str
    """When it was prepared."""
    now: str
    """Here and now."""

    def as_json(self) -> dict[str, str]:
        """The same for ``--json``."""
        return asdict(self)


def drift(folder: Path, here: Provenance) -> list[Drift]:
    """What has changed of the files in ``folder``, and between their provenance and ``here``.

    Raises:
        RunError: if the folder has no list of digests.
    """
    return [*_files(folder), *_provenance(folder, here.as_json())]


def provenance_drift(first: Path, second: Path) -> list[Drift]:
    """What two runs were made with that differs; ``was`` is the first's, ``now`` the second's.

    Nothing where one of them does not say it.
    """
    made = read_prepared(second, "provenance.json")
    return _provenance(first, made) if made else []


def program_of(folder: Path) -> str | None:
    """The checkout that the run in ``folder`` was prepared with."""
    program = read_prepared(folder, "provenance.json").get("program") or {}
    path: str | None = program.get("path")
    return path


def _files(folder: Path) -> list[Drift]:
    try:
        lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise RunError(f"{folder} cannot be verified: {error.strerror} SHA256SUMS") from error
    found = []
    for line in lines:
        digest, _, name = line.partition("  ")
        now = _digest(folder / name)
        if now != digest:
            found.append(Drift(what=name, was=digest[:12], now=now[:12]))
    return found


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return "missing"


def _provenance(folder: Path, now: dict[str, Any]) -> list[Drift]:
    was = read_prepared(folder, "provenance.json")
    if not was:
        return []
    pairs = [(name, was.get(name), now.get(name)) for name in ("llmtrain", "python")]
    packages = was.get("packages") or {}
    here = now.get("packages") or {}
    pairs += [(name, packages[name], here.get(name)) for name in sorted(packages)]
    for name in ("git", "program"):
        pairs += _code(name, was.get(name) or {}, now.get(name) or {})
    return [
        Drift(what=name, was=_shown(old), now=_shown(new)) for name, old, new in pairs if old != new
    ]


def _code(name: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Nothing where either is no checkout."""
    if not (was.get("commit") and now.get("commit")):
        return []
    return [
        (f"{name} commit", was["commit"], now["commit"]),
        (f"{name} diff", _short(was.get("diff")), _short(now.get("diff"))),
        (
            f"{name} untracked files",
            ", ".join(was.get("untracked") or ()),
            ", ".join(now.get("untracked") or ()),
        ),
    ]


def _short(diff: str | None) -> str:
    return hashlib.sha256(diff.encode()).hexdigest()[:12] if diff else "none"


def _shown(value: Any) -> str:
    return "none" if value in (None, "") else str(value)[:40]
