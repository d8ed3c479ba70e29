"""The environment as other programs read it back."""

import json
import subprocess

import pytest

from llmtrain.config.errors import LaunchError
from llmtrain.launchers.fabric.forms import FORMS
from llmtrain.launchers.launch import Variable

HARD = 'it\'s a "b" $HOME \\ `c`; #d'


def variables(**values: str) -> tuple[Variable, ...]:
    """With these values."""
    return tuple(
        Variable(name=name, value=value, source="recipe x", reason="why")
        for name, value in values.items()
    )


@pytest.mark.parametrize("form", ["export", "apptainer"])
def test_a_shell_reads_it_back(form: str) -> None:
    """Whatever is in the value."""
    text = FORMS[form](variables(A="1", B=HARD))
    shown = subprocess.run(
        ["bash", "-c", f'set -a\n{text}\nprintf \'%s\\0\' "$A" "$B"'],
        capture_output=True,
        text=True,
    ).stdout

    assert shown.split("\0") == ["1", HARD, ""]


def test_docker_takes_lines_as_they_stand() -> None:
    """No quotes; a line's end cannot be written."""
    assert FORMS["docker"](variables(A="1", B=HARD)) == f"A=1\nB={HARD}\n"
    with pytest.raises(LaunchError):
        FORMS["docker"](variables(A="1\n2"))


def test_enroot_would_expand_a_dollar() -> None:
    """So it is refused."""
    assert FORMS["enroot"](variables(A="=x,y")) == "A==x,y\n"
    with pytest.raises(LaunchError):
        FORMS["enroot"](variables(A="$HOME"))


def test_json_by_name() -> None:
    """Names and values alone."""
    assert json.loads(FORMS["json"](variables(A="1", B=HARD))) == {"A": "1", "B": HARD}
