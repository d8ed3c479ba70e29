"""Which nodes the network has lost, asked when the ranks of a run get no further.

Each rank tries a few other nodes, and the host from which the job was submitted, at the port of
ssh: that nobody listens there is an answer too. A node is named when nobody met it while others met
each other; where all missed each other, when its own link is down and others' are not.
"""

import fcntl
import os
import socket
import struct
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Thread

SECONDS = 2.0
"""How long an answer may take."""
NEIGHBOURS = 8
"""Nodes that each one tries: those after it, the first one after the last."""
PORT = 22
"""Any would do."""
ASK_FLAGS, RUNS = 0x8913, 0x40
"""SIOCGIFFLAGS and IFF_RUNNING, of Linux' linux/sockios.h and linux/if.h."""


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """What one node sees of the network."""

    met: tuple[str, ...] = ()
    """Hosts that have answered."""
    missed: tuple[str, ...] = ()
    """Hosts that have not."""
    down: tuple[str, ...] = ()
    """Its own interfaces whose link was up when the run began."""


def running_links() -> tuple[str, ...]:
    """This node's interfaces whose link is up; none where the system cannot be asked."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            try:
                request = struct.pack("256s", name.encode()[:15])
                answer = fcntl.ioctl(asked, ASK_FLAGS, request)
            except OSError:
                continue
            if struct.unpack_from("H", answer, 16)[0] & RUNS:
                found.append(name)
    return tuple(found)


def hosts_to_try(
    node: str, nodes: Collection[str], environ: Mapping[str, str] = os.environ
) -> tuple[str, ...]:
    """The nodes after ``node``, and whence the job came; none where there is one node."""
    ring = sorted({*nodes, node})
    at = ring.index(node) + 1
    after = (ring[at:] + ring[: at - 1])[:NEIGHBOURS]
    third = environ.get("SLURM_SUBMIT_HOST", node)
    return (*after, third) if after and third not in (node, *after) else tuple(after)


def look(hosts: Sequence[str], links: Sequence[str]) -> View:
    """Try ``hosts`` at once, for a bounded time; ``links`` were up when the run began."""
    met: list[str] = []
    # Resolving a name may take longer than all of it, so nobody waits for the end of a thread.
    tries = [Thread(target=_meet, args=(host, met), daemon=True) for host in hosts]
    for each in tries:
        each.start()
    end = time.monotonic() + SECONDS
    for each in tries:
        each.join(max(0.0, end - time.monotonic()))
    answered = tuple(host for host in hosts if host in tuple(met))
    missed = tuple(host for host in hosts if host not in answered)
    up = running_links()
    return View(met=answered, missed=missed, down=tuple(link for link in links if link not in up))


def _meet(host: str, met: list[str]) -> None:
    try:
        socket.create_connection((host, PORT), timeout=SECONDS).close()
    except (ConnectionRefusedError, ConnectionResetError):
        pass
    except OSError:
        return
    met.append(host)


def cut_off(nodes: Collection[str], views: Iterable[tuple[str, View]]) -> tuple[str, ...]:
    """Those of ``nodes`` that the network has lost, from what others and they themselves see.

    None where nothing tells them from the rest.
    """
    seen = tuple(views)
    met = {host for node, view in seen if view.met for host in (node, *view.met)}
    missed = {host for node, view in seen if view.missed for host in (node, *view.missed)}
    lost = missed & set(nodes) - met if met else set()
    if not lost and missed:
        down = {node for node, view in seen if view.down}
        lost = down if down < {node for node, _ in seen} else set()
    return tuple(sorted(lost))
