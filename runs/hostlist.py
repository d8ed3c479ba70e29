"""Slurm's lists of nodes: ``n[1-3,07],gpu4`` names five."""

import re
from collections.abc import Iterator
from itertools import product
from math import prod

MOST = 65536
"""Nodes of one list; as many as Slurm takes."""


def expand(text: str) -> tuple[str, ...]:
    """Every node that ``text`` names, once; figures keep the zeros they begin with.

    As ``scontrol show hostnames`` does it (Slurm's ``src/common/hostlist.c``), which is not there
    on every machine that reads a list.

    Raises:
        ValueError: if it names none, or a name is none of a node.
    """
    names = [name for word in _words(text) for name in _names(word)]
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9_][\w.-]*", name, re.ASCII):
            raise ValueError(f"{name!r} is no name of a node")
    if not names:
        raise ValueError(f"{text!r} names no node")
    return tuple(dict.fromkeys(names))


def _words(text: str) -> Iterator[str]:
    """What stands between the commas, but for those in brackets."""
    for word in re.findall(r"(?:\[[^\]]*\]|[^,])+", text):
        if word.strip():
            yield word.strip()


def _names(word: str) -> Iterator[str]:
    parts = [
        tuple(_figures(part[1:-1])) if part.startswith("[") and part.endswith("]") else (part,)
        for part in re.findall(r"\[[^\]]*\]|\[.*|[^\[]+", word)
    ]
    many = prod(map(len, parts))
    if many > MOST:
        raise ValueError(f"{word!r} is {many} nodes; {MOST} at most")
    yield from map("".join, product(*parts))


def _figures(inside: str) -> Iterator[str]:
    for each in inside.split(","):
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", each.strip(), re.ASCII)
        first, last = (found[1], found[2] or found[1]) if found else ("1", "0")
        if int(last) < int(first):
            raise ValueError(f"[{inside}] is no range of nodes")
        if int(last) - int(first) >= MOST:
            raise ValueError(f"[{inside}] is more than {MOST} nodes")
        yield from (f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1))
