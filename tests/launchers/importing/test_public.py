"""Launches that Megatron-LM, Megatron-DeepSpeed and BigScience publish, read into recipes."""

import json
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmtrain.config.compose import compose
from llmtrain.launchers.importing.recipe import import_file

PUBLIC: dict[str, dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("public.yaml").read_text(encoding="utf-8")
)
SCRIPT = """#!/bin/bash
ARGS="{arguments}"
torchrun pretrain_gpt.py \\
    $ARGS
"""


@pytest.mark.parametrize("name", PUBLIC)
def test_a_published_launch(name: str, tmp_path: Path) -> None:
    """Every flag is placed or listed, and the recipe says what the model and the run were."""
    case = PUBLIC[name]
    file = tmp_path / "job.sh"
    file.write_text(SCRIPT.format(arguments=case["arguments"]), encoding="utf-8")
    (tmp_path / "ds.json").write_text(json.dumps(case.get("engine", {})), encoding="utf-8")
    found = import_file(file)
    (tmp_path / "recipe.yaml").write_text(found.text, encoding="utf-8")
    recipe = compose([f"recipe={tmp_path / 'recipe.yaml'}"])

    assert found.problems == ()
    assert [each.flag for each in found.left] == case["left"]
    names = {key: key.replace("global", "global_") for key in case["recipe"]}
    assert {key: attrgetter(field)(recipe) for key, field in names.items()} == case["recipe"]


def test_each_has_its_source() -> None:
    """Repository, commit and path."""
    assert all("@" in case["source"] and "/" in case["source"] for case in PUBLIC.values())


WRONG = {"train_batch_size": 64, "gradient_cliping": 1, "zero_optimization": {"stage": 2}}


def test_arguments_and_json_that_disagree(tmp_path: Path) -> None:
    """What DeepSpeed lets pass is told, and which of the two is which."""
    case = PUBLIC["llama2-deepspeed"]
    file = tmp_path / "job.sh"
    file.write_text(SCRIPT.format(arguments=case["arguments"]), encoding="utf-8")
    (tmp_path / "ds.json").write_text(json.dumps(case["engine"] | WRONG), encoding="utf-8")
    said = " ".join(import_file(file).notes)

    assert "did you mean `gradient_clipping`" in said
    assert "ZeRO stage 2 with a pipeline of 2 stages" in said
    assert "`train_batch_size` is 64, the arguments say 32" in said


def test_flags_that_a_version_does_not_have(tmp_path: Path) -> None:
    """The program would end at them: told with what takes their place, or what was meant."""
    flags = "--checkpoint-activations --num-attention-head 8 --DDP-impl local --use-custom-fsdp"
    file = tmp_path / "job.sh"
    arguments = f"{PUBLIC['gpt3-175b']['arguments']} {flags}"
    file.write_text(SCRIPT.format(arguments=arguments), encoding="utf-8")
    left = {each.flag: each.why for each in import_file(file).left}

    assert left["--use-custom-fsdp"].endswith("has no such flag: use `--use-megatron-fsdp`")
    assert "leave it out: " in left["--DDP-impl"]
    assert "--checkpoint-activations" not in left
