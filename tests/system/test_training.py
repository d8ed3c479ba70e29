"""gpt-tiny over two nodes of a real Slurm, in both shapes, and the probe beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.system.conftest import Bed

RECIPE = ("recipe=bed-tiny", "run.steps=4")


def losses(folder: Path) -> list[float]:
    """One for each step."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def test_two_nodes_train_through_the_script_with_the_losses_of_one_machine(bed: Bed) -> None:
    """One task a node with torchrun, one task a rank with srun, and this machine agree."""
    shapes = ("torchrun", "srun", "c10d")
    folders = {shape: bed.launch(shape, *RECIPE, f"site.launch={shape}") for shape in shapes[:2]}
    bed.llmtrain("run", *RECIPE, "site=none", "run.name=here", "cluster=local-cpu")
    here = next((bed.folder / "outputs").glob("here-*"))
    states = {shape: bed.wait(folder) for shape, folder in folders.items()}
    folders["c10d"] = bed.launch("c10d", *RECIPE, "site.launch=c10d")
    states["c10d"] = bed.wait(folders["c10d"])

    assert {shape: state["status"] for shape, state in states.items()} == dict.fromkeys(
        shapes, "finished"
    )
    expected = losses(here)
    assert len(expected) == 4
    for shape, folder in folders.items():
        assert losses(folder) == pytest.approx(expected, rel=1e-5), shape
        logs = sorted(path.name for path in folder.glob("logs/node*/rank-*.log"))
        assert logs == [f"rank-{rank}.log" for rank in range(4)]


def test_deepspeeds_engine_on_two_nodes(bed: Bed) -> None:
    """By torchrun and by srun, with the JSON of the plan: the losses of megatron-core alone.

    Their checkpoints are where the site wants them.
    """
    place = bed.folder / "big"
    place.mkdir()
    engine = ("backend=megatron-core+deepspeed", "optim.zero=2", f"site.checkpoints={place}")
    shapes = ("torchrun", "srun")
    folders = {
        shape: bed.launch(shape, *RECIPE, *engine, f"site.launch={shape}") for shape in shapes
    }
    bed.llmtrain("run", *RECIPE, "site=none", "run.name=here", "cluster=local-cpu")
    here = next((bed.folder / "outputs").glob("here-*"))

    for shape, folder in folders.items():
        assert bed.wait(folder)["status"] == "finished"
        assert losses(folder) == pytest.approx(losses(here), abs=1e-4), shape
        assert (folder / "checkpoints").resolve() == place / folder.name
        assert [path.name for path in (place / folder.name).iterdir()] == ["step-00000004"]


def test_the_environment_that_was_asked_for_is_on_every_node(bed: Bed, program: str) -> None:
    """The probe stores, for every node, each variable as asked and as it is."""
    folder = bed.launch("probe", "recipe=bed-program", program)
    assert bed.wait(folder)["status"] == "finished"

    asked = {each["name"]: each["value"] for each in json.loads((folder / "env.json").read_text())}
    probes = [json.loads(path.read_text()) for path in folder.glob("logs/*/environment.json")]
    assert len(probes) == 2 and len({probe["node"] for probe in probes}) == 2
    for probe in probes:
        assert probe["ok"]
        assert {each["name"]: each["effective"] for each in probe["variables"]} == asked


@pytest.mark.parametrize("shape", ["torchrun", "srun"])
def test_every_rank_gets_all_five_variables(bed: Bed, program: str, shape: str) -> None:
    """RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, and what the recipe asks for."""
    words = ("recipe=bed-program", program, "cluster.gpu_numa=[0,0]", f"site.launch={shape}")
    folder = bed.launch(shape, *words)
    assert bed.wait(folder)["status"] == "finished"

    said = [json.loads(_json_line(path)) for path in sorted(folder.glob("logs/*/rank-*.log"))]
    environ = sorted((each["environ"] for each in said), key=lambda each: int(each["RANK"]))
    five = ("RANK", "LOCAL_RANK", "WORLD_SIZE")
    assert [tuple(each[name] for name in five) for each in environ] == [
        ("0", "0", "4"),
        ("1", "1", "4"),
        ("2", "0", "4"),
        ("3", "1", "4"),
    ]
    assert len({(each["MASTER_ADDR"], each["MASTER_PORT"]) for each in environ}) == 1
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert 1024 < int(environ[0]["MASTER_PORT"]) < low
    assert environ[0]["MASTER_ADDR"] == environ[0]["SLURMD_NODENAME"]
    assert {each["NCCL_IB_HCA"] for each in environ} == {"=mlx5_0,mlx5_3"}
    # Both GPUs of the node: a rank that sees only its own cannot use CUDA IPC.
    assert {each["CUDA_VISIBLE_DEVICES"] for each in environ} == {"0,1"}
    assert "--exit-signal-handler" in said[0]["argv"]
    bound = "runs as: " if Path("/sys/devices/system/node/node0").exists() else "is not bound"
    assert all(bound in path.read_text() for path in folder.glob("logs/*/rank-*.log"))


def _json_line(path: Path) -> str:
    return next(line for line in path.read_text().splitlines() if line.startswith("{"))
