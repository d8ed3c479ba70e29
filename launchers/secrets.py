"""Secrets are named in a recipe and never written: what looks like one is not let into a file."""

import json
import re
from collections.abc import Iterable, Mapping

from llmtrain.config.errors import LaunchError, Problem
from llmtrain.config.home import expanded
from llmtrain.config.site import Secrets

PATTERNS: Mapping[str, str] = {
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}\b",
    "a GitHub token": r"\b(gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,})\b",
    "a GitLab token": r"\bglpat-[A-Za-z0-9_-]{20,}",
    "an AWS access key": r"\b(AKIA|ASIA)[0-9A-Z]{16}\b",
    "an NVIDIA API key": r"\bnvapi-[A-Za-z0-9_-]{40,}",
    "an OpenAI or Anthropic key": r"\bsk-[A-Za-z0-9_-]{30,}",
    "a Slack token": r"\bxox[abpr]-[A-Za-z0-9-]{20,}",
    "a Google API key": r"\bAIza[0-9A-Za-z_-]{35}\b",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a password in a URL": r"://[^/\s:@'\"]+:[^/\s:@'\"$<{]{6,}@",
}
"""What a secret looks like, by the forms that their issuers document."""

NAMES = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|API_KEY|ACCESS_KEY|CREDENTIALS)$", re.IGNORECASE)
"""Variables whose value nobody should read."""
SHORTEST = 8
"""A known value below this length is found everywhere."""


def require_no_secrets(
    files: Mapping[str, str], environment: Iterable[tuple[str, str]], known: Iterable[str] = ()
) -> None:
    """Refuse to write what holds a secret.

    Args:
        files: text by name.
        environment: variables that would be written with their values.
        known: values that must not be in any file.

    Raises:
        LaunchError: naming file and line of each, without the secret.
    """
    values = [value for value in known if len(value) >= SHORTEST]
    values += [json.dumps(value, ensure_ascii=False)[1:-1] for value in values]
    problems = [
        _problem(f"`{name}` would be written with its value")
        for name, value in environment
        if NAMES.search(name) and value
    ]
    for file, text in sorted(files.items()):
        if file != "job.sbatch":  # it holds the others
            problems += [_problem(found) for found in _found(file, text, values)]
    if problems:
        raise LaunchError(problems[:20])


def known_values(secrets: Secrets) -> tuple[str, ...]:
    """The values in the file of secrets, if it can be read here."""
    try:
        text = expanded(secrets.file).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ()
    pairs = (line.partition("=") for line in text.splitlines())
    return tuple(value for name, _, value in pairs if name in secrets.names and value)


def _found(file: str, text: str, values: list[str]) -> Iterable[str]:
    for number, line in enumerate(text.split("\n"), start=1):
        # In JSON the beginning of a word may follow the letter of an escape.
        line = re.sub(r"\\[nrt]", " ", line) if file.endswith(".json") else line
        for what, pattern in PATTERNS.items():
            if re.search(pattern, line):
                yield f"{file}, line {number}, holds what looks like {what}"
        if any(value in line for value in values):
            yield f"{file}, line {number}, holds a value of your file of secrets"


def _problem(says: str) -> Problem:
    hint = "name it in `site.secrets.names` and put the value into `site.secrets.file`"
    return Problem(code="secret", says=says, hint=hint)
