"""How long a rank computes, without what it spends in collectives.

Every collective of torch goes through a method of ``ProcessGroup`` and, where it is waited for,
through ``Work.wait``. The time in these is taken off the time of the whole. On a GPU both are
taken from events on the stream that computes: a collective that overlaps the computation then
costs nothing, and one that is waited for costs the wait.
"""

import functools
import time
from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.distributed as dist

from llmtrain.trainer.device import Device

CALLS = (
    "_allgather_base",
    "_reduce_scatter_base",
    "allgather",
    "allgather_coalesced",
    "allgather_into_tensor_coalesced",
    "allreduce",
    "allreduce_coalesced",
    "alltoall",
    "alltoall_base",
    "barrier",
    "broadcast",
    "gather",
    "recv",
    "recv_anysource",
    "reduce",
    "reduce_scatter",
    "reduce_scatter_tensor_coalesced",
    "scatter",
    "send",
)
"""The methods of ``ProcessGroup`` that communicate."""


class Clock(Protocol):
    """Takes the time of spans."""

    def mark(self) -> Any:
        """Now."""
        ...

    def begin(self) -> Any:
        """Now; spans before do not count."""
        ...

    def add(self, start: Any) -> None:
        """A span in a collective, from ``start`` until now."""
        ...

    def compute_seconds(self, start: Any) -> float:
        """From ``start`` until now, without the spans."""
        ...


class HostClock:
    """Where the call that computes returns when it has computed."""

    def __init__(self) -> None:
        """No spans yet."""
        self._waited = 0.0

    def mark(self) -> float:
        """Now."""
        return time.perf_counter()

    def begin(self) -> float:
        """Now; spans before do not count."""
        self._waited = 0.0
        return self.mark()

    def add(self, start: float) -> None:
        """A span in a collective."""
        self._waited += time.perf_counter() - start

    def compute_seconds(self, start: float) -> float:
        """Wall clock without the spans."""
        return time.perf_counter() - start - self._waited


class StreamClock:
    """On a GPU: events on the current stream."""

    def __init__(self) -> None:
        """No spans yet."""
        self._spans: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def mark(self) -> torch.cuda.Event:
        """An event that is now in the stream."""
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def begin(self) -> torch.cuda.Event:
        """Now; spans before do not count."""
        self._spans = []
        return self.mark()

    def add(self, start: torch.cuda.Event) -> None:
        """A span in a collective."""
        self._spans.append((start, self.mark()))

    def compute_seconds(self, start: torch.cuda.Event) -> float:
        """The stream's time without the spans; waits for the stream."""
        end = self.mark()
        end.synchronize()
        waited = sum(begin.elapsed_time(until) for begin, until in self._spans)
        return float(start.elapsed_time(end) - waited) / 1000


def clock(device: Device) -> Clock:
    """The clock for ``device``, told of every collective from now on."""
    found: Clock = StreamClock() if device.cuda else HostClock()
    for name in CALLS:
        setattr(dist.ProcessGroup, name, timed(getattr(dist.ProcessGroup, name), found))
    dist.Work.wait = timed(dist.Work.wait, found)  # type: ignore[method-assign]
    return found


def timed(call: Callable[..., Any], clock: Clock) -> Callable[..., Any]:
    """``call``, whose time is added to the clock."""

    @functools.wraps(call)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        start = clock.mark()
        try:
            return call(*args, **kwargs)
        finally:
            clock.add(start)

    return wrapped
