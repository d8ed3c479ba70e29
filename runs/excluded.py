"""The exclude list: nodes that jobs of these runs are not to get, with reasons, until a day.

``RUNS/.llmtrain-exclude.yaml``, one entry a line: a job adds the nodes that its preflight found not
fit, ``llmtrain doctor --exclude`` any. The last entry of a node counts. It never changes a script's
bytes: it is an option of the submission. Many people's jobs read it: an entry that somebody has
damaged is said and passed over, the others count.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from llmtrain.runs.hostlist import expand
from llmtrain.runs.slurm import Unreachable, ask_slurm

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
    """The last entry of every node in the list of the runs under ``root``, alive or not."""
    return tuple({each.node: each for each in _listed(root)[0]}.values())


def damaged(root: Path) -> tuple[str, ...]:
    """What in that list cannot be read, with its line, and why."""
    return tuple(_listed(root)[1])


def alive(root: Path, now: datetime | None = None) -> tuple[Entry, ...]:
    """Those that count now."""
    now = now or datetime.now(UTC)
    return tuple(each for each in entries(root) if each.until > now)


def add(root: Path, entry: Entry) -> None:
    """Append to the list of ``root``, below what somebody may have left without an end of line."""
    root.mkdir(parents=True, exist_ok=True)
    path = root / NAME
    before = path.read_bytes()[-1:] if path.exists() else b""
    with path.open("a", encoding="utf-8") as file:
        file.write("" if before in (b"", b"\n") else "\n")
        file.write(f"- {json.dumps(entry.as_json(), ensure_ascii=False)}\n")


def strangers(nodes: tuple[str, ...]) -> tuple[str, ...]:
    """Those that Slurm does not know: it refuses a job that is to leave one out.

    None where there is no Slurm to ask.
    """
    try:
        done = ask_slurm("sinfo", "--noheader", "--all", "--Node", "--format=%N")
    except Unreachable:
        return ()
    known = set(done.stdout.split()) if done.returncode == 0 else set()
    return tuple(node for node in nodes if node not in known) if known else ()


def exclude_option(script: str, root: Path) -> tuple[str, ...]:
    """``--exclude`` of ``sbatch``, with what the script's own line leaves out; nothing if all may.

    ``script``: the text of the batch script. An option replaces its line.
    """
    kept_out = [each.node for each in alive(root)]
    if not kept_out:
        return ()
    own = re.search(r"^#SBATCH --exclude=(\S+)$", script, re.MULTILINE)
    return (f"--exclude={','.join([*([own[1]] if own else []), *kept_out])}",)


def _listed(root: Path) -> tuple[list[Entry], list[str]]:
    """All entries, one a node, and what is damaged."""
    found: list[Entry] = []
    bad: list[str] = []
    path = root / NAME
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        text = ""
    except OSError as error:
        text, bad = "", [f"{path} cannot be read: {error.strerror}"]
    for number, block in _blocks(text):
        try:
            found += _entries(block)
        except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError) as error:
            bad.append(f"{path}:{number} is no entry and is passed over: {_why(error)}")
    return found, bad


def _blocks(text: str) -> Iterator[tuple[int, str]]:
    """Number of its first line, and text, of each entry; by hand it may have several lines."""
    begin, lines = 0, text.splitlines()
    for end in range(1, len(lines) + 1):
        if end == len(lines) or re.match(r"\s*-\s|[^\s#]", lines[end]):
            yield begin + 1, "\n".join(lines[begin:end])
            begin = end


def _entries(block: str) -> list[Entry]:
    rows = yaml.safe_load(block) or []
    if not isinstance(rows, list):
        raise TypeError
    return [
        Entry(
            node=node,
            reason=str(row.get("reason") or "no reason given"),
            run=str(row.get("run") or ""),
            when=_time(row.get("when") or row["until"]),
            until=_time(row["until"]),
        )
        for row in rows
        for node in expand(str(row["node"]))
    ]


def _why(error: Exception) -> str:
    if isinstance(error, ValueError):
        return str(error)
    return "an entry is `- {node: …, reason: …, run: …, when: …, until: …}`"


def _time(value: Any) -> datetime:
    """YAML reads a time or a day by itself where it is not quoted."""
    found = datetime.fromisoformat(str(value))
    return found if found.tzinfo else found.replace(tzinfo=UTC)
