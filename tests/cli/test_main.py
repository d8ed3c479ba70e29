"""What holds for the whole command: exit statuses, where output goes, how mistakes are answered."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import llmtrain
from tests.cli.conftest import COMMAND, Cli

BIG = "recipe=gpt3-530b"
CANNOT = (BIG, "backend=megatron-deepspeed")


STATUSES = [
    (0, ("recipes",)),
    (0, ("plan", "recipe=gpt-tiny")),
    (0, ("run", BIG, "--dry-run")),
    (2, ("plan",)),
    (2, ("plan", "nonsense")),
    (2, ("plan", BIG, "nonsense")),
    (2, ("plan", BIG, "--bogus")),
    (2, ("plan", BIG, "gpus=1,2")),
    (2, ("frobnicate",)),
    (2, ("run", BIG, "--print", "args")),
    (2, ("run", BIG, "--dry-run", "--print", "everything")),
    (2, ("logs",)),
    (3, ("plan", "recipe=gpt5")),
    (3, ("plan", "recipe=./gpt5.yaml")),
    (3, ("recipes", "show", "gpt5")),
    (3, ("recipes", "copy", "gpt5", "mine.yaml")),
    (3, ("recipes", "--recipes", "nowhere")),
    (3, ("run", BIG, "parallel.tpp=8")),
    (3, ("run", BIG, "parallel.tp=7", "--dry-run")),
    (3, ("run", BIG, "parallel.tp=eight", "--dry-run")),
    (3, ("run", BIG, "parallel.pp=0", "--dry-run")),
    (3, ("run", BIG, "gpus=2000", "--dry-run")),
    (3, ("run", BIG, "gpus=-8", "--dry-run")),
    (3, ("run", BIG, "model=gpt5", "--dry-run")),
    (3, ("run", BIG, "cluster=dgx-h1000", "--dry-run")),
    (3, ("run", BIG, "batch.global=1921", "--dry-run")),
    (4, ("plan", *CANNOT)),
    (4, ("run", *CANNOT)),
    (4, ("run", *CANNOT, "--dry-run")),
    (5, ("run", BIG)),
    (5, ("run", "recipe=gpt-tiny", "--dry-run", "--print", "deepspeed")),
    (6, ("status", "none")),
    (6, ("logs", "none")),
    (6, ("cancel", "none")),
    (6, ("resume", "none")),
]


@pytest.mark.parametrize(("status", "arguments"), STATUSES)
def test_exit_statuses(cli: Cli, status: int, arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Each has its meaning; a mistake is answered on stderr, and nothing is left behind."""
    done = cli(*arguments)

    assert (done.status, done.err.startswith("error: ")) == (status, status != 0), done.err
    # A plan that cannot be launched is shown all the same.
    assert bool(done.out) == (status in (0, 4))
    assert "Traceback" not in done.err
    assert list((tmp_path / "here").iterdir()) == []


MISTAKES = [case for case in STATUSES if case[0] and "copy" not in case[1]]


@pytest.mark.parametrize(("status", "arguments"), MISTAKES)
def test_mistakes_as_json(cli: Cli, status: int, arguments: tuple[str, ...]) -> None:
    """One document on stdout, whose errors are those that stderr says in words."""
    done = cli(*arguments, "--json")
    shown = json.loads(done.out)
    errors = shown["plan"]["errors"] if "plan" in shown else shown["errors"]
    said = [line for line in done.err.splitlines() if line.startswith("error: ")]

    assert done.status == status
    assert [f"error: {each['message']}" for each in errors] == [
        line[: len(f"error: {each['message']}")] for line, each in zip(said, errors, strict=True)
    ]
    assert {frozenset(each) for each in errors} == {
        frozenset({"code", "message", "key", "where", "hint", "repairs"})
    }


def test_a_mistake_in_full(cli: Cli) -> None:
    """What is wrong, with the numbers; what mends it; where it was set."""
    done = cli("plan", BIG, "gpus=2000")

    assert (done.out, done.err) == (
        "",
        "error: 2000 GPUs is not a multiple of 8 × 35 = 280. Use `gpus=2240` (dp 8), "
        "`gpus=1120` (dp 4) or `gpus=1960 batch.global=1960` (dp 7, 280 micro-batches)\n"
        "  set in command line: gpus=2000\n",
    )


def test_all_mistakes_at_once(cli: Cli) -> None:
    """None hides another."""
    done = cli("plan", "recipe=gpt-tiny", "parallel.tpp=2", "gpus=two", "--json")

    assert [(each["key"], each["code"]) for each in json.loads(done.out)["errors"]] == [
        ("gpus", "wrong_type"),
        ("parallel.tpp", "unknown_key"),
    ]


def test_a_misspelt_recipe(cli: Cli) -> None:
    """The answer offers those that are near."""
    done = cli("plan", "recipe=gpt3-530")

    assert done.err.splitlines()[0] == "error: `recipe` = 'gpt3-530' does not exist"
    assert done.err.splitlines()[1].startswith("  hint: Did you mean `recipe=gpt3-530b`")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--debug", "plan", "nonsense"),
        ("plan", "nonsense", "--debug"),
        ("plan", "--debug", "recipe=gpt5"),
        ("plan", "--bogus", "--debug"),
    ],
)
def test_debug_adds_the_traceback(cli: Cli, arguments: tuple[str, ...]) -> None:
    """Wherever it stands; the answer itself is the same."""
    done = cli(*arguments)
    plain = cli(*(word for word in arguments if word != "--debug"))

    assert done.err.startswith("Traceback (most recent call last):\n")
    assert done.err.endswith(plain.err)
    assert (done.status, done.out) == (plain.status, plain.out)


