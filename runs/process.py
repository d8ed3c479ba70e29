"""The process of a local run: started apart from the terminal, known by pid and start time."""

import json
import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from llmtrain.config.errors import LaunchError, Problem
from llmtrain.runs.events import note
from llmtrain.runs.folder import read_prepared

TRAINER = "llmtrain.trainer"
"""Looks for requests in control/ by itself."""
BEAT_SECONDS = 12.0
"""Whoever lives writes into control/alive every five seconds (shell/life-here.sh)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Launcher:
    """Who runs, or ran, the job: the content of control/launcher.json."""

    host: str
    """On which machine."""
    pid: int
    """Process that started the ranks."""
    started: float
    """Its start time, seconds since 1970: pids come again."""

    def process(self) -> psutil.Process | None:
        """The process if it lives, on this machine."""
        if self.host != socket.gethostname():
            return None
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 1
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None


def launcher_of(folder: Path) -> Launcher | None:
    """Who was started last in ``folder``; None if nobody."""
    try:
        return Launcher(**json.loads((folder / "control" / "launcher.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def is_alive(folder: Path) -> bool:
    """Whether the job in ``folder`` runs on this machine."""
    launcher = launcher_of(folder)
    return launcher is not None and launcher.process() is not None


def elsewhere(folder: Path, seconds: float = BEAT_SECONDS) -> str | None:
    """The other machine on which the run lives: control/alive changes there. None: there is none.

    Takes ``seconds`` where it cannot be told at once.
    """
    beat = folder / "control" / "alive"
    try:
        holder = (folder / "control" / "life").read_text(encoding="utf-8").split()[1]
        before = beat.read_text(encoding="utf-8")
    except (OSError, IndexError):
        return None
    host, _, rest = holder.partition(":")
    if not rest or host == socket.gethostname():
        return None
    time.sleep(seconds)
    return host if beat.read_text(encoding="utf-8") != before else None


def start(folder: Path, script: str) -> "subprocess.Popen[bytes]":
    """Start ``script`` in a session of its own, its output into logs/launcher.log.

    Its own session keeps a Ctrl-C in the terminal from the ranks: they are asked to stop through
    control/stop, and so have all the time that a checkpoint needs.

    Raises:
        LaunchError: if the run is running already, or cannot be started.
    """
    # It imports asyncio, which whoever only looks at runs need not wait for.
    from filelock import FileLock, Timeout

    try:
        with FileLock(folder / "control" / "start.lock", timeout=5):
            if is_alive(folder):
                raise LaunchError(f"{folder.name} is running already", hint="see `llmtrain status`")
            if host := elsewhere(folder):
                raise LaunchError(f"{folder.name} is running on {host}")
            return _started(folder, script)
    except (OSError, Timeout) as error:
        raise LaunchError(Problem(code="start", says=f"cannot start {folder}: {error}")) from error


def _started(folder: Path, script: str) -> "subprocess.Popen[bytes]":
    _forget_requests(folder)
    note(folder, "launched")
    with (folder / "logs" / "launcher.log").open("ab") as log:
        process = subprocess.Popen(
            ["bash", script],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    started = psutil.Process(process.pid).create_time()
    launcher = Launcher(host=socket.gethostname(), pid=process.pid, started=started)
    draft = folder / "control" / ".launcher.json"
    draft.write_text(json.dumps(asdict(launcher)) + "\n")
    draft.rename(folder / "control" / "launcher.json")
    return process


def _forget_requests(folder: Path) -> None:
    for request in ("stop", "stopping", "save"):
        (folder / "control" / request).unlink(missing_ok=True)


def ask(folder: Path, what: str) -> None:
    """Leave the file ``control/save`` or ``control/stop``.

    The trainer looks once a step; for other programs the job's script does, and asks the ranks.
    """
    (folder / "control" / what).touch()


def is_ours(folder: Path) -> bool:
    """Whether the run's program is llmtrain's trainer, which reads control/ and writes events."""
    command = read_prepared(folder, "launch.json").get("command")
    return not isinstance(command, list) or TRAINER in command


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def kill(folder: Path, number: int = signal.SIGKILL) -> None:
    """Send a signal to the job and everything it started; what was asked of it is void."""
    launcher = launcher_of(folder)
    process = launcher.process() if launcher else None
    if process is None:
        return
    # The parent goes first, before it can replace its children; they are known by then.
    for each in (process, *_children(process)):
        with suppress(ProcessLookupError):
            os.kill(each.pid, number)
    _forget_requests(folder)
