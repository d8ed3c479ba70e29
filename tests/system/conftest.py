"""A real Slurm for every test of this folder, and ways to use it."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, Timeout

SLURM = Path(__file__).parents[1] / "slurm"
LLMTRAIN = Path(sys.executable).with_name("llmtrain")
PROGRAM = """
import json, os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("saved")))
# At once: between a line and its end that come one after the other another rank's may come.
os.write(1, json.dumps({"argv": sys.argv, "environ": dict(os.environ)}).encode() + b"\\n")
time.sleep(float(os.environ.get("PROGRAM_SECONDS", "0")))
"""
"""Stands for a training program of the user's: says what it got, and saves on SIGTERM."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bed:
    """The test-bed, and a folder for the runs of one test."""

    folder: Path
    """Where this test works."""
    environment: dict[str, str]
    """Of every command."""

    @property
    def scripts(self) -> Path:
        """The test-bed's own scripts."""
        return SLURM

    @property
    def command(self) -> Path:
        """The program ``llmtrain``."""
        return LLMTRAIN

    def run(self, *words: str | Path, check: bool = True, **more: str) -> str:
        """What a command says on stdout."""
        done = self.start(*words, **more)
        assert not check or done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, *words: str | Path, **more: str) -> "subprocess.CompletedProcess[str]":
        """A command with its status; ``more`` is environment."""
        return subprocess.run(
            [str(word) for word in words],
            cwd=self.folder,
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def llmtrain(self, *words: str, check: bool = True, **more: str) -> str:
        """What llmtrain says on stdout."""
        return self.run(LLMTRAIN, *words, check=check, **more)

    def launch(self, name: str, *words: str, **more: str) -> Path:
        """Submit a run called ``name``; its folder."""
        self.llmtrain("run", f"run.name={name}", "--yes", *words, check=True, **more)
        return next((self.folder / "outputs").glob(f"{name}-*"))

    def clear(self) -> None:
        """Cancel every job; until the nodes have left them, the next job gets other ones."""
        self.run("scancel", "--user=root")
        self.until(lambda: not self._busy(), "the end of the jobs before")

    def _busy(self) -> bool:
        states = "--states=allocated,mixed,completing"
        found = self.run("sinfo", "--noheader", states, "--format=%T").split()
        return any(not state.startswith("down") for state in found)

    def wait(self, folder: Path, seconds: float = 300) -> dict[str, Any]:
        """Wait for the end of a run; its state."""

        def over() -> bool:
            state = self.status(folder)["status"]
            return state in ("finished", "failed", "cancelled", "lost", "stopped")

        self.until(over, f"the end of {folder.name}", seconds)
        return self.status(folder)

    def until(self, happens: Callable[[], bool], what: str, seconds: float = 180) -> None:
        """Wait for something."""
        end = time.monotonic() + seconds
        while not happens():
            assert time.monotonic() < end, f"{what} has not happened in {seconds} s"
            time.sleep(0.3)

    def status(self, folder: Path) -> dict[str, Any]:
        """The run's state."""
        found: dict[str, Any] = json.loads(self.llmtrain("status", folder.name, "--json"))
        return found


@contextmanager
def brought_up() -> Iterator[dict[str, str]]:
    """A test-bed of this process' own; environment that finds it.

    With BED and BED_KEEP set the bed there is used, and left.
    """
    with ExitStack() as stack:
        own = {} if "BED" in os.environ else stack.enter_context(_free_place())
        environment = {**os.environ, **own}
        environment["SLURM_CONF"] = f"{environment['BED']}/etc/slurm.conf"
        keep = bool(os.environ.get("BED_KEEP"))
        if not keep:
            stack.callback(_bed, "down.sh", environment)
        if not (keep and Path(environment["SLURM_CONF"]).exists()):
            _bed("up.sh", environment)
        yield environment


@pytest.fixture(scope="session")
def slurm() -> Iterator[dict[str, str]]:
    """A test-bed of this session's own."""
    with brought_up() as environment:
        yield environment


@contextmanager
def _free_place() -> Iterator[dict[str, str]]:
    """Files, network, ports and names that no other session on this machine uses."""
    for number, letter in enumerate("abcdefgh", start=1):
        lock = FileLock(f"/tmp/llmtrain-bed-{letter}.lock")
        with suppress(Timeout), lock.acquire(timeout=0):
            yield {
                "BED": f"/tmp/llmtrain-bed-{letter}",
                "BED_NET": f"10.77.{number}",
                "BED_PORT": str(16817 + 10 * number),
                "BED_LINK": f"llbed{letter}",
            }
            return
    raise AssertionError("eight test-beds are up already")


def _bed(script: str, environment: dict[str, str]) -> None:
    """Without a test-bed every test of this folder fails: it is never skipped."""
    done = subprocess.run(
        [SLURM / script],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{script} failed\n{done.stderr}"


def bed_of(slurm: dict[str, str], folder: Path) -> Bed:
    """The test-bed, for runs in ``folder``."""
    environment = {**slurm, "LLMTRAIN_RECIPES": str(SLURM / "recipes")}
    environment |= {"HOME": str(folder / "home"), "XDG_CONFIG_HOME": str(folder / "config")}
    environment.pop("LLMTRAIN_RUNS", None)
    return Bed(folder=folder, environment=environment)


@pytest.fixture
def bed(slurm: dict[str, str], tmp_path: Path) -> Iterator[Bed]:
    """The test-bed without jobs, before and after."""
    made = bed_of(slurm, tmp_path)
    made.clear()
    yield made
    made.run("scancel", "--user=root")


@pytest.fixture
def program(tmp_path: Path) -> str:
    """A checkout that stands for Megatron-LM's, as overrides of a recipe."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "pretrain_gpt.py").write_text(PROGRAM)
    return f"backend.path={checkout}"


@pytest.fixture
def shims(tmp_path: Path, bed: Bed) -> Callable[..., str]:
    """Put commands of this test before the real ones; the new PATH."""

    def make(**scripts: str) -> str:
        folder = tmp_path / "shims"
        folder.mkdir(exist_ok=True)
        for name, text in scripts.items():
            real = shutil.which(name) or "/bin/false"
            (folder / name).write_text("#!/bin/bash\n" + text.replace("@REAL@", real))
            (folder / name).chmod(0o755)
        return f"{folder}:{bed.environment['PATH']}"

    return make
