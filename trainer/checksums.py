"""SHA256SUMS of a checkpoint: made while its files are written, compared before they are read."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

SUMS = "SHA256SUMS"
"""The file; ``sha256sum -c SHA256SUMS`` in the checkpoint's folder checks it too."""

READ_BYTES = 4 << 20
"""Read at once by :func:`digest`."""


class Summed:
    """A file that is written, and the SHA-256 of what went into it."""

    def __init__(self, file: BinaryIO) -> None:
        """Over an open, empty file."""
        self._file, self._digest, self._offset = file, hashlib.sha256(), 0
        self.error: OSError | None = None
        """Why something could not be written."""

    def write(self, data: bytes | memoryview) -> int:
        """Append ``data``."""
        try:
            written = self._file.write(data)
        except OSError as error:
            self.error = error
            raise
        self._digest.update(data)
        self._offset += written
        return written

    def tell(self) -> int:
        """Bytes written so far."""
        return self._offset

    def flush(self) -> None:
        """Hand everything to the operating system."""
        self._file.flush()

    def fileno(self) -> int:
        """The file's descriptor."""
        return self._file.fileno()

    def close(self) -> None:
        """Nothing: who opened the file closes it."""

    def hexdigest(self) -> str:
        """The checksum of all that was written."""
        return self._digest.hexdigest()


@contextmanager
def summed(path: Path, sums: dict[str, str]) -> Iterator[Summed]:
    """Write ``path``; when it is on the disk, its checksum is in ``sums`` under its name."""
    with path.open("wb") as file:
        stream = Summed(file)
        try:
            yield stream
        except Exception as error:
            # torch.save says only that it stopped in the middle.
            raise stream.error or error from None
        file.flush()
        os.fsync(file.fileno())
    sums[path.name] = stream.hexdigest()


def write_sums(folder: Path, sums: Mapping[str, str]) -> None:
    """Write the file; the last one of a checkpoint."""
    text = "".join(f"{value}  {name}\n" for name, value in sorted(sums.items()))
    with summed(folder / SUMS, {}) as stream:
        stream.write(text.encode())


def read_sums(folder: Path) -> dict[str, str]:
    """Checksums by file name; empty where there are none, or the file is no such list."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (line.partition("  ") for line in lines)
    return {name: value for value, gap, name in pairs if gap}


def damage(folder: Path, name: str, expected: str) -> str | None:
    """What is wrong with one file; None if nothing is."""
    try:
        found = digest(folder / name)
    except FileNotFoundError:
        return f"{name} is missing"
    except OSError as error:
        return f"{name} cannot be read: {error.strerror}"
    return None if found == expected else f"{name} is not what was written (SHA-256 differs)"


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            found.update(block)
    return found.hexdigest()
