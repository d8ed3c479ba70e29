"""Where each node leaves what is known of it: for people, the job's script and the others."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .finding import Finding, verdict

WORD = Path("control/preflight")
"""One file a node: verdict and reason in the first line, what is compared in the second."""


def write(kind: str, record: dict[str, Any], found: Sequence[Finding], folder: Path = WORD) -> None:
    """Into logs/NODE/KIND.json, whole, and for the script the node's word in ``folder``."""
    logs = Path("logs", record["node"])
    logs.mkdir(parents=True, exist_ok=True)
    findings = [each._asdict() for each in found]
    whole = {**record, "verdict": verdict(found), "findings": findings}
    _replace(logs / f"{kind}.json", json.dumps(whole, indent=2) + "\n")
    bad = [each for each in found if each.level in ("stop", "warn")]
    reason = "; ".join(each.says for each in bad[:3]) or "fit"
    line = f"{verdict(found)} {' '.join(reason.split())}"
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / record["node"], f"{line}\n{json.dumps(record['report'])}\n")


def read(kind: str, node: str) -> tuple[dict[str, Any], list[Finding]]:
    """What :func:`write` wrote."""
    record = json.loads(Path("logs", node, f"{kind}.json").read_text(encoding="utf-8"))
    return record, [Finding(**each) for each in record.pop("findings")]


def words(nodes: int, until: float) -> dict[str, Any]:
    """By node what is compared, as soon as all have left theirs; after ``until`` of those who did.

    ``until`` is of the monotonic clock.
    """
    while True:
        there = sorted(path for path in WORD.iterdir() if not path.name.startswith("."))
        if len(there) >= nodes or time.monotonic() > until:
            return {
                path.name: json.loads(path.read_text(encoding="utf-8").splitlines()[1])
                for path in there
            }
        time.sleep(0.2)


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.part")
    draft.write_text(text, encoding="utf-8")
    os.replace(str(draft), str(path))
