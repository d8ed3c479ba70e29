"""The first node answers the others at the address where the ranks will meet, with its time."""

from __future__ import annotations

import socket
import struct
import threading
import time
from typing import NamedTuple

TIME = struct.Struct("!d")


class Answer(NamedTuple):
    """What a node has learnt of the first one."""

    reached: bool
    """It has answered."""
    ahead_seconds: float | None
    """How far this node's clock is before the first one's."""


def serve(port: int) -> None:
    """Tell everybody who asks the time, beside what this process does, until it ends."""
    listener = socket.socket(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET)
    if socket.has_dualstack_ipv6():
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", port))
    listener.listen(4096)
    threading.Thread(target=_answer, args=(listener,), daemon=True).start()


def _answer(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(5)
            try:
                connection.recv(1)
                connection.sendall(TIME.pack(time.time()))
                connection.recv(1)  # the other end closes first: the port is free at once
            except OSError:
                pass


def ask(address: str, port: int, seconds: float) -> Answer:
    """Ask the first node, again and again until ``seconds`` are over: it may start later."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with socket.create_connection((address, port), timeout=5) as connection:
                begin = time.time()
                connection.sendall(b"?")
                theirs = TIME.unpack(_all(connection))[0]
                return Answer(True, (begin + time.time()) / 2 - theirs)
        except (OSError, struct.error):
            time.sleep(0.2)
    return Answer(False, None)


def _all(connection: socket.socket) -> bytes:
    said = b""
    while len(said) < TIME.size:
        more = connection.recv(TIME.size - len(said))
        if not more:
            break
        said += more
    return said
