"""The errors a user can cause, and the exit status of each.

::

    LlmtrainError            1
    ├── UsageError           2   the command line cannot be read
    ├── RecipeError          3   the recipe is invalid
    ├── PlanError            4   the plan does not fit, or the backend cannot express it
    ├── LaunchError          5   the launch failed or is impossible here
    ├── RunError             6   the run failed
    └── Interrupted        130   the user ended it with Ctrl-C

Only the command line catches them. Each carries one or more :class:`Problem`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True, slots=True)
class Repair:
    """A change that makes the recipe valid, as overrides to paste."""

    overrides: tuple[str, ...]
    """For example ``("gpus=1960", "batch.global=1960")``."""
    why: str = ""
    """What the change gives, for example ``dp 7, 280 micro-batches``."""

    def __str__(self) -> str:
        reason = f" ({self.why})" if self.why else ""
        return f"`{' '.join(self.overrides)}`{reason}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One mistake: what is wrong, where it was set, what is valid, what would mend it."""

    code: str
    """A stable word for programs, for example ``unknown_key``."""
    says: str
    """What is wrong; a sentence that begins with the key where the problem has one."""
    key: str = ""
    """The dotted recipe key, empty where the problem belongs to several."""
    at: str = ""
    """The key to look for in ``where`` if it is not that of the sentence."""
    where: str = ""
    """Where the value was set: the command line, or file and line."""
    hint: str = ""
    """What is valid, or what was probably meant."""
    repairs: tuple[Repair, ...] = ()
    """Changes that mend it; composing a recipe leaves those that were tried and are valid."""

    @property
    def message(self) -> str:
        """The sentence a user reads, without its repairs."""
        return f"`{self.key}` {self.says}" if self.key else self.says

    def inside(self, parent: str) -> "Problem":
        """The same problem with its key below ``parent``."""
        return replace(self, key=f"{parent}.{self.key}" if self.key else parent)

    def as_json(self) -> dict[str, Any]:
        """The same for ``--json``: code, message, key, where, hint, repairs."""
        repairs = [{"overrides": list(r.overrides), "why": r.why} for r in self.repairs]
        return {
            "code": self.code,
            "message": self.message,
            "key": self.key or self.at or None,
            "where": self.where or None,
            "hint": self.hint or None,
            "repairs": repairs,
        }


class LlmtrainError(Exception):
    """The root of the family."""

    status: ClassVar[int] = 1

    def __init__(self, problems: Iterable[Problem] | Problem | str, hint: str = "") -> None:
        if isinstance(problems, str):
            problems = Problem(code=self.code(), says=problems, hint=hint)
        if isinstance(problems, Problem):
            problems = (problems,)
        self.problems = tuple(problems)
        super().__init__("; ".join(problem.message for problem in self.problems))

    @classmethod
    def code(cls) -> str:
        """The code of a problem that was given as a plain sentence."""
        return cls.__name__.removesuffix("Error").lower()


class UsageError(LlmtrainError):
    """The command line cannot be read: an argument without ``=``, a broken override."""

    status = 2


class RecipeError(LlmtrainError):
    """The recipe is invalid, or there is none of that name."""

    status = 3


class PlanError(LlmtrainError):
    """The plan does not fit, or the backend cannot express it."""

    status = 4


class LaunchError(LlmtrainError):
    """The launch failed, or is impossible on this machine."""

    status = 5


class RunError(LlmtrainError):
    """The run failed."""

    status = 6


class Interrupted(LlmtrainError):
    """The user ended it with Ctrl-C."""

    status = 130
