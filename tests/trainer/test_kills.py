"""SIGKILL at any moment of a save costs no checkpoint and changes no loss."""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING, Any

import pytest

from llmtrain.trainer.checkpoint_folder import complete, first_damage, unlisted
from llmtrain.trainer.checksums import read_sums

if TYPE_CHECKING:
    from tests.trainer.conftest import Lab, Trial

MOMENTS = 10
"""Kills of a run."""
ENOUGH = 1000
"""More steps than its lives get to."""
SEED = 20261126
ENGINES: dict[str, dict[str, Any]] = {
    "megatron-core, ZeRO-1": {"optim": {"lr": 1e-2, "zero": 1}},
    "DeepSpeed, ZeRO-2": {
        "optim": {"lr": 1e-2, "zero": 2},
        "backend": {"name": "megatron-core+deepspeed"},
    },
}


@pytest.mark.parametrize("engine", ENGINES)
def test_kills_at_random_moments_of_a_save(
    lab: Lab, shapes: dict[str, dict[str, Any]], engine: str
) -> None:
    """Whatever file is half written or half removed, the next life goes on from a whole checkpoint.

    The moments are spread from the first file of a save to after the removal of the oldest one.
    """
    keys = {"gpus": 2, "model": shapes["gpt"] | {"layers": 2}, **ENGINES[engine]}
    saves = keys | {"checkpoint": {"interval": 1, "keep": 2}}
    killed, dice = lab.trial(2, **saves).train(), random.Random(SEED)
    killed.change(steps=ENOUGH, **saves)

    newest, ahead = 2, set[int]()
    for number in range(MOMENTS):
        rank, part, before = dice.randrange(2), dice.uniform(0, 1.5), newest
        assert -signal.SIGKILL in killed.kill(rank, newest + 2, part)
        newest = newest_whole(killed)
        ahead.add(newest - before)
        print(
            f"{number}: rank {rank}, {part:.2f} of the save of step {before + 2}: {newest} is whole"
        )
    # A life that is killed may have trained beyond the checkpoint that it leaves.
    steps = max(killed.losses()) + 1
    killed.change(steps=steps, **saves)
    killed.train()
    whole = lab.trial(steps, **keys).train()

    # Some kills came before the save was complete; whether others came after is the machine's.
    assert 1 in ahead
    assert "checkpoint_damaged" not in [event for event, _ in killed.events()]
    assert all(whole.losses()[row["step"]] == row["loss"] for row in killed.lines("metrics"))
    assert list(killed.losses()) == list(range(1, steps + 1))


def newest_whole(trial: Trial) -> int:
    """Steps behind the newest checkpoint; every one there is is whole."""
    found = complete(trial.folder / "checkpoints")
    for path in found:
        sums = read_sums(path)
        assert unlisted(path, sums) is None
        assert first_damage(path, sorted(sums.items())) is None
    return int(found[-1].name.removeprefix("step-"))
