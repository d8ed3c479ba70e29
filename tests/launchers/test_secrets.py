"""What looks like a secret is not written into a file."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from llmtrain.config.errors import LaunchError
from llmtrain.config.site import Secrets
from llmtrain.launchers.launch import Launch
from llmtrain.launchers.prepare import require_startable
from llmtrain.launchers.secrets import known_values, require_no_secrets


@pytest.mark.parametrize(
    "text",
    [
        "hf_" + "a" * 34,
        "ghp_" + "b" * 36,
        "AKIA" + "C" * 16,
        "nvapi-" + "d" * 60,
        "-----BEGIN OPENSSH " + "PRIVATE KEY-----",
        "https://user:" + "hunter2hunter2@example.org/x",
    ],
)
def test_secrets_are_known_by_their_form(text: str) -> None:
    """File and line are named, the secret is not."""
    with pytest.raises(LaunchError) as caught:
        require_no_secrets({"provenance.json": f"a\n+ key = {text}\n"}, ())

    assert "provenance.json, line 2" in str(caught.value) and text not in str(caught.value)


def test_a_secret_in_a_stored_difference_is_found() -> None:
    """Where JSON has put a letter before it: the escape of a tab."""
    text = json.dumps({"git": {"diff": "+\thf_" + "a" * 34 + "\n"}})

    with pytest.raises(LaunchError, match="a Hugging Face token"):
        require_no_secrets({"provenance.json": text}, ())


def test_values_of_the_file_of_secrets_are_known(tmp_path: Path) -> None:
    """Whatever they look like."""
    file = tmp_path / "secrets"
    file.write_text("HF_TOKEN=correct horse\nOTHER=battery staple\n")
    values = known_values(Secrets(names=("HF_TOKEN",), file=str(file)))

    assert values == ("correct horse",)
    with pytest.raises(LaunchError, match="your file of secrets"):
        require_no_secrets({"recipe.yaml": "description: correct horse"}, (), values)


def test_a_variable_with_the_name_of_a_secret_is_refused(launch_of: Callable[..., Launch]) -> None:
    """It would stand in env.json and in the script."""
    launch = launch_of("recipe=gpt-tiny", "env.WANDB_API_KEY=abc")

    with pytest.raises(LaunchError, match="WANDB_API_KEY"):
        require_startable(launch)


def test_what_ships_holds_no_secret(launch_of: Callable[..., Launch]) -> None:
    """No false alarm on a recipe of ours."""
    require_startable(launch_of("recipe=gpt3-530b", "backend.path=/opt/megatron-lm"))