def test_what_should_not_happen(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug is called one, in a line; the traceback is a word away."""

    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("[red]")

    monkeypatch.setattr("llmtrain.cli.planning.make_plan", broken)
    done = cli("plan", "recipe=gpt-tiny")

    assert (done.status, done.out, done.err) == (
        1,
        "",
        "error: internal error: ZeroDivisionError: [red]\n"
        "  hint: this is a bug in llmtrain; add --debug for the traceback\n",
    )


def test_version(cli: Cli) -> None:
    """One line."""
    assert cli("--version").out == f"llmtrain {llmtrain.__version__}\n"


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_lists_the_verbs(cli: Cli, arguments: tuple[str, ...]) -> None:
    """Also when nothing was asked."""
    done = cli(*arguments)

    assert (done.status, done.err) == (0, "")
    assert all(f"│ {verb} " in done.out for verb in ("run", "plan", "recipes", "status", "resume"))


@pytest.mark.parametrize("group", ["env", "site", "data"])
def test_a_group_of_verbs_alone(cli: Cli, group: str) -> None:
    """Its help, as that of the command alone."""
    done = cli(group)

    assert (done.status, done.err) == (0, "")
    assert f"Usage: llmtrain {group} [OPTIONS] COMMAND" in done.out


def test_the_site_of_a_recipe_that_names_none(cli: Cli) -> None:
    """Without a name ``site show`` shows that one, and says which others there are."""
    done = cli("site", "show")

    assert done.out == cli("site", "show", "none").out
    assert (done.status, done.err) == (0, "sites: none\n")


def test_arguments_that_are_not_text(program: Cli) -> None:
    """Bytes that are no UTF-8 are answered, in JSON too."""
    done = subprocess.run(
        [COMMAND, "plan", "recipe=gpt-tiny", b"run.name=\xff", "--json"],
        capture_output=True,
        check=False,
    )

    assert done.returncode == 2
    assert json.loads(done.stdout)["errors"][0]["code"] == "usage"
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [("recipes",), ("--help",), ("plan", BIG, "--json")])
def test_a_reader_that_goes_away(arguments: tuple[str, ...]) -> None:
    """As ``head`` does: no word about it."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([COMMAND, *arguments], stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)

    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")


def test_a_closed_stdout() -> None:
    """What nobody can read is not written, and the status is that of the work."""
    for arguments, status in (("plan recipe=gpt-tiny", 0), ("plan recipe=gpt5", 3)):
        words = ["bash", "-c", f"{COMMAND} {arguments} >&- 2>&-"]
        done = subprocess.run(words, capture_output=True, check=False)

        assert (done.returncode, done.stdout, done.stderr) == (status, b"", b"")


@pytest.mark.parametrize("words", [("recipes",), ("plan", BIG, "--json"), ("sbatch", BIG)])
def test_a_full_disk_behind_stdout(words: tuple[str, ...]) -> None:
    """It is said once, in a line, and is no bug of ours."""
    with open("/dev/full", "w") as full:
        done = subprocess.run([COMMAND, *words], stdout=full, stderr=subprocess.PIPE, text=True)

    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1,
        "error: No space left on device",
    )


def test_a_locale_without_utf_8(program: Cli) -> None:
    """The bytes are the same as elsewhere: JSON, scripts and signs such as ×."""
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for words in (("plan", BIG), ("plan", "--help"), ("plan", BIG, "gpus=2000", "--json")):
        done = program(*words, **locale)

        assert done == program(*words)
        assert "internal error" not in done.err


def test_from_anywhere(program: Cli) -> None:
    """The root of the file system is as good a place as any."""
    done = program("plan", "recipe=gpt-tiny", "--json", cwd="/")

    assert (done.status, done.err) == (0, "")
    assert json.loads(done.out)["recipe"] == "gpt-tiny"


COLOURS = "import os, pty, sys; pty.spawn(sys.argv[1:])"


@pytest.mark.parametrize("arguments", [("recipes",), ("run", "recipe=gpt-tiny", "--dry-run")])
def test_no_colour_where_it_is_not_wanted(arguments: tuple[str, ...]) -> None:
    """On a terminal there are colours; NO_COLOR takes them away, and no word with them."""
    shown = [
        subprocess.run(
            [sys.executable, "-c", COLOURS, COMMAND, *arguments],
            env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "150"} | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        ).stdout
        for more in ({}, {"NO_COLOR": "1"})
    ]
    plain = [coloured(text) for text in shown]

    assert plain[0][1] == plain[1][1]
    assert plain[1][0] == set()


def coloured(text: str) -> tuple[set[str], str]:
    """The colours of a text, and the text without its styles."""
    found, words = set(), []
    for number, piece in enumerate(text.split("\x1b[")):
        style, _, rest = piece.partition("m") if number else ("", "", piece)
        # 1 to 9 are bold, dim, italic and so on.
        found |= {code for code in style.split(";") if code and int(code) > 9}
        words.append(rest)
    return found, "".join(words)


WITHOUT = """\
import json, sys
from llmtrain.cli.main import main
sys.argv[0] = "llmtrain"
try:
    main()
finally:
    names = {name.partition(".")[0] for name in sys.modules}
    print(json.dumps(sorted(names & {"torch", "deepspeed", "megatron"})), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("recipes",),
        ("plan", BIG),
        ("run", BIG, "--dry-run"),
        ("run", BIG),
        ("status",),
        ("logs", "none"),
    ],
)
def test_no_command_imports_the_training_stack(arguments: tuple[str, ...]) -> None:
    """Torch takes seconds, and a laptop may not have it."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *arguments], capture_output=True, text=True
    )

    assert done.stderr.splitlines()[-1] == "[]"
