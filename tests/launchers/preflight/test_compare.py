"""Nodes beside each other: versions, clocks, the way to the first, and what was measured."""

import time
from pathlib import Path
from typing import Any

import pytest

from llmtrain.config.compose import compose
from llmtrain.launchers.preflight.compare import Report, compare
from llmtrain.launchers.preflight.figures import Figures, judge_figures
from llmtrain.launchers.preflight.finding import Finding
from llmtrain.launchers.preflight.gpus import read_gpus
from llmtrain.launchers.preflight.machine import Machine
from llmtrain.launchers.preflight.measure import blamed
from llmtrain.launchers.preflight.meeting import ask, serve
from llmtrain.launchers.preflight.versions import read_versions
from llmtrain.launchers.screening import limits, promise_of
from tests.launchers.preflight.conftest import put

VERSIONS = {"driver": "550.54.15", "torch": "2.7.0", "kernel": "5.15.0"}


def report(node: str, ahead: float | None = 0.0, reached: bool = True, **versions: str) -> Report:
    """Of a node that agrees, but for ``versions``."""
    return Report(node, VERSIONS | versions, ahead, reached)


def bad(found: dict[str, list[Finding]]) -> dict[str, dict[str, str]]:
    """Levels of what did not pass, by node."""
    levels = {
        node: {each.check: each.level for each in more if each.level != "pass"}
        for node, more in found.items()
    }
    return {node: each for node, each in levels.items() if each}


def test_nodes_that_agree() -> None:
    """Nothing is said of them."""
    assert bad(compare([report("a"), report("b", 0.4)], limits())) == {}


def test_the_node_with_another_version_is_named() -> None:
    """What most have is right; of as many, what the first has."""
    odd = report("c", torch="2.6.0")
    found = compare([report("a"), report("b"), odd], limits())

    assert bad(found) == {"c": {"same_torch": "stop"}}
    assert found["c"][0].says == "torch 2.6.0, on 2 of 3 nodes 2.7.0"
    assert bad(compare([report("a"), odd], limits())) == {"c": {"same_torch": "stop"}}
    kernel = report("d", kernel="5.15.1")
    assert bad(compare([report("a"), kernel], limits())) == {"d": {"same_kernel": "warn"}}


def test_clocks_are_held_against_most_of_the_others() -> None:
    """Where the first node's own is wrong, it is that one's."""
    one = [report("a"), report("b", 0.1), report("c", -3.0)]
    first = [report("a"), report("b", 9.0), report("c", 9.1)]

    assert bad(compare(one, limits())) == {"c": {"clocks_apart": "warn"}}
    assert bad(compare(first, limits())) == {"a": {"clocks_apart": "warn"}}


def test_the_first_node_must_be_reached() -> None:
    """Where most do not reach it, it is that one's fault."""
    lost = [report(node, None, False) for node in "bcd"]

    assert bad(compare([report("a"), report("e"), lost[0]], limits())) == {
        "b": {"first_node": "stop"}
    }
    assert bad(compare([report("a"), *lost], limits())) == {"a": {"first_node": "stop"}}


def test_the_first_node_tells_the_time() -> None:
    """Its clock is compared over the network; a port where nobody answers is not reached."""
    # Below what the kernel gives to others.
    nobody = ask("127.0.0.1", 29714, 0.3)
    serve(29715)
    answer = ask("127.0.0.1", 29715, 5)

    assert not nobody.reached
    assert answer.reached and answer.ahead_seconds is not None
    assert abs(answer.ahead_seconds) < 0.5


PROMISE = promise_of(compose(["recipe=llama2-7b", "cluster=hgx-h100-ib"]).cluster, room={})
NODES = ("a", "b", "c", "d")


def measured(node: str, **changes: Any) -> Figures:
    """A node as it should be, in a job of four."""
    place = NODES.index(node)
    beside = (NODES[place - 1], NODES[(place + 1) % 4])
    good = Figures(
        node=node,
        gemm={str(gpu): 770.0 for gpu in range(8)},
        bus_node=470.0,
        bus_pairs={other: 375.0 for other in beside},
        bus_all=380.0,
        error="",
    )
    return good._replace(**changes)


def test_figures_as_they_should_be() -> None:
    """Pass."""
    assert bad(judge_figures([measured(node) for node in NODES], PROMISE)) == {}


