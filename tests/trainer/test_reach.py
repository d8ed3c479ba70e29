"""A node that the network has lost is told from those that miss it."""

from __future__ import annotations

import time

import pytest

from llmtrain.trainer import reach
from llmtrain.trainer.reach import View

ALONE = View(missed=("n0", "head"))
"""What the second of two nodes sees without its cable."""


@pytest.mark.parametrize(
    ("views", "lost"),
    [
        ({"n0": View(met=("n1", "head")), "n1": View(met=("n0", "head"))}, ()),
        ({"n0": View(met=("head",), missed=("n1",)), "n1": ALONE}, ("n1",)),
        # Its reports do not come through either.
        ({"n0": View(met=("head",), missed=("n1",))}, ("n1",)),
        ({"n0": View(met=("n2",), missed=("n1",)), "n2": View(met=("n0",))}, ("n1",)),
        # Two nodes, and no third: only a link can tell.
        ({"n0": View(missed=("n1",)), "n1": View(missed=("n0",))}, ()),
        ({"n0": View(missed=("n1",)), "n1": View(missed=("n0",), down=("eth0",))}, ("n1",)),
        (
            {
                "n0": View(missed=("n1",), down=("eth0",)),
                "n1": View(missed=("n0",), down=("eth0",)),
            },
            (),
        ),
        # Nothing is missed, so the link is not what the run used.
        ({"n0": View(met=("n1",)), "n1": View(met=("n0",), down=("docker0",))}, ()),
        # The host from which the job came is no node; halves that see themselves are a tie.
        ({"n0": View(met=("n1",), missed=("head",)), "n1": View(met=("n0",))}, ()),
        (
            {
                "n0": View(met=("n1",), missed=("n2", "n3")),
                "n2": View(met=("n3",), missed=("n0", "n1")),
            },
            (),
        ),
        # Refused by a firewall everywhere, but one way.
        ({"n0": View(missed=("n1",)), "n1": View(met=("n0",))}, ()),
        ({}, ()),
    ],
)
def test_who_is_cut_off(views: dict[str, View], lost: tuple[str, ...]) -> None:
    """Who nobody met while others met; on a tie nobody, but for a link that is down."""
    assert reach.cut_off(["n0", "n1", "n2", "n3"], views.items()) == lost


def test_whom_a_node_tries() -> None:
    """The eight after it in a ring, and the host whence the job came; nobody where it is alone."""
    nodes = [f"n{number:02d}" for number in range(20)]
    came = {"SLURM_SUBMIT_HOST": "head"}

    assert reach.hosts_to_try("n18", nodes, came) == (
        *("n19", "n00", "n01", "n02", "n03", "n04", "n05", "n06", "head"),
    )
    assert reach.hosts_to_try("a", ["a", "b"], {"SLURM_SUBMIT_HOST": "b"}) == ("b",)
    assert reach.hosts_to_try("a", ["a"], came) == ()


def test_a_look_is_bounded() -> None:
    """A host is met, whether or not it listens; one that nobody knows is missed."""
    begun = time.monotonic()
    view = reach.look(["127.0.0.1", "no-such-host.invalid"], ["lo", "no-such-link"])

    assert view == View(
        met=("127.0.0.1",), missed=("no-such-host.invalid",), down=("no-such-link",)
    )
    assert time.monotonic() - begun < reach.SECONDS + 5


def test_the_links_of_this_machine() -> None:
    """The loopback's is always up."""
    assert "lo" in reach.running_links()
