"""How this node's ranks send, from the log of the first: ``python -m preflight.watch``.

task.sh starts it beside them, in the run's folder. It ends when NCCL's log has said enough: with
the record logs/NODE/transport.json and the node's word in control/transport. Where NCCL does not
use the fabric that the cluster promises, and the policy is to stop, task.sh gets SIGUSR2.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from .facts import node_name
from .finding import Finding, verdict, worst_first
from .promise import Promise
from .record import write
from .transport import judge_transport, read_transport

WORD = Path("control/transport")
LONGEST_SECONDS = 3600.0
"""For the start of the ranks; a program that does not use NCCL is not watched for ever."""
CHANNELS_SECONDS = 60.0
"""From the choice of a network until NCCL has said of its first channels how they go."""
SETTLE_SECONDS = 5.0
"""For the other nodes, to leave their word too."""


def main() -> int:
    """Watch until NCCL has said how it sends, or the ranks are gone."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # it is meant for the ranks
    asked = json.loads(Path("preflight/promise.json").read_text(encoding="utf-8"))
    log = Path("logs", node_name(), f"nccl-{os.environ.get('LLMTRAIN_LIFE', '')}.log")
    promise, parent = Promise.from_json(asked["promise"]), os.getppid()
    until = time.monotonic() + LONGEST_SECONDS
    while read_transport(_text(log)).network is None:
        if time.monotonic() > until or not _sleep(1, parent):
            return 0
    if verdict(_record(log, promise)) == "stop":
        if asked["policy"] == "stop" and _sleep(SETTLE_SECONDS, parent):
            os.kill(parent, signal.SIGUSR2)
    elif _sleep(CHANNELS_SECONDS, parent):
        _record(log, promise)
    return 0


def _record(log: Path, promise: Promise) -> list[Finding]:
    """Write down what the log says so far, and say what is wrong."""
    text = _text(log)
    found = worst_first(judge_transport(text, promise))
    record = {"node": node_name(), "report": read_transport(text)._asdict()}
    write("transport", record, found, WORD)
    for each in found:
        if each.level in ("stop", "warn"):
            print(f"preflight: {node_name()}: {each.level}: {each.says}", file=sys.stderr)
    return found


def _text(log: Path) -> str:
    try:
        return log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _sleep(seconds: float, parent: int) -> bool:
    """Whether ``parent``, who is asked each second, is there still."""
    until = time.monotonic() + seconds
    while os.getppid() == parent and time.monotonic() < until:
        time.sleep(min(1.0, seconds))
    return os.getppid() == parent


if __name__ == "__main__":
    sys.exit(main())
