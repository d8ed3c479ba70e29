"""``llmtrain tune``: what it offers can be pasted, and what it cannot do it says."""

import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest

ASKED = [
    ["recipe=gpt3-175b", "gpus=512"],
    ["recipe=mt-nlg-530b"],
    ["recipe=gpt3-530b", "gpus=2000"],
    ["recipe=llama2-70b", "--within", "memory=0.9"],
    ["recipe=llama3-405b", "--keep", "parallel.cp", "--keep", "batch", "--keep", "recompute"],
    ["recipe=mixtral-8x7b", "gpus=32", "--keep", "batch.micro", "--keep", "parallel.etp"],
]


def told(done: Any) -> Any:
    """The JSON of a command that went well."""
    assert done.status == 0, done.err
    return json.loads(done.out)


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: asked[0])
def test_what_is_offered_can_be_pasted(cli: Callable[..., Any], asked: list[str]) -> None:
    """Every offer composes, fits, can be launched, and takes the step time that was promised."""
    answer = told(cli("tune", *asked, "--top", "2", "--json"))
    arguments = [word for word in asked if "=" in word and not word.startswith("memory")]

    assert len(answer["offers"]) == 2
    for offer in answer["offers"]:
        plan = told(cli("plan", *arguments, *offer["overrides"], "--json"))
        assert plan["errors"] == [] and plan["fits"]
        assert plan["step_seconds"] == pytest.approx(offer["step_seconds"], rel=1e-9)
        assert plan["goodput"]["days"] == pytest.approx(offer["days"], rel=1e-9)
        assert sum(offer["breakdown"].values()) == pytest.approx(offer["step_seconds"])
    first = answer["offers"][0]
    if answer["own"]["step_seconds"] is not None:
        saved = answer["own"]["step_seconds"] - first["step_seconds"]
        assert sum(first["saves_seconds"].values()) == pytest.approx(saved)
        assert saved >= 0 or not answer["own"]["launchable"] or "memory=0.9" in asked


def test_what_is_printed_fits_80_columns_and_pastes(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last line but one of the first part is what a shell takes."""
    monkeypatch.setenv("COLUMNS", "80")
    done = cli("tune", "recipe=gpt3-175b", "--top", "3")
    lines = done.out.splitlines()
    paste = next(line for line in lines if line.startswith("paste: "))

    assert all(len(line) <= 80 for line in lines if not line.startswith(("paste", "memory is")))
    overrides = shlex.split(paste.removeprefix("paste: "))
    plan = told(cli("plan", "recipe=gpt3-175b", *overrides, "--json"))
    assert f"{plan['step_seconds']:.3f}" in done.out
    assert "Why the first wins" in done.out and "bubble" in done.out


def test_kept_keys_and_memory_are_kept(cli: Callable[..., Any]) -> None:
    """A group, a key, and a margin."""
    keep = ["--keep", "optim", "--keep", "parallel.tp"]
    limits = ["--within", "memory=0.6"]
    answer = told(cli("tune", "recipe=gpt3-175b", *keep, *limits, "--json"))

    words = {w.partition("=")[0] for offer in answer["offers"] for w in offer["overrides"]}
    assert "parallel.tp" not in words and not any(word.startswith("optim.") for word in words)
    assert all(offer["memory_share"] <= 0.6 for offer in answer["offers"])


def test_free_gpus_give_a_front_and_keep_a_deadline(cli: Callable[..., Any]) -> None:
    """More GPUs are quicker and dearer; the cheapest that keeps the deadline is offered first."""
    recipe = ["recipe=gpt3-20b", "price.gpu_hour=2.0", "--free", "gpus"]
    answer = told(cli("tune", *recipe, "--least", "money", "--within", "days=8", "--json"))
    front = [(each["days"], each["gpu_hours"]) for each in answer["front"]]

    assert len(front) > 2 and len({each["gpus"] for each in answer["front"]}) == len(front)
    assert front == sorted(front) and [h for _, h in front] == sorted((h for _, h in front))[::-1]
    best = answer["offers"][0]
    assert best["days"] <= 8
    allowed = [each["price"] for each in answer["front"] if each["days"] <= 8]
    assert best["price"] == pytest.approx(min(allowed))
    plan = told(cli("plan", *recipe[:2], *best["overrides"], "--json"))
    assert plan["gpus"] == best["gpus"]
    assert plan["goodput"]["price"] == pytest.approx(best["price"])


def test_a_free_size_names_its_laws(cli: Callable[..., Any]) -> None:
    """From tokens, or from a budget, which then is what the size needs."""
    answer = told(cli("tune", "recipe=gpt3-20b", "tokens=1.5e12", "--free", "size", "--json"))
    kaplan, chinchilla = answer["sizes"]

    assert "Kaplan" in kaplan["law"] and "Chinchilla" in chinchilla["law"]
    assert chinchilla["parameters"] == pytest.approx(75e9)
    hours = ["--free", "size", "--within", "gpu-hours=50000"]
    sizes = told(cli("tune", "recipe=gpt3-20b", *hours, "--json"))["sizes"]
    assert all(each["days"] * 24 * 512 == pytest.approx(50_000, rel=1e-6) for each in sizes)


WRONG: list[tuple[list[str], int, list[str]]] = [
    (["--keep", "parallel.tpp"], 2, ["--keep parallel.tpp", "`--keep parallel.tp`"]),
    (["--keep", "tp"], 2, ["`--keep parallel.tp`"]),
    (["--least", "cost"], 2, ["--least", "'cost'", "money"]),
    (["--within", "dayz=3"], 2, ["did you mean days"]),
    (["--within", "days=never"], 2, ["days", "never"]),
    (["--free", "tp"], 2, ["gpus, size"]),
    (["--least", "money"], 2, ["price.gpu_hour"]),
    (["tokens=null", "--within", "days=3"], 2, ["tokens"]),
    (["--within", "days=3"], 4, ["no layout keeps 3 days", "the best needs 25", "parallel.tp="]),
    (["gpus=16"], 4, ["no layout fits 16", "GiB", "Use `gpus=64"]),
    (["gpus=1001"], 3, ["1001 GPUs do not fill nodes", "gpus=1024"]),
    (["gpus=1024", "batch.global=7"], 4, ["global batch of 7"]),
    (["recipe=gpt-tiny"], 2, ["the speed of CPU is not known"]),
    (["recipe=glm-130b"], 4, ["deepnorm cannot be expressed by megatron-deepspeed"]),
]


@pytest.mark.parametrize(("asked", "status", "says"), WRONG, ids=lambda each: str(each)[:40])
def test_mistakes_are_answered(
    cli: Callable[..., Any], asked: list[str], status: int, says: list[str]
) -> None:
    """What is wrong, what is valid, and the nearest thing that works."""
    named = any(word.startswith("recipe=") for word in asked)
    done = cli("tune", *([] if named else ["recipe=gpt3-175b"]), *asked)

    assert done.status == status
    assert all(word in done.err for word in says), done.err


def test_an_answer_without_offers_is_json_too(cli: Callable[..., Any]) -> None:
    """With the problem, as ``plan`` has it."""
    done = cli("tune", "recipe=gpt3-175b", "--within", "gpu-hours=1000", "--json")

    assert done.status == 4
    answer = json.loads(done.out)
    assert answer["offers"] == [] and answer["errors"][0]["code"] == "limit_broken"
