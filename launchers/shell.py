"""Text for a shell. What comes from a user passes through here, and is only ever data."""

import re
import shlex
from collections.abc import Iterable, Mapping
from importlib import resources

from llmtrain.config.errors import LaunchError, Problem

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""What a shell accepts as the name of a variable."""


def assign(name: str, value: str) -> str:
    """``name=value``."""
    quoted = shlex.quote(sound(value, name))
    # A second equals sign is no mistake of ours, but looks like one.
    return f"{name}='{value}'" if quoted.startswith("=") else f"{name}={quoted}"


def assign_path(name: str, path: str) -> str:
    """``name=path``; a leading ``~/`` is the home of whoever runs the script."""
    if path.startswith("~/"):
        return f"{name}=$HOME/{shlex.quote(sound(path[2:], name))}"
    return assign(name, path)


def array(name: str, words: Iterable[str]) -> str:
    """``name=(word …)``."""
    return f"{name}=({command(sound(word, name) for word in words)})"


def here_document(path: str, text: str) -> str:
    """Lines that write ``text``, which ends with a line's end, into the file ``path``."""
    end = "END_OF_FILE"
    lines = set(text.split("\n"))
    while end in lines:
        end += "_"
    return f"cat >{shlex.quote(path)} <<'{end}'\n{sound(text, path)}{end}\n"


def comment(text: str) -> str:
    """One line that says ``text``."""
    return f"# {' '.join(text.split())}"


def command(words: Iterable[str]) -> str:
    """Words as one line that a shell reads back to the same words."""
    return " ".join(_quoted(word) for word in words)


def launcher_word(word: str) -> str:
    """A word of the launcher, for a shell: what begins with ``$`` is the shell's own variable."""
    return f'"{word}"' if word.startswith("$") else _quoted(word)


def _quoted(word: str) -> str:
    quoted = shlex.quote(word)
    # A bare comma is no mistake of ours either, but in an array it looks like one.
    return f"'{word}'" if quoted == word and "," in word else quoted


def sound(text: str, what: str) -> str:
    """``text``, unless it holds what no shell can hold.

    Raises:
        LaunchError: if there is a NUL in it, or half a surrogate pair.
    """
    if "\0" not in text:
        try:
            text.encode()
            return text
        except UnicodeEncodeError:
            pass
    says = f"{what} holds a character that cannot be written into a script"
    raise LaunchError(Problem(code="unwritable", says=says))


def require_names(variables: Mapping[str, str]) -> None:
    """Refuse names that no shell can export. ``variables``: name to where it was set.

    Raises:
        LaunchError: naming each.
    """
    bad = [name for name in variables if not NAME.fullmatch(name)]
    problems = [
        Problem(
            code="invalid_name",
            says=f"{name!r} is no name of an environment variable ({variables[name]})",
        )
        for name in bad
    ]
    if problems:
        raise LaunchError(problems)


def package_text(name: str) -> str:
    """A file that ships beside this package's modules: ``probe.py`` or one of ``shell/``."""
    folder = resources.files("llmtrain.launchers")
    where = folder / name if name.endswith(".py") else folder / "schedulers" / "shell" / name
    return where.read_text(encoding="utf-8")
