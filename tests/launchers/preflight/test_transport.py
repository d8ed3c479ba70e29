"""What NCCL chose, from its log, against what the cluster promises."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from llmtrain.config.compose import compose
from llmtrain.launchers.preflight.promise import Promise
from llmtrain.launchers.preflight.transport import judge_transport
from llmtrain.launchers.screening import promise_of

LOGS: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("nccl_logs.yaml").read_text())


def promise(cluster: str) -> Promise:
    """Of one of the clusters that ship."""
    return promise_of(compose(["recipe=llama2-7b", f"cluster={cluster}"]).cluster, room={})


@pytest.mark.parametrize("name", LOGS)
def test_logs_after_public_ones(name: str) -> None:
    """The right fabric passes; another one stops the run, with the reason and the variables."""
    each = LOGS[name]
    found = judge_transport(each["log"], promise(each["cluster"]))

    assert {f.check: f.level for f in found if f.level != "pass"} == each["finds"]
    assert each.get("says", "") in found[0].says


def test_every_fabric_between_nodes_is_known() -> None:
    """No cluster that ships promises a fabric that would not be looked for."""
    there = promise("hgx-h100-ib")
    wanted = there.limits["transport"]["value"]

    assert set(wanted) == {"infiniband", "roce", "efa", "slingshot", "tcpx", "tcpxo"}
    assert judge_transport("Using network Socket", there._replace(network="loopback")) == []


def test_a_way_to_the_nics_that_the_log_does_not_name() -> None:
    """Is said to be not known, not to lead through the host."""
    found = judge_transport("NCCL INFO Using network IB\n", promise("hgx-h100-ib"))

    (direct,) = (each for each in found if each.check == "gpu_direct")
    assert direct.level == "unknown" and "not known" in direct.says
