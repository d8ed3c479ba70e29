"""What NCCL logs of a run's own ranks is read beside them, and the wrong fabric ends them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmtrain.launchers.launch import Launch
from llmtrain.launchers.shell import package_text

LOGS: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("nccl_logs.yaml").read_text())
SLURM = ("recipe=gpt3-126m", "gpus=16", "backend.path=/opt/m", "site.scheduler=slurm")
QUICK = (
    "import sys; from preflight import watch; watch.SETTLE_SECONDS = watch.CHANNELS_SECONDS = 0.1; "
    "sys.exit(watch.main())"
)
TASK = f"""
trap 'echo ended; exit' USR2
"$1" -c {QUICK!r} & watcher=$!
wait $watcher && echo watched
"""
"""Stands for task.sh: says when the watcher wants the ranks to be ended."""


def folder_of(
    launch_of: Callable[..., Launch], folder: Path, cluster: str, *words: str
) -> tuple[Path, Path]:
    """A run's folder with what the watcher needs, and where NCCL will write."""
    for name, text in launch_of(*SLURM, f"cluster={cluster}", *words).files.items():
        if name.startswith("preflight/"):
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    (folder / "logs" / "n1").mkdir(parents=True)
    return folder, folder / "logs" / "n1" / "nccl-3.log"


def start(folder: Path) -> "subprocess.Popen[str]":
    """A task with its watcher."""
    environment = {**os.environ, "SLURMD_NODENAME": "n1", "LLMTRAIN_LIFE": "3"}
    words = ("bash", "-c", TASK, "task", sys.executable)
    return subprocess.Popen(
        words,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("name", "policy", "says", "word"),
    [
        ("infiniband", "stop", "watched", "pass"),
        ("efa", "stop", "watched", "pass"),
        ("sockets-without-a-device", "stop", "ended", "stop"),
        ("roce-where-infiniband-is-promised", "stop", "ended", "stop"),
        ("libfabric-over-tcp", "stop", "ended", "stop"),
        ("sockets-asked-for", "warn", "watched", "stop"),
        ("through-the-host", "stop", "watched", "warn"),
    ],
)
def test_the_wrong_fabric_ends_the_ranks(
    launch_of: Callable[..., Launch], tmp_path: Path, name: str, policy: str, says: str, word: str
) -> None:
    """As the policy says; the node's word and record have the reason."""
    asked = f"site.preflight.policy={policy}"
    folder, log = folder_of(launch_of, tmp_path, LOGS[name]["cluster"], asked)
    task = start(folder)
    log.write_text("n1:1:1 [0] NCCL INFO Bootstrap: Using eth0:10.0.0.1<0>\n")
    time.sleep(0.5)
    with log.open("a") as file:
        file.write(LOGS[name]["log"])
    out, err = task.communicate(timeout=90)

    assert out.split() == [says]
    reason = (folder / "control" / "transport" / "n1").read_text().splitlines()[0]
    assert reason.split()[0] == word
    assert LOGS[name].get("says", "") in reason
    assert ("preflight: n1: stop: NCCL sends by" in err) == (word == "stop")
    record = json.loads((folder / "logs" / "n1" / "transport.json").read_text())
    assert record["verdict"] == word


def until(happens: Callable[[], object]) -> None:
    """Wait for it, a minute at most."""
    end = time.monotonic() + 60
    while not happens():
        assert time.monotonic() < end, "waited for a minute"
        time.sleep(0.05)


def ignores(process: Path, number: int) -> bool:
    """Whether a process ignores that signal, by its folder in /proc."""
    (line,) = (each for each in (process / "status").read_text().splitlines() if "SigIgn" in each)
    return bool(int(line.split()[1], 16) >> (number - 1) & 1)


def test_a_watcher_goes_with_its_task(launch_of: Callable[..., Launch], tmp_path: Path) -> None:
    """A program that never starts NCCL leaves nothing behind; SIGUSR1 is not for the watcher."""
    folder, _ = folder_of(launch_of, tmp_path, "hgx-h100-ib")
    task = start(folder)
    children = Path(f"/proc/{task.pid}/task/{task.pid}/children")
    until(lambda: children.read_text().split())
    (found,) = children.read_text().split()
    watcher = Path("/proc") / found
    until(lambda: ignores(watcher, signal.SIGUSR1))
    os.kill(int(found), signal.SIGUSR1)
    time.sleep(0.2)
    assert watcher.exists()
    task.kill()
    task.communicate(timeout=60)  # the watcher holds the other end as long as it lives

    assert not (folder / "control").exists()


@pytest.mark.parametrize(
    ("words", "watched"),
    [
        (("cluster=hgx-h100-ib",), True),
        (("cluster=aws-p5",), True),
        (("cluster=hgx-h100-ib", "gpus=8"), False),
        (("cluster=hgx-h100-ib", "site.preflight.policy=off"), False),
        (("cluster=hgx-h100-ib", "env.NCCL_DEBUG_FILE=/tmp/mine"), False),
    ],
)
def test_who_is_watched(
    launch_of: Callable[..., Launch], words: tuple[str, ...], watched: bool
) -> None:
    """Without being asked, where a fabric is promised between nodes; a file of the user's stays."""
    files = launch_of(*SLURM, *words).files

    assert ("watched=1\n" in files["task.sh"]) == watched
    assert ("NCCL_DEBUG_FILE=$nccl" in files["rank.sh"]) == watched


def test_only_the_first_rank_of_a_node_says_more(tmp_path: Path) -> None:
    """Into a file of its own; the others keep what the cluster and the user say."""
    show = 'echo "$NCCL_DEBUG ${NCCL_DEBUG_SUBSYS:-} ${NCCL_DEBUG_FILE:-}"'
    script = f"set -euo pipefail\n{package_text('rank-nccl.sh')}{show}"
    mine = {"LLMTRAIN_RUN": str(tmp_path), "LLMTRAIN_LIFE": "2", "SLURMD_NODENAME": "n1"}
    said = []
    for local in ("0", "1"):
        asked = {"LOCAL_RANK": local, "NCCL_DEBUG": "WARN", "PATH": os.environ["PATH"]}
        done = subprocess.run(
            ("bash", "-c", script), env=mine | asked, capture_output=True, text=True, check=True
        )
        said.append(done.stdout.strip())

    assert said == [f"INFO INIT,NET,ENV {tmp_path}/logs/n1/nccl-2.log", "WARN"]
