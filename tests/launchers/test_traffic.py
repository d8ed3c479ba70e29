"""The order of nodes on switches, against every pair of ranks that talk, counted one by one."""

import os
import random
import re
import subprocess
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from llmtrain.launchers.shell import package_text
from llmtrain.launchers.traffic import edges
from llmtrain.planner.explain.explanation import explanation
from llmtrain.planner.plan import Plan

STAND_IN = """#!/usr/bin/env python3
import os, sys
if sys.argv[2] == "topology":
    print(open(os.environ["TOPOLOGY"]).read(), end="")
else:
    print(sys.argv[3].replace(",", "\\n"))
"""
FORMS = {
    "tree": "SwitchName={name} Level=0 LinkSpeed=1 Nodes={nodes}\n",
    "block": "BlockName={name} BlockIndex=0 Nodes={nodes} BlockSize=18\n",
}
"""As Slurm's topology/tree and topology/block print them."""


def crossing_bytes(plan: Plan, order: Sequence[str], leaf: dict[str, str]) -> float:
    """What a step sends from one leaf to another: a ring for dp, the chain of stages for pp."""
    world = plan.nodes * plan.ranks_per_node
    places = {
        rank: {axis.name: rank // axis.stride % axis.size for axis in plan.axes}
        for rank in range(world)
    }
    ranks = {tuple(sorted(place.items())): rank for rank, place in places.items()}
    bytes_of = {
        each.axis: each.edge_bytes
        / min(plan.ranks_per_node, next(a.stride for a in plan.axes if a.name == each.axis))
        for each in edges(plan)
    }
    sizes = {axis.name: axis.size for axis in plan.axes}
    total = 0.0
    for rank, place in places.items():
        for axis, size in bytes_of.items():
            last = place[axis] == sizes[axis] - 1
            if last and axis == "pp" and plan.recipe.parallel.vpp == 1:
                continue
            following = {**place, axis: (place[axis] + 1) % sizes[axis]}
            other = ranks[tuple(sorted(following.items()))]
            nodes = (order[each // plan.ranks_per_node] for each in (rank, other))
            total += size if len({leaf[node] for node in nodes}) == 2 else 0
    return total


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("changes", [(), ("parallel.vpp=1", "parallel.order=tp-cp-ep-pp-dp")])
def test_the_bytes_that_are_told_are_those_between_leaves(
    plan_of: Callable[..., Plan], tmp_path: Path, form: str, changes: tuple[str, ...]
) -> None:
    """Before and after; nodes of a leaf lie beside each other then, and none is lost."""
    plan = plan_of("recipe=gpt3-530b", "gpus=1120", "batch.global=1120", *changes)
    hosts = [f"n{number:03}" for number in range(plan.nodes)]
    leaf = {host: random.Random(host).choice("abcdef") for host in hosts}
    grouped = {name: [host for host in hosts if leaf[host] == name] for name in "abcdef"}
    topology = tmp_path / "topology"
    topology.write_text(
        "".join(FORMS[form].format(name=k, nodes=",".join(v)) for k, v in grouped.items())
    )
    (tmp_path / "scontrol").write_text(STAND_IN)
    (tmp_path / "scontrol").chmod(0o755)
    lines = " ".join(f"{e.stride}:{e.size}:{int(e.ring)}:{e.edge_bytes}" for e in edges(plan))
    script = f"edges='{lines}'\nhosts=({' '.join(hosts)})\n{package_text('nodes.sh')}\nby_switch"
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TOPOLOGY": str(topology)}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True)

    order = done.stdout.split()
    assert sorted(order) == hosts
    assert sum(leaf[one] != leaf[two] for one, two in pairwise(order)) == 5
    told = re.search(
        r"6 leaf switches: ([\d.]+) MB a step cross them, not ([\d.]+) MB", done.stderr
    )
    assert told, done.stderr
    expected = [crossing_bytes(plan, each, leaf) / 1e6 for each in (order, hosts)]
    assert [float(number) for number in told.groups()] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["gpt3-530b", "llama3-405b", "bloom-176b"])
def test_stages_send_the_messages_that_the_plan_counts(
    plan_of: Callable[..., Plan], name: str
) -> None:
    """Of every rank of a node, forward and backward; the planner has them from elsewhere."""
    plan = plan_of(f"recipe={name}")
    told = explanation(plan, "breakdown.pipeline").numbers
    sent = {each.axis: each.edge_bytes for each in edges(plan)}

    messages = 2 * told["micro-batches"] * told["vpp"] * plan.ranks_per_node
    assert sent["pp"] == messages * told["bytes of a message"]


def test_keys_and_values_go_round_as_the_plan_counts(plan_of: Callable[..., Plan]) -> None:
    """Of a ring of 16 ranks on two nodes: once forward, with their gradients backward."""
    plan = plan_of("recipe=llama3-8b", "gpus=64", "parallel.cp=16", "parallel.pp=1")
    told = explanation(plan, "breakdown.context_parallel").numbers
    sent = {each.axis: each.edge_bytes for each in edges(plan)}

    hops = 3 * (told["cp"] - 1) * told["micro-batches"] * plan.recipe.model.layers
    ranks = min(plan.ranks_per_node, next(a.stride for a in plan.axes if a.name == "cp"))
    assert sent["cp"] == hops * told["bytes of keys and values"] * ranks


def test_replicas_send_the_gradients_that_the_plan_counts(plan_of: Callable[..., Plan]) -> None:
    """In a ring, of the stage with the most; positions, which the planner's lack, are 2 %."""
    plan = plan_of("recipe=gpt3-530b")
    told = explanation(plan, "breakdown.data_parallel").numbers
    sent = {each.axis: each.edge_bytes for each in edges(plan)}

    held = told["parameters of a rank's layers"] + told["of an embedding"]
    ring = 2 * (told["dp × cp"] - 1) / told["dp × cp"] * plan.ranks_per_node
    assert sent["dp"] == pytest.approx(ring * held * told["bytes of a gradient on the wire"], 0.03)
