"""A file that a command writes and that must not be there yet."""

from pathlib import Path

from llmtrain.config.errors import LaunchError


def write_new(file: Path, text: str) -> None:
    """Write ``text``.

    Raises:
        LaunchError: if the file is there already, or cannot be written.
    """
    try:
        target = file.open("x", encoding="utf-8")
    except FileExistsError:
        raise LaunchError(f"{file} exists already: nothing was written") from None
    except OSError as error:
        raise LaunchError(f"{file} cannot be written: {error.strerror}") from error
    try:
        with target:
            target.write(text)
    except OSError as error:
        file.unlink(missing_ok=True)  # half a file is in the way of the next try
        raise LaunchError(f"{file} cannot be written: {error.strerror}") from error
