"""Shell scripts followed without a shell: held against what bash itself makes of them."""

import subprocess

import pytest

from llmtrain.launchers.scripts.expand import shown
from llmtrain.launchers.scripts.follow import read_script
from llmtrain.launchers.scripts.script import Setting

SAME_AS_BASH = [
    ("plain", "show a 'b c' \"d e\" f\\ g"),
    ("continued", "show a \\\n   b \\\n c # not this"),
    ("variables", 'X="1 2"\nshow $X "$X" ${X} x${X}y'),
    ("defaults", "show ${A:-1} ${A-2} ${B:=3} $B ${C:+4} ${B:+5}"),
    ("cut", "P=/a/b.tar.gz\nshow ${P##*/} ${P#*/} ${P%.gz} ${P%%.*}"),
    ("arithmetic", "N=6\nM=$((N * 8 / 3))\nshow $M $(( (N+2) % 5 )) $((-N))"),
    ("array", 'A=(1 "2 3"\n  # a comment\n  4)\nA+=(5)\nshow "${A[@]}" ${A[1]} ${#A[@]}'),
    ("array of nothing", 'A=()\nshow "${A[@]}" x'),
    ("appended", 'X="--a 1"\nX+=" --b 2"\nshow $X'),
    ("if", 'X=2\nif [ "$X" = 1 ]; then show a; elif [[ $X -gt 1 && $X != 3 ]]; then show b; fi'),
    ("if not", 'if [ -z "$NOT_SET" ] || [ 1 = 2 ]; then show yes; else show no; fi'),
    ("nested", "if true; then\n  if false; then show a; else show b; fi\nfi\nshow c"),
    ("case", "X=7b\ncase $X in\n  70b) show a ;;\n  7b|8b) show b ;;\n  *) show c ;;\nesac"),
    ("case default", "case x in a) show a ;; *) show c ;; esac"),
    ("and or", "[ 1 = 1 ] && show a\n[ 1 = 2 ] && show b\n[ 1 = 2 ] || show c"),
    ("eval", "C='show a \"b c\"'\neval $C"),
    ("bash -c", "X=5\nbash -c \"show $X '6 7' train.py\""),
    ("single quotes keep", "X=5\nshow '$X' \"'$X'\""),
    ("here-document", "cat <<'EOF' >/dev/null\nshow no\nEOF\nshow yes"),
    ("redirected", "show a >/dev/null 2>&1\nshow b 2>/dev/null"),
]


@pytest.mark.parametrize(
    "text", [text for _, text in SAME_AS_BASH], ids=[n for n, _ in SAME_AS_BASH]
)
def test_the_same_words_as_bash(text: str) -> None:
    """Each call of ``show`` gets the words that bash gives it."""
    function = 'show() { printf "%s\\0" "$@" >&3; printf "\\1" >&3; }\nexport -f show\n'
    line = f"exec 3>&1 >/dev/null\n{function}{text}"
    said = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False).stdout
    wanted = [tuple(call.split("\0")[:-1]) for call in said.split("\1")[:-1]]
    found = [each.words[1:] for each in read_script(text).commands if each.words[0] == "show"]

    assert found == wanted


def test_what_only_the_run_knows_keeps_its_text() -> None:
    """Nothing is invented for a variable, an argument or a command that is not in the file."""
    script = read_script(
        'python train.py --nodes $SLURM_NNODES --a "$1" --b $(hostname) --c ${X[2]}'
    )

    assert [shown(word) for word in script.commands[0].words[2:]] == (
        ["--nodes", "$SLURM_NNODES", "--a", "$1", "--b", "$(hostname)", "--c", "${X[2]}"]
    )


def test_settings_with_their_lines() -> None:
    """Exports, plain assignments, those of one command, and those of branches not taken."""
    script = read_script("A=1\nexport B=2 C=$D\nE=3 run --x\nif [ -f f ]; then\n  export F=4\nfi\n")

    assert script.settings == [
        Setting(name="A", value="1", line=1, exported=False),
        Setting(name="B", value="2", line=2),
        Setting(name="C", value=None, line=2),
        Setting(name="E", value="3", line=3),
        Setting(name="F", value="4", line=5),
    ]


def test_a_variable_that_is_exported_later() -> None:
    """``export NAME`` counts for what was assigned before."""
    assert read_script("A=1\nexport A\n").environment() == {"A": "1"}


def test_slurm_options_and_files_that_the_script_writes() -> None:
    """``#SBATCH`` lines by their long names; a here-document with its variables filled in."""
    script = read_script(
        "#!/bin/bash\n#SBATCH -N 4\n#SBATCH --gres=gpu:8 # all\nN=2\ncat >a.json <<EOT\n{$N}\nEOT\n"
    )

    assert script.options == {"nodes": "4", "gres": "gpu:8"}
    assert script.files == {"a.json": "{2}\n"}


@pytest.mark.parametrize(
    "text", ["'open", '"open', "$(open", "${open", "A=(open", "<<EOF", "case x in", "fi"]
)
def test_broken_scripts_are_read_to_their_end(text: str) -> None:
    """What would be a mistake to bash is no reason to stop."""
    read_script(f"export A=1\n{text}\n")
