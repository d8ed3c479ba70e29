"""The process of a local run: one at a time, known again, ended with all that it started."""

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from llmtrain.config.errors import LaunchError
from llmtrain.runs import process
from llmtrain.runs.process import Launcher, is_alive, kill, launcher_of, start

RunWith = Callable[..., Path]
Until = Callable[[Callable[[], object]], None]
Gone = Callable[[int], bool]


def test_a_job_is_started_apart_from_the_terminal(run_with: RunWith) -> None:
    """In its folder, in a session of its own, without input; its output is added to a log."""
    folder = run_with('pwd; cut -d " " -f 6 /proc/$$/stat; cat; echo "to stderr" >&2\n')
    first = start(folder, "job.sh")
    record = launcher_of(folder)
    first.wait()
    second = start(folder, "job.sh")
    second.wait()
    said = (folder / "logs" / "launcher.log").read_text().splitlines()

    assert said == [
        *(str(folder), str(first.pid), "to stderr"),
        *(str(folder), str(second.pid), "to stderr"),
    ]
    assert record is not None
    assert (record.host, record.pid) == (socket.gethostname(), first.pid)
    assert json.loads((folder / "control" / "launcher.json").read_text())["pid"] == second.pid


def test_a_run_that_lives_on_another_machine_is_not_started(
    run_with: RunWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is known by what it writes; when that stands still, the run can be started here."""
    folder = run_with("exit 0\n")
    alive = folder / "control" / "alive"
    alive.write_text("1 0\n")
    (folder / "control" / "life").write_text("1 elsewhere:1:1\n")
    monkeypatch.setattr(time, "sleep", lambda seconds: alive.write_text("1 5\n"))
    with pytest.raises(LaunchError, match="is running on elsewhere"):
        start(folder, "job.sh")
    assert not (folder / "events.jsonl").exists()

    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    assert start(folder, "job.sh").wait() == 0


@pytest.mark.parametrize("holder", ["1 17 0 0", f"1 {socket.gethostname()}:1:1", "1", ""])
def test_a_run_of_this_machine_or_of_slurm_is_not_elsewhere(run_with: RunWith, holder: str) -> None:
    """Who has it says so at once."""
    folder = run_with()
    (folder / "control" / "alive").write_text("1 0\n")
    (folder / "control" / "life").write_text(f"{holder}\n")

    assert process.elsewhere(folder, seconds=1e9) is None


def test_alive_until_the_end(run_with: RunWith) -> None:
    """A job that ended is not alive, nor one that nobody has waited for."""
    folder = run_with("read -r <control/go\n")
    os.mkfifo(folder / "control" / "go")

    assert not is_alive(folder)

    process = start(folder, "job.sh")

    assert is_alive(folder)

    (folder / "control" / "go").write_text("\n")
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    assert psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE
    assert not is_alive(folder)

    process.wait()

    assert not is_alive(folder)


def test_another_process_with_the_same_number(run_with: RunWith) -> None:
    """Numbers come again: the start time tells processes apart; another machine is another."""
    folder = run_with()
    here = psutil.Process()
    me = Launcher(host=socket.gethostname(), pid=here.pid, started=here.create_time())
    others = [
        Launcher(host=me.host, pid=me.pid, started=me.started - 60),
        Launcher(host="elsewhere", pid=me.pid, started=me.started),
        Launcher(host=me.host, pid=2**22 + 1, started=me.started),
    ]

    def alive_as(launcher: Launcher) -> bool:
        (folder / "control" / "launcher.json").write_text(json.dumps(asdict(launcher)))
        return is_alive(folder)

    assert [alive_as(launcher) for launcher in (me, *others)] == [True, False, False, False]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"host": 1, "nice": 2}'])
def test_a_broken_record_is_no_process(run_with: RunWith, text: str) -> None:
    """As after a full disk."""
    folder = run_with()
    (folder / "control" / "launcher.json").write_text(text)

    assert launcher_of(folder) is None
    assert not is_alive(folder)


def test_a_run_is_not_started_twice(run_with: RunWith) -> None:
    """While it runs; afterwards it is."""
    folder = run_with("read -r <control/go\n")
    os.mkfifo(folder / "control" / "go")
    first = start(folder, "job.sh")
    with pytest.raises(LaunchError, match="test-20260102-000000 is running already"):
        start(folder, "job.sh")
    (folder / "control" / "go").write_text("\n")
    first.wait()
    second = start(folder, "job.sh")
    (folder / "control" / "go").write_text("\n")

    assert second.wait() == 0


def test_two_starts_at_the_same_time(run_with: RunWith, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second waits for the first, and says so if that takes too long."""
    folder = run_with()
    with FileLock(folder / "control" / "start.lock"), pytest.raises(LaunchError) as refused:
        monkeypatch.setattr("filelock.FileLock", lambda path, timeout: FileLock(path, 0))
        start(folder, "job.sh")

    assert refused.value.problems[0].message.startswith(f"cannot start {folder}: ")


def test_a_folder_that_is_not_ours_to_write(run_with: RunWith) -> None:
    """The answer names it."""
    folder = run_with()
    (folder / "logs").rmdir()
    with pytest.raises(LaunchError, match=f"cannot start {folder}: "):
        start(folder, "job.sh")


def test_requests_of_an_earlier_life_are_void(run_with: RunWith) -> None:
    """A new start does not stop because the last one was asked to."""
    folder = run_with("ls control\n")
    (folder / "control" / "stop").touch()
    (folder / "control" / "save").touch()
    start(folder, "job.sh").wait()

    assert "stop" not in (folder / "logs" / "launcher.log").read_text().split()
    assert "save" not in (folder / "logs" / "launcher.log").read_text().split()


FAMILY = """\
trap '' TERM INT HUP
( setsid bash -c 'trap "" TERM INT HUP; echo $$ >grandchild; sleep 60 & wait' & wait ) &
sleep 60 &
echo $! >child
wait
"""


def test_the_whole_family_is_killed(run_with: RunWith, until: Until, gone: Gone) -> None:
    """Children and theirs too, in other sessions, that take no other signal."""
    folder = run_with(FAMILY)
    process = start(folder, "job.sh")
    until(lambda: all((folder / name).exists() for name in ("child", "grandchild")))
    until(lambda: (folder / "grandchild").read_text().strip())
    family = [int((folder / name).read_text()) for name in ("child", "grandchild")]
    (folder / "control" / "stop").touch()
    kill(folder)

    assert process.wait() == -signal.SIGKILL
    until(lambda: all(gone(pid) for pid in family))
    assert not (folder / "control" / "stop").exists()

    kill(folder)


def test_a_signal_to_a_job(run_with: RunWith, until: Until) -> None:
    """Any signal can be sent."""
    folder = run_with("trap 'touch got; exit 3' USR1\ntouch ready\nwhile :; do sleep 0.05; done\n")
    process = start(folder, "job.sh")
    until((folder / "ready").exists)
    kill(folder, signal.SIGUSR1)

    assert process.wait() == 3
    assert (folder / "got").exists()
