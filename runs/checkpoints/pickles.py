"""Pickles and PyTorch's .pt files, read without running anything that they name.

A pickle names classes and functions and calls them. Here every name but those of plain containers
is an inert :class:`Named`: it is created, called and filled, and only remembers that. Tensors are
shapes; their numbers are never read.
"""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from llmtrain.runs.checkpoints.tensors import DTYPES, REBUILD, Storage, rebuilt


class Damage(Exception):
    """A file of a checkpoint is not whole; the message names it."""


class Named:
    """An object of a class that was not imported: its name, its arguments, its state."""

    named = ""
    """``module.name`` of the class."""

    def __new__(cls, *arguments: Any, **more: Any) -> "Named":
        """Whatever it is called with, one more inert object."""
        made = super().__new__(cls)
        made.arguments, made.state = arguments, more
        return made

    arguments: tuple[Any, ...]
    state: Any

    def __init__(self, *arguments: Any, **more: Any) -> None:
        """Nothing: ``__new__`` has done it."""

    def __setstate__(self, state: Any) -> None:
        """What the pickle says of the object."""
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """It was a kind of dict; nobody asks."""

    def append(self, value: Any) -> None:
        """It was a kind of list; nobody asks."""

    def extend(self, values: Any) -> None:
        """It was a kind of list; nobody asks."""

    def get(self, name: str) -> Any:
        """A field of a plain object or a dataclass, also one with slots; None: it has none."""
        parts = self.state if isinstance(self.state, tuple) else (self.state,)
        found = (part[name] for part in parts if isinstance(part, Mapping) and name in part)
        return next(found, None)


PLAIN: dict[tuple[str, str], Callable[..., Any]] = {
    ("builtins", "bytearray"): bytearray,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("collections", "OrderedDict"): OrderedDict,
}
"""The only names that mean what they say: types that a pickle cannot change."""


def _known() -> dict[tuple[str, str], Any]:
    # Functions made anew for each file: a pickle may set attributes on what it names.
    rebuild = {("torch._utils", name): lambda *given: rebuilt(*given) for name in REBUILD}
    return {**PLAIN, **rebuild, ("torch", "Size"): lambda shape=(): tuple(shape)}


class _Inert(pickle.Unpickler):
    """Imports nothing."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="utf-8", errors="replace")
        self._known = _known()

    def find_class(self, module: str, name: str) -> Any:
        found = self._known.get((module, name))
        if found is None:
            found = type(name, (Named,), {"named": f"{module}.{name}"})
            self._known[module, name] = found
        return found

    def persistent_load(self, identity: Any) -> Any:
        if not (isinstance(identity, tuple) and len(identity) == 5 and identity[0] == "storage"):
            return None
        kind = getattr(identity[1], "named", "").rpartition(".")[2]
        return Storage(kind=kind, key=str(identity[2]), count=int(identity[4]))


def read_pickle(path: Path) -> Any:
    """The content of a pickle, with inert objects.

    Raises:
        Damage: if it cannot be read to its end.
    """
    try:
        with path.open("rb") as file:
            return _Inert(file).load()
    except FileNotFoundError:
        raise Damage(f"{path.name} is missing") from None
    except Exception as error:
        raise Damage(f"{path.name} cannot be read: {_why(error)}") from error


def read_torch(path: Path) -> Any:
    """The content of a .pt file, tensors as :class:`Tensor`.

    Raises:
        Damage: if the file is cut, its pickle broken, or a tensor's record not what it says.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            record = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            with archive.open(record) as file:
                unpickler = _Checked(file, archive, record.removesuffix("data.pkl"))
                return unpickler.load()
    except FileNotFoundError:
        raise Damage(f"{path.name} is missing") from None
    except StopIteration:
        raise Damage(f"{path.name} is a zip file without data.pkl") from None
    except Damage as damage:
        raise Damage(f"{path.name}: {damage}") from None
    except Exception as error:
        raise Damage(f"{path.name} cannot be read: {_why(error)}") from error


class _Checked(_Inert):
    """Every storage must be in the archive, in the size that the pickle says."""

    def __init__(self, file: Any, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(file)
        self._archive, self._folder = archive, folder

    def persistent_load(self, identity: Any) -> Any:
        storage = super().persistent_load(identity)
        if isinstance(storage, Storage):
            size = self._archive.getinfo(f"{self._folder}data/{storage.key}").file_size
            _, width = DTYPES.get(storage.kind, ("", None))
            if width is not None and size != storage.count * width:
                says = f"tensor {storage.key} has {size} bytes, not {storage.count * width}"
                raise Damage(says)
        return storage


def require_whole(folder: Path, name: str) -> None:
    """See that a .pt file was written to its end; its tensors are not looked at.

    Raises:
        Damage: if it is missing or cut.
    """
    try:
        with zipfile.ZipFile(folder / name):
            return
    except FileNotFoundError:
        raise Damage(f"{name} is missing") from None
    except (OSError, zipfile.BadZipFile) as error:
        raise Damage(f"{name} cannot be read: {_why(error)}") from error


def _why(error: Exception) -> str:
    """A sentence for what Python says of broken files."""
    if isinstance(error, zipfile.BadZipFile):
        return "it is cut or changed (no whole zip file)"
    if isinstance(error, EOFError | pickle.UnpicklingError | KeyError | IndexError):
        return "it is cut or changed"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"it is cut or changed ({type(error).__name__})"
