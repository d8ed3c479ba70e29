"""One rank's part of a checkpoint, written by a thread while training goes on."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import torch

from llmtrain.trainer.agreement import why
from llmtrain.trainer.checksums import summed


@dataclass(kw_only=True, slots=True)
class Part(ABC):
    """What one rank has to write, and how far it is. Each engine writes files of its own kind."""

    folder: Path
    """Where the files go."""
    small: dict[str, bytes]
    """Files whose bytes are there already; on the leading rank alone."""
    sums: dict[str, str] = field(default_factory=dict, init=False)
    """Checksums of the files that are written, by name."""
    error: str | None = field(default=None, init=False)
    """Why it could not be written."""
    thread: Thread | None = field(default=None, init=False)
    """Writes."""

    @abstractmethod
    def copy(self) -> None:
        """Take copies in host memory, which training does not change."""

    @abstractmethod
    def write_files(self) -> None:
        """Write the files of tensors, and let go of what was to be written."""

    @abstractmethod
    def tell(self) -> Any:
        """What :meth:`complete` must know of it on the leading rank; can be sent."""

    @abstractmethod
    def complete(self, told: list[Any]) -> None:
        """Write what can only be written when all parts are, on the leading rank."""

    def start(self) -> None:
        """Begin to write, from copies."""
        self.copy()
        self.thread = Thread(target=self.write, name="checkpoint", daemon=True)
        self.thread.start()

    @property
    def busy(self) -> bool:
        """Whether it is still being written."""
        return self.thread is not None and self.thread.is_alive()

    def wait(self) -> None:
        """Until it is written."""
        if self.thread is not None:
            self.thread.join()

    def write(self) -> None:
        """Write everything; how it went is in ``error``."""
        # The main thread asks for the error and tells the other ranks.
        try:
            for name, content in self.small.items():
                with summed(self.folder / name, self.sums) as stream:
                    stream.write(content)
            self.write_files()
        except OSError as error:
            self.error = why(error)
        except Exception as error:
            self.error = f"{type(error).__name__}: {error}"


def host_copy(tensor: torch.Tensor) -> torch.Tensor:
    """A copy in host memory; of a GPU's tensor complete only after a ``synchronize``."""
    # From pinned memory a GPU is copied at full speed.
    to = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=tensor.is_cuda)
    return to.copy_(tensor, non_blocking=True)
