"""Ports of the fabric: each fault is found, by its own check, and the port is named."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from llmtrain.config.compose import compose
from llmtrain.launchers.preflight.checks import judge
from llmtrain.launchers.preflight.facts import read_facts
from llmtrain.launchers.preflight.machine import Machine
from llmtrain.launchers.screening import limits, promise_of
from tests.launchers.preflight.conftest import (
    PORT,
    Judge,
    bad,
    commands,
    put,
)

FILES = {
    "nic_count": ("/state", "1: DOWN"),
    "nic_rate_percent": ("/rate", "200 Gb/sec (4X HDR)"),
    "link_downed": ("/counters/link_downed", "7"),
    "symbol_error": ("/counters/symbol_error", "1"),
    "receive_errors": ("/counters/port_rcv_errors", "101"),
    "partition": ("/pkeys/0", "0x7fff"),
    "transmit_discards": ("/counters/port_xmit_discards", "1001"),
    "phys_state": ("/phys_state", "6: LinkErrorRecovery"),
}


@pytest.mark.parametrize("check", FILES)
def test_what_the_kernel_says_of_a_port(judged: Judge, tree: Path, check: str) -> None:
    """The port is named."""
    name, text = FILES[check]
    put(tree, PORT.format(5) + name, text)
    found = judged()

    assert bad(found) == {check: limits()[check]["level"]}
    assert "mlx5_5" in found[0].says


def test_a_port_that_nobody_needs(judged: Judge, tree: Path) -> None:
    """May be without a cable; where too few are active, its state says why."""
    for name, text in (
        ("link_layer", "InfiniBand"),
        ("state", "1: DOWN"),
        ("phys_state", "2: Polling"),
    ):
        put(tree, f"{PORT.format(8)}/{name}", text)
    assert bad(judged()) == {}

    put(tree, f"{PORT.format(5)}/state", "1: DOWN")
    assert bad(judged()) == {"nic_count": "stop", "phys_state": "warn"}


def test_ports_of_the_wrong_kind(judged: Judge, tree: Path) -> None:
    """Ethernet where InfiniBand is promised: both what there is and what is active fall short."""
    put(tree, PORT.format(5) + "/link_layer", "Ethernet")

    assert bad(judged()) == {"link_layer": "stop", "nic_count": "stop"}


def test_links_that_come_and_go(judged: Judge, tree: Path) -> None:
    """A change while the node is read; old losses, and those of other interfaces, count not."""
    lines = "[   60.5] mlx5_core 0000:52:00.0 ib5: Link down\n" * 9
    other = "[89999.5] igb 0000:01:00.0 eth0: Link is Down\n" * 9
    assert bad(judged({"dmesg": lines + other})) == {}

    counts = iter(("2", "4"))

    def run(words: Sequence[str]) -> str | None:
        if words == ("nvidia-smi", "-q"):
            put(tree, "sys/class/net/ib3/carrier_changes", next(counts))
        return commands().get(" ".join(words))

    cluster = compose(["recipe=llama2-7b", "cluster=hgx-h100-ib"]).cluster
    promise = promise_of(cluster, room={})
    assert bad(judge(read_facts(Machine(root=tree, run=run)), promise)) == {}
    found = judge(read_facts(Machine(root=tree, run=run)), promise)
    assert bad(found) == {"carrier": "warn"} and "ib3" in found[0].says


def test_roce(tree: Path) -> None:
    """An address of RoCE v2 that holds one of IPv4, and room for its packets."""
    promise = promise_of(compose(["recipe=llama2-7b", "cluster=hgx-h100-roce"]).cluster, room={})

    def found() -> dict[str, str]:
        machine = Machine(root=tree, run=lambda words: commands().get(" ".join(words)))
        return bad(judge(read_facts(machine), promise._replace(hcas=())))

    for number in range(8):
        put(tree, f"{PORT.format(number)}/link_layer", "Ethernet")
        for name, kind, address in (
            ("0", "IB/RoCE v1", "0000:0000:0000:0000:0000:ffff:0a00:0001"),
            ("1", "RoCE v2", "fe80:0000:0000:0000:0e42:a1ff:fe00:0001"),
            ("3", "RoCE v2", "0000:0000:0000:0000:0000:ffff:0a00:0001"),
        ):
            put(tree, f"{PORT.format(number)}/gid_attrs/types/{name}", kind)
            put(tree, f"{PORT.format(number)}/gids/{name}", address)
        put(tree, f"sys/class/net/ib{number}/mtu", "9000")
    assert found() == {}

    put(tree, f"{PORT.format(2)}/gid_attrs/types/3", "IB/RoCE v1")
    put(tree, "sys/class/net/ib4/mtu", "1500")
    assert found() == {"roce_gid": "warn", "net_mtu": "warn"}
