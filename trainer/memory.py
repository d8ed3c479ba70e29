"""The most bytes that the tensors of a rank took at one time."""

import gc
from itertools import accumulate
from typing import Any, Protocol

import torch
from torch.autograd import profiler

from llmtrain.trainer.device import Device

MEASURED = 3
"""Readings for which allocations are followed on a CPU, from the start: a step like the others is
then among them (the first makes the optimizer's state). Following costs time."""

TRIED = 9
"""Readings at the most: of what other threads free, the profiler sometimes misses a part."""

SLACK = 0.01
"""Share of the bytes there are that a reading may end with too many."""


class Memory(Protocol):
    """What is asked of either kind."""

    def peak(self) -> int:
        """Most bytes since it was asked last."""
        ...

    def close(self) -> None:
        """Follow no longer."""
        ...


def memory(device: Device) -> Memory:
    """The kind for ``device``."""
    return DeviceMemory(device) if device.cuda else HostMemory()


class DeviceMemory:
    """On a GPU: what torch's allocator counts."""

    def __init__(self, device: Device) -> None:
        """From now on."""
        self._device = device.torch
        torch.cuda.reset_peak_memory_stats(self._device)

    def peak(self) -> int:
        """Most bytes since it was asked last."""
        most = torch.cuda.max_memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        return most

    def close(self) -> None:
        """Nothing: counting costs nothing."""


class HostMemory:
    """On a CPU: the tensors there are, and every allocation that torch's profiler reports.

    After :data:`MEASURED` readings that can be trusted the highest of them is repeated.
    """

    def __init__(self) -> None:
        """From now on."""
        self._before = self._most = 0
        self._left, self._tries = MEASURED, TRIED
        self._profiler: Any = None
        self._follow(living_bytes())

    def peak(self) -> int:
        """Most bytes that were ever there."""
        if self._profiler is not None:
            there = living_bytes()
            self._left -= self._read(there)
            self._tries -= 1
            if self._left and self._tries:
                self._follow(there)
        return self._most

    def close(self) -> None:
        """Follow no longer."""
        if self._profiler is not None:
            self._read(living_bytes())

    def _follow(self, there: int) -> None:
        self._before = there
        self._most = max(self._most, there)
        self._profiler = profiler.profile(use_kineto=True, profile_memory=True)
        self._profiler.__enter__()

    def _read(self, there: int) -> bool:
        """End the reading; whether it ends with what is there."""
        self._profiler.__exit__(None, None, None)
        events = self._profiler.kineto_results.events()
        self._profiler = None
        sizes = [event.nbytes() for event in events if event.name() == "[memory]"]
        amounts = list(accumulate(sizes, initial=self._before))
        trusted: bool = amounts[-1] <= (1 + SLACK) * there
        self._most = max(self._most, *amounts if trusted else (there,))
        return trusted


def living_bytes() -> int:
    """Bytes of the storages of all tensors that Python knows, and of their gradients."""
    sizes: dict[int, int] = {}
    # By the type alone: looking at attributes would wake up what other libraries load late.
    for tensor in (thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)):
        for each in (tensor, tensor.grad if tensor.is_leaf else None):
            if each is not None and each.device.type == "cpu" and each.layout == torch.strided:
                storage = each.untyped_storage()
                sizes[storage.data_ptr()] = storage.nbytes()
    return sum(sizes.values())