@pytest.mark.parametrize(
    ("changes", "checks"),
    [
        ({"gemm": {"0": 770.0, "1": 700.0}}, {"gemm": "stop", "gemm_beside": "stop"}),
        ({"bus_node": 360.0}, {"bus_node": "stop", "bus_node_beside": "stop"}),
        ({"bus_node": 430.0}, {"bus_node": "stop"}),
        ({"bus_all": 200.0}, {"bus_all": "warn"}),
        ({"error": "GPU 3"}, {"measured": "stop"}),
    ],
)
def test_a_slow_node(changes: dict[str, Any], checks: dict[str, str]) -> None:
    """By the cluster's figure and beside the others; the whole job's rate is nobody's fault."""
    nodes = [measured(node, **(changes if node == "c" else {})) for node in NODES]

    assert bad(judge_figures(nodes, PROMISE)) == {"c": checks}


def test_a_slow_pair_is_the_fault_of_the_node_that_is_slow_in_both() -> None:
    """Its partners are fast with others."""
    slow = {("b", "c"), ("c", "d")}
    nodes = [
        measured(
            node,
            bus_pairs={
                other: 90.0 if {(node, other), (other, node)} & slow else 375.0
                for other in measured(node).bus_pairs
            },
        )
        for node in NODES
    ]

    found = bad(judge_figures(nodes, PROMISE))
    assert found == {"c": {"bus_pair": "stop", "bus_pair_beside": "stop"}}


def test_a_gpu_without_a_figure_is_held_against_the_others() -> None:
    """Of a GPU for which none is known, only the straggler is found."""
    promise = PROMISE._replace(gpu_name="B200", bus_gb_per_s=None, bus_node_gb_per_s=None)
    nodes = [measured(node) for node in "abd"]
    nodes.append(measured("c", gemm={"0": 770.0, "1": 600.0}))
    found = judge_figures(nodes, promise)

    stopped = {n: [e.check for e in each if e.level == "stop"] for n, each in found.items()}
    assert stopped == {"a": [], "b": [], "c": ["gemm_beside"], "d": []}


def test_on_a_cpu_figures_are_only_said() -> None:
    """Whatever they are."""
    promise = promise_of(compose(["recipe=gpt-tiny"]).cluster, room={})
    found = judge_figures([measured("a", gemm={"0": 0.05})], promise)

    assert bad(found) == {}
    assert found["a"][0].says == "50 GFLOP/s by rank"


def test_who_fails_first_is_blamed() -> None:
    """Those that end later, or hang, were taken along; where all hang, all are."""
    now = time.time()
    figures = [measured(node, error="ended") for node in "abc"]
    ends = {"a": (now + 2, False), "b": (now, False), "c": (now + 60, True)}
    reports = {node: {"ended": end, "hung": hung} for node, (end, hung) in ends.items()}

    assert [each.error for each in blamed(figures, reports)] == ["", "ended", ""]
    hung = {node: {"ended": now, "hung": True} for node in "abc"}
    assert [each.error for each in blamed(figures, hung)] == ["ended"] * 3


def test_what_the_nodes_of_a_fabric_share(tree: Path) -> None:
    """MTU of the interfaces that are up, and what NCCL's file sets: another one is a warning."""
    graphics = read_gpus(Machine(root=tree, run=lambda words: None))

    def versions() -> dict[str, str]:
        return read_versions(Machine(root=tree, run=lambda words: None), graphics)

    usual = versions()
    put(tree, "sys/class/net/ib5/mtu", "2044")
    put(tree, "sys/class/net/ib5/operstate", "down")
    assert versions() == usual and usual["mtu"] == "4092"

    put(tree, "sys/class/net/ib5/operstate", "up")
    put(tree, "etc/nccl.conf", "# a comment\nNCCL_NET = Socket\n")
    reports = [Report(node, usual, 0.0, True) for node in "ab"]
    found = compare([*reports, Report("c", versions(), 0.0, True)], limits())

    assert bad(found) == {"c": {"same_mtu": "warn", "same_nccl_conf": "warn"}}
    assert "nccl_conf NCCL_NET=Socket, on 2 of 3 nodes none" in {each.says for each in found["c"]}
