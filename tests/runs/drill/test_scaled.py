"""A recipe of any size becomes one that one or two of its nodes can rehearse."""

from pathlib import Path

import pytest

from llmtrain.config.compose import compose
from llmtrain.planner.plan import make_plan
from llmtrain.runs.drill.scaled import scaled, small
from llmtrain.runs.progress import newest_checkpoint


@pytest.mark.parametrize(
    "words",
    [
        ("recipe=gpt-tiny",),
        ("recipe=gpt3-126m",),
        ("recipe=gpt3-530b", "backend.path=/opt/megatron-lm"),
        ("recipe=mt-nlg-530b", "backend.path=/opt/megatron-deepspeed"),
        ("recipe=mixtral-8x7b", "backend.path=/opt/megatron-lm"),
        ("recipe=deepseek-v3", "backend.path=/opt/megatron-lm"),
        ("recipe=llama3-405b", "backend.path=/opt/megatron-lm", "nodes.spare=4"),
    ],
)
def test_every_kind_of_recipe_can_be_scaled_down(words: tuple[str, ...]) -> None:
    """On whole nodes, without errors; place and program stay what they were."""
    real = make_plan(compose(words, ()))
    plan = make_plan(scaled(real))

    assert plan.errors == ()
    assert plan.nodes == min(2, real.nodes)
    assert plan.ranks_per_node == real.ranks_per_node
    for part in ("cluster", "backend", "precision"):
        assert getattr(plan.recipe, part) == getattr(real.recipe, part)
    assert plan.recipe.site.slurm.restart == real.recipe.site.slurm.restart
    assert plan.recipe.checkpoint.interval == small().interval
    assert plan.recipe.nodes.spare == 0


@pytest.mark.parametrize(
    ("name", "text", "step"),
    [
        ("latest_checkpointed_iteration.txt", "40\n", 40),
        ("latest_checkpointed_iteration.txt", "release", 20),
        ("latest", "global_step30", 30),
        ("unknown", "50", 20),
    ],
)
def test_the_program_names_its_newest_checkpoint(
    tmp_path: Path, name: str, text: str, step: int
) -> None:
    """Megatron's and DeepSpeed's tracker files; else the folders of the reference trainer."""
    folder = tmp_path / "checkpoints"
    for made in ("step-00000010", "step-00000020", "step-00000030.partial"):
        (folder / made).mkdir(parents=True)
    (folder / name).write_text(text)

    assert newest_checkpoint(folder.parent) == step
