"""One recipe on every backend: what each does of it, and which numbers change."""

from llmtrain.config.compose import compose
from llmtrain.launchers.equivalence import Equivalent, equivalents
from llmtrain.planner import limits
from llmtrain.planner.expressible import LIMITS

VERSIONS = limits.VERSIONS["megatron-lm"]


def by_backend(*arguments: str) -> dict[tuple[str, str | None], Equivalent]:
    """The report by backend and version."""
    return {(each.backend, each.version): each for each in equivalents(compose(arguments))}


def test_a_gpt_on_every_backend() -> None:
    """gpt3-530b is Megatron-LM's at each version; DeepSpeed's pipeline needs two changes."""
    found = by_backend("recipe=gpt3-530b")
    newest, deepspeed = (
        found["megatron-lm", "core_v0.19.0"],
        found["megatron-deepspeed", "4efb479d"],
    )

    assert {name for name, _ in found} == set(LIMITS)
    assert newest.own and [each.own for each in found.values()].count(True) == 1
    assert {found["megatron-lm", v].verdict for n, v in found if n == "megatron-lm"} == {"same"}
    assert deepspeed.verdict == "impossible"
    assert {reason.key for reason in deepspeed.reasons} == {"parallel.vpp", "optim.zero"}
    assert set(deepspeed.mended) == {"optim.zero=1", "parallel.vpp=1"}


def test_the_numbers_that_change() -> None:
    """Without virtual stages the step takes longer, and ZeRO-1 keeps less; parameters stay.

    DeepSpeed alone cuts no layer: a stage's are too much for one GPU.
    """
    found = by_backend("recipe=gpt3-530b")
    own = found["megatron-lm", "core_v0.19.0"].numbers
    other = found["megatron-deepspeed", "4efb479d"].numbers

    assert (other["step_seconds"] or 0) > (own["step_seconds"] or 0)
    assert (other["peak_memory_bytes"] or 0) < (own["peak_memory_bytes"] or 0)
    assert other["parameters"] == own["parameters"]
    assert (own["fits"], found["deepspeed", None].numbers["fits"]) == (True, False)


def test_an_approximation_is_told_from_the_same() -> None:
    """GeGLU is nearly there in newer Megatron-LM, accepted or not; the oldest has no flag."""
    for accepted in ("false", "true"):
        found = by_backend(
            "recipe=llama2-7b", "model.activation=geglu", f"backend.approximate={accepted}"
        )
        verdicts = {version: found["megatron-lm", version].verdict for version in VERSIONS}

        assert list(verdicts.values()) == ["approximated", "approximated", "impossible"]
        assert "quick GeGLU" in found["megatron-lm", "core_v0.16.1"].reasons[0].says
        assert found["megatron-deepspeed", "4efb479d"].verdict == "impossible"


def test_shapes_that_no_program_has() -> None:
    """ALiBi; latent attention and several tokens at once, which need a new megatron-core."""
    bloom, deepseek = by_backend("recipe=bloom-176b"), by_backend("recipe=deepseek-v3")

    assert {each.verdict for (name, _), each in bloom.items() if "megatron" in name} == {
        "impossible"
    }
    assert {key for key, each in deepseek.items() if each.verdict == "same"} == {
        ("megatron-lm", "core_v0.19.0"),
        ("megatron-lm", "core_v0.16.1"),
    }
    assert deepseek["megatron-core", None].mended == ("kernels.dispatcher=alltoall",)
    old = deepseek["megatron-lm", "v0.12.0rc3"]
    assert {reason.code for reason in old.reasons} == {"flag_unknown"}
    assert "core_v0.19.0" in old.reasons[0].hint
