"""``llmtrain doctor`` on this machine."""

import json
from collections.abc import Callable
from typing import Any

Cli = Callable[..., Any]


def test_this_machine(cli: Cli) -> None:
    """It is what the quick start promises: a CPU."""
    done = cli("doctor", "recipe=gpt-tiny", "--json")
    found = json.loads(done.out)

    assert done.status == 0
    assert found["host"] == found["facts"]["host"]
    assert {"open_files", "clock_seconds"} <= {each["check"] for each in found["findings"]}
    assert cli("doctor").out.rstrip().endswith("checks passed")


def test_a_machine_that_is_not_what_was_promised(cli: Cli) -> None:
    """Status 5, what is missing, and the line to leave it out."""
    done = cli("doctor", "recipe=gpt3-530b", "cluster=hgx-h100-ib")
    found = json.loads(cli("doctor", "recipe=gpt3-530b", "cluster=hgx-h100-ib", "--json").out)

    assert done.status == 5
    assert "0 ports of 8 are InfiniBand" in done.out
    assert "--exclude=" in done.err
    assert "stop" in {each["level"] for each in found["findings"]}
