"""What shellcheck has to say of a launch."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llmtrain.launchers.launch import Launch


@pytest.fixture(scope="session")
def remarks() -> Callable[..., str]:
    """On every script of a launch, but for the remarks that are named."""

    def said(launch: Launch, *excluded: str) -> str:
        program = str(Path(sys.executable).with_name("shellcheck"))
        command = [program, "--shell=bash", "--format=gcc", f"--exclude={','.join(excluded)}", "-"]
        found = ""
        for name in (name for name in launch.files if name.endswith((".sh", ".sbatch"))):
            text = launch.files[name]
            done = subprocess.run(command, input=text, capture_output=True, text=True)
            found += done.stdout.replace("-:", f"{name}:") + done.stderr
        return found

    return said
