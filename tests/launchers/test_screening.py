"""What a job takes along to look at its nodes."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llmtrain.launchers.launch import Launch

SLURM = ("recipe=gpt3-126m", "gpus=16", "backend.path=/opt/m", "site.scheduler=slurm")


def test_depth_and_policy_decide_what_goes_along(launch_of: Callable[..., Launch]) -> None:
    """Nothing where nobody looks; burn.py only where something is measured."""
    off = launch_of(*SLURM, "site.preflight.policy=off").files
    read = launch_of(*SLURM).files
    burn = launch_of(*SLURM, "site.preflight.depth=burn").files

    assert not [name for name in off if name.startswith("preflight/")]
    assert "preflight/checks.py" in read and "preflight/burn.py" not in read
    assert burn.keys() - read.keys() == {"preflight/burn.py"}


def test_what_a_node_is_held_against(launch_of: Callable[..., Launch]) -> None:
    """The cluster's facts; a job of one node needs no fabric, a part of a node fewer GPUs."""
    several, one = (
        json.loads(launch_of(*SLURM, *more).files["preflight/promise.json"])["promise"]
        for more in (("cluster=hgx-h100-ib",), ("cluster=hgx-h100-ib", "gpus=4"))
    )

    assert (several["gpus"], several["network"], several["nics"]) == (8, "infiniband", 8)
    assert (several["nic_gbit_per_s"], several["bus_gb_per_s"]) == (400, 330)
    assert (one["gpus"], one["network"]) == (4, "loopback")


def test_the_modules_need_an_old_python_and_nothing_else(launch_of: Callable[..., Launch]) -> None:
    """Python 3.8 reads them, and they import the standard library and each other."""
    files = launch_of(*SLURM, "site.preflight.depth=burn").files
    modules = {name: text for name, text in files.items() if name.startswith("preflight/")}
    for name, text in modules.items():
        if not name.endswith(".py"):
            continue
        tree = ast.parse(text, feature_version=(3, 8))
        for each in ast.walk(tree):
            names = [alias.name for alias in each.names] if isinstance(each, ast.Import) else []
            if isinstance(each, ast.ImportFrom) and not each.level:
                names = [each.module or ""]
            roots = {name.partition(".")[0] for name in names}
            assert roots <= {*sys.stdlib_module_names} | ({"torch"} if "burn" in name else set())


@pytest.mark.parametrize("policy", ["stop", "warn"])
def test_a_node_looks_at_itself(
    launch_of: Callable[..., Launch],
    write: Callable[[Launch], Path],
    monkeypatch: pytest.MonkeyPatch,
    policy: str,
) -> None:
    """From the run's folder alone, by any interpreter; status 5 where the run must not start."""
    folder = write(launch_of(*SLURM, f"site.preflight.policy={policy}"))
    monkeypatch.setenv("SLURMD_NODENAME", "node7")
    words = [sys.executable, "-I", "-c", "import sys; sys.path.insert(0, '.')\n" + RUN]
    done = subprocess.run([*words, "1", "node7", "localhost", "0"], cwd=folder)

    found = json.loads((folder / "logs" / "node7" / "preflight.json").read_text())
    word = (folder / "control" / "preflight" / "node7").read_text().splitlines()[0]
    assert found["verdict"] == "stop" and found["findings"][0]["check"] == "gpu_count"
    assert word.startswith("stop nvidia-smi does not answer")
    assert done.returncode == (5 if policy == "stop" else 0)


RUN = "import runpy; sys.argv[0] = 'preflight'; runpy.run_module('preflight', run_name='__main__')"


TORCH = """
import json, os, sys, time
sys.exit("RuntimeError: CUDA error: ECC") if os.environ["RANK"] == "1" else time.sleep(60)
"""


def test_a_rank_that_fails_is_told_with_its_last_word(
    launch_of: Callable[..., Launch], write: Callable[[Launch], Path], tmp_path: Path
) -> None:
    """The others are not waited for."""
    words = (*SLURM, "gpus=2", "cluster=hgx-h100-ib", "site.preflight.depth=burn")
    folder = write(launch_of(*words))
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(TORCH)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "SLURM_PROCID": "0"}
    environment["SLURMD_NODENAME"] = "node7"
    command = [sys.executable, "-m", "preflight.measure", "1", "localhost", "29711"]
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=180)

    found = json.loads((folder / "logs" / "node7" / "measured.json").read_text())
    assert found["verdict"] == "stop"
    says = "measuring on GPU 1 ended with status 1: RuntimeError: CUDA error: ECC"
    assert [each["says"] for each in found["findings"] if each["level"] == "stop"] == [says]
