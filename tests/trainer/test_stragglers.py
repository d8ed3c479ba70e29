"""A rank that computes longer than the others of its stage is named once."""

from llmtrain.config.watch import Straggler
from llmtrain.trainer.places import Place
from llmtrain.trainer.stragglers import Slow, Stragglers

PLACES = [Place(stage=rank // 2, node=f"n{rank}", pid=rank) for rank in range(4)]
"""Two stages of two ranks."""


def watch(window: int = 3) -> Stragglers:
    """By a factor of 1.5."""
    return Stragglers(Straggler(factor=1.5, window=window), PLACES)


def test_a_slow_rank_is_compared_with_its_stage() -> None:
    """The second stage computes twice as long as the first, and is no straggler for that."""
    found = watch()
    assert found.look([1, 1, 2, 2]) == []
    assert found.look([1, 1, 2, 3.5]) == []
    assert found.look([1, 1, 2, 3.5]) == [Slow(rank=3, node="n3", seconds=3.5, usual_seconds=2)]


def test_it_is_named_again_only_after_it_has_been_well() -> None:
    """Not in every step."""
    found = watch(window=1)
    assert [len(found.look([1, 2, 2, 2])) for _ in range(3)] == [1, 0, 0]
    assert found.look([1, 1, 2, 2]) == []
    assert [each.rank for each in found.look([1, 2, 2, 2])] == [1]


def test_one_slow_step_is_not_enough() -> None:
    """The median of the window counts."""
    found = watch()
    assert not any(found.look([1, 9 if step == 1 else 1, 2, 2]) for step in range(6))


def test_a_rank_that_is_alone_in_its_stage_is_compared_with_nobody() -> None:
    """There is no usual time of its stage."""
    places = [Place(stage=stage, node="n", pid=stage) for stage in range(2)]

    assert Stragglers(Straggler(window=1), places).look([1, 50]) == []
