"""The exclude list: nodes that jobs of these runs are not to get, with reasons, until a day.

``RUNS/.llmtrain-exclude.yaml``, one entry a line: a job adds the nodes that its preflight found not
fit, ``llmtrain doctor --exclude`` any. The last entry of a node counts. It never changes a script's
bytes: it is an option of the submission.
"""

import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from llmtrain.config.errors import LaunchError, Problem

NAME = ".llmtrain-exclude.yaml"
FORM = "%Y-%m-%dT%H:%M:%SZ"
"""UTC."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One node."""

    node: str
    """As Slurm calls it."""
    reason: str
    """What was wrong."""
    run: str
    """The run that found it; empty: a person."""
    when: datetime
    """When it was found."""
    until: datetime
    """It counts until then."""

    def __str__(self) -> str:
        by = f" (run {self.run})" if self.run else ""
        return f"{self.node} until {self.until:%Y-%m-%d %H:%M} UTC: {self.reason}{by}"

    def as_json(self) -> dict[str, Any]:
        """For ``--json``, and a line of the list."""
        times = {"when": self.when.strftime(FORM), "until": self.until.strftime(FORM)}
        return asdict(self) | times


def entries(root: Path) -> tuple[Entry, ...]:
    """The last entry of every node in the list of the runs under ``root``, alive or not.

    Raises:
        LaunchError: if the list cannot be read.
    """
    path = root / NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    try:
        rows = yaml.safe_load(text) or []
        found = [_entry(row) for row in rows]
    except (yaml.YAMLError, ValueError, KeyError, TypeError) as error:
        says = f"{path} is no exclude list: {' '.join(str(error).split())}"
        hint = "an entry has node, reason, run, when and until; mend the line or delete the file"
        raise LaunchError(Problem(code="exclude_list", says=says, hint=hint)) from error
    return tuple({each.node: each for each in found}.values())


def alive(root: Path, now: datetime | None = None) -> tuple[Entry, ...]:
    """Those that count now."""
    now = now or datetime.now(UTC)
    return tuple(each for each in entries(root) if each.until > now)


def add(root: Path, entry: Entry) -> None:
    """Append to the list of ``root``."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / NAME).open("a", encoding="utf-8") as file:
        file.write(f"- {json.dumps(entry.as_json(), ensure_ascii=False)}\n")


def exclude_option(script: str, root: Path) -> tuple[str, ...]:
    """``--exclude`` of ``sbatch``, with what the script's own line leaves out; nothing if all may.

    ``script``: the text of the batch script. An option replaces its line.
    """
    kept_out = [each.node for each in alive(root)]
    if not kept_out:
        return ()
    own = re.search(r"^#SBATCH --exclude=(\S+)$", script, re.MULTILINE)
    return (f"--exclude={','.join([*([own[1]] if own else []), *kept_out])}",)


def _entry(row: Any) -> Entry:
    return Entry(
        node=_text(row["node"]),
        reason=str(row.get("reason") or "no reason given"),
        run=str(row.get("run") or ""),
        when=_time(row.get("when") or row["until"]),
        until=_time(row["until"]),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\w.,\[\]-]+", value):
        raise ValueError(f"{value!r} is no name of a node")
    return value


def _time(value: Any) -> datetime:
    """YAML reads a time or a day by itself where it is not quoted."""
    found = datetime.fromisoformat(str(value))
    return found if found.tzinfo else found.replace(tzinfo=UTC)
