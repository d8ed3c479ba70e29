"""Stored tensors as shapes: their numbers are never read."""

from dataclasses import dataclass
from typing import Any

REBUILD = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3")
"""Functions of ``torch._utils`` that a stored tensor calls."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Storage:
    """Where a tensor's numbers lie."""

    kind: str
    """Name of its class, for example ``FloatStorage``."""
    key: str
    """Name of the record in the .pt file."""
    count: int
    """Numbers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tensor:
    """A stored tensor without its numbers."""

    shape: tuple[int, ...]
    """Of the tensor."""
    storage: Storage
    """Where its numbers are."""


DTYPES = {
    "FloatStorage": ("float32", 4),
    "DoubleStorage": ("float64", 8),
    "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "LongStorage": ("int64", 8),
    "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2),
    "CharStorage": ("int8", 1),
    "ByteStorage": ("uint8", 1),
    "BoolStorage": ("bool", 1),
}
"""torch's dtype and the bytes of a number (torch/storage.py, ``_dtype_to_storage_type_map``)."""


def rebuilt(storage: Any, offset: int, shape: Any, *more: Any) -> Tensor | None:
    """What ``torch._utils`` makes of a storage: here its shape."""
    return Tensor(shape=tuple(shape), storage=storage) if isinstance(storage, Storage) else None
