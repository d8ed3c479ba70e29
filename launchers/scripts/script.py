"""What a shell script says: the variables it sets and the commands it starts."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """A variable that a file sets."""

    name: str
    """As it is written."""
    value: str | None
    """None: known only when the file runs."""
    line: int
    """From 1."""
    exported: bool = True
    """Programs see it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A command with its words expanded."""

    words: tuple[str, ...]
    """What is not known keeps its text."""
    line: int
    """Where it begins."""
    before: tuple[Setting, ...] = ()
    """Variables that are set for it alone."""


@dataclass(kw_only=True, slots=True)
class Script:
    """What a script says."""

    settings: list[Setting] = field(default_factory=list)
    """In the order of their lines, the later one wins."""
    commands: list[Command] = field(default_factory=list)
    """Those of branches that are taken, in order."""
    values: dict[str, str | list[str]] = field(default_factory=dict)
    """Variables at the end."""
    exported: set[str] = field(default_factory=set)
    """Names that are exported somewhere."""
    options: dict[str, str] = field(default_factory=dict)
    """``#SBATCH`` lines by option."""
    files: dict[str, str] = field(default_factory=dict)
    """Files that here-documents write, by path."""

    def environment(self) -> dict[str, str]:
        """Values of exported variables that are known."""
        found = {s.name: s.value for s in self.settings if s.exported or s.name in self.exported}
        return {name: value for name, value in found.items() if value is not None}


def option_of(words: Sequence[str], *names: str) -> str | None:
    """What a command gives an option, which has one of these names; None: it does not have it."""
    for number, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in names:
            return value if equals else words[number + 1] if number + 1 < len(words) else None
    return None
