"""The command, called as a user does: in this process where that is enough."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmtrain.cli.main import main

COMMAND = str(Path(sys.executable).with_name("llmtrain"))

STAND_IN = """\
#!/usr/bin/env bash
# Trains nothing: writes what the trainer would, a step in every PAUSE seconds.
say() { echo "{\\"event\\": \\"$1\\", \\"step\\": $2}" >>events.jsonl; }
printf '%s\\n' "$*"
mkdir -p logs/here && echo "rank 0 says hello" >>logs/here/rank-0.log
[[ -z ${FAIL:-} ]] || { say failed "null, \\"error\\": \\"$FAIL\\"" && exit 1; }
done=$(cat checkpoints/newest 2>/dev/null || echo 0)
[[ $done == 0 ]] && say started 0 || say resumed "$done"
while [[ $done -lt ${STEPS:=3} ]]; do
    done=$((done + 1))
    echo "{\\"step\\": $done, \\"loss\\": 2.5, \\"tokens_per_second\\": 100.0}" >>metrics.jsonl
    [[ -e control/stop || $done == "$STEPS" ]] && break
    sleep "${PAUSE:=0}"
done
echo "$done" >checkpoints/newest
say checkpoint "$done"
rm -f control/stop
[[ $done == "$STEPS" ]] && say finished "$done" || say stopped "$done"
"""


@dataclass(frozen=True)
class Done:
    """What a command did."""

    status: int
    out: str
    err: str


Cli = Callable[..., Done]
"""``llmtrain`` with these arguments."""


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder, without a user's recipes, runs, colours and completion."""
    for name in ("LLMTRAIN_RECIPES", "LLMTRAIN_RUNS", "COLUMNS", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Cli:
    """``llmtrain`` with these arguments, in this process."""
    # What is right for a program of its own is not for the one that runs the tests.
    monkeypatch.setattr("llmtrain.cli.main.signal.signal", lambda *arguments: None)
    monkeypatch.setattr("llmtrain.cli.main.gc.set_threshold", lambda threshold: None)

    def call(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["llmtrain", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        sys.stdout.flush()
        sys.stderr.flush()
        out, err = capfdbinary.readouterr()
        status = left.value.code
        return Done(status if isinstance(status, int) else 0, out.decode(), err.decode())

    return call


@pytest.fixture
def program() -> Cli:
    """``llmtrain`` with these arguments, as a program."""

    def call(*arguments: str, cwd: Path | str | None = None, **environment: str) -> Done:
        done = subprocess.run(
            [COMMAND, *arguments],
            capture_output=True,
            cwd=cwd,
            env=os.environ | environment,
            text=True,
            timeout=100,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An interpreter that does not train, and that runs are started with."""
    path = tmp_path / "stand-in"
    path.write_text(STAND_IN)
    path.chmod(0o755)
    monkeypatch.setenv("LLMTRAIN_PYTHON", str(path))
    return path


def the_run() -> Path:
    """The only run there is."""
    (folder,) = Path("outputs").iterdir()
    return folder
