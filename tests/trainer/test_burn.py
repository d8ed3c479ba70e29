"""What the preflight measures, without a cluster."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmtrain.trainer import burn


@pytest.mark.parametrize("nodes", [2, 3, 4, 5, 8])
def test_every_node_meets_others(nodes: int) -> None:
    """Once or twice, never the same one twice, never two at a time."""
    turns = list(burn.pairs(nodes))
    partners: dict[int, list[int]] = {node: [] for node in range(nodes)}
    for turn in turns:
        busy = [node for pair in turn for node in pair]
        assert len(busy) == len(set(busy))
        for one, other in turn:
            partners[one].append(other)
            partners[other].append(one)

    assert all(1 <= len(each) == len(set(each)) <= 2 for each in partners.values())
    assert list(burn.pairs(1)) == []


def test_four_ranks_on_two_nodes_of_this_machine() -> None:
    """Each tells its products, the first of each node its all-reduces."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29713", "WORLD_SIZE": "4"}
    ranks = [
        subprocess.Popen(
            [sys.executable, str(burn.__file__), "cpu", "burn", "2", "2"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank % 2)},
        )
        for rank in range(4)
    ]
    told = [list(said(rank)) for rank in ranks]

    assert told[0] == told[2] == ["gemm", "bus_node", "bus_pair", "bus_all"]
    assert told[1] == told[3] == ["gemm"]


def said(rank: "subprocess.Popen[str]") -> Iterator[str]:
    """What one rank told, which must end well."""
    out, _ = rank.communicate(timeout=120)
    assert rank.returncode == 0
    for line in out.splitlines():
        found = json.loads(line)
        assert found["value"] > 0
        yield str(found["figure"])


def test_it_needs_only_torch() -> None:
    """Nodes may have no llmtrain."""
    lines = Path(str(burn.__file__)).read_text(encoding="utf-8").splitlines()
    imported = {
        line.split()[1].split(".")[0] for line in lines if line.startswith(("import", "from"))
    }

    assert imported - set(sys.stdlib_module_names) == {"torch"}
