"""What a linter says of a setting."""

from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]

ORDER: tuple[Severity, ...] = ("error", "warning", "note")
"""error: it does not do what it says; warning: it costs or hides something; note: look twice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is wrong with a setting."""

    code: str
    """A stable word for programs, for example ``range``."""
    severity: Severity
    """How bad."""
    line: int
    """In the file; 0: it has none."""
    name: str
    """The variable, or several with commas between them."""
    says: str
    """What is wrong, as a sentence that begins with the name."""
    hint: str = ""
    """What to do."""
    source: str = ""
    """Where this can be read."""

    def as_json(self) -> dict[str, Any]:
        """The same for ``--json``."""
        return {
            "code": self.code,
            "severity": self.severity,
            "line": self.line or None,
            "name": self.name,
            "message": self.says,
            "hint": self.hint or None,
            "source": self.source or None,
        }


def counts(found: tuple[Finding, ...]) -> bool:
    """Whether there is more than notes."""
    return any(each.severity != "note" for each in found)
