"""Files that set variables, of every kind."""

import pytest

from llmtrain.launchers.scripts.document import live, read_document

KINDS = [
    ("job.sh", "#!/bin/bash\nexport NCCL_DEBUG=INFO\npython a.py", "shell", 2),
    ("job.sbatch", "srun --export=ALL,NCCL_DEBUG=INFO a", "shell", 1),
    ("job.slurm", "#SBATCH --export=ALL,NCCL_DEBUG=INFO\nsrun a", "shell", 1),
    ("run.sh", "docker run \\\n  -e NCCL_DEBUG=INFO image", "shell", 1),
    ("run.sh", "mpirun -x NCCL_DEBUG=INFO a", "shell", 1),
    ("nccl.env", "# a file for docker\nNCCL_DEBUG=INFO\n", "env", 2),
    ("a.yaml", "env:\n  NCCL_DEBUG: INFO\n", "yaml", 2),
    ("pod.yml", "env:\n- name: NCCL_DEBUG\n  value: INFO\n", "yaml", 3),
    ("list.yaml", "env:\n  - NCCL_DEBUG=INFO\n", "yaml", 2),
    ("text.yaml", "setup: |\n  module load x\n  export NCCL_DEBUG=INFO\n", "yaml", 3),
    ("a.json", '[{"name": "NCCL_DEBUG",\n  "value": "INFO"}]', "yaml", 2),
]


@pytest.mark.parametrize(("name", "text", "kind", "line"), KINDS)
def test_every_kind_of_file(name: str, text: str, kind: str, line: int) -> None:
    """The setting is found with its line."""
    document = read_document(text, name)
    found = [(s.name, s.value, s.line) for s in document.settings if s.name == "NCCL_DEBUG"]

    assert (document.kind, found) == (kind, [("NCCL_DEBUG", "INFO", line)])


@pytest.mark.parametrize("value", ["${nccl.debug}", "{{ debug }}", "<fill in>", "$DEBUG"])
def test_places_to_fill_in_have_no_value(value: str) -> None:
    """A template's place is not judged."""
    document = read_document(f"NCCL_DEBUG: '{value}'\n", "a.yaml")

    assert [s.value for s in document.settings] == [None]


def test_a_live_environment_has_no_lines() -> None:
    """Sorted by name."""
    found = live({"B": "1", "A": "2"}).settings

    assert [(s.name, s.value, s.line) for s in found] == [("A", "2", 0), ("B", "1", 0)]


def test_yaml_that_is_none_is_read_as_a_script() -> None:
    """A template with braces is still searched."""
    document = read_document("{% if x %}\nexport NCCL_DEBUG=INFO\n", "a.yaml")

    assert [s.name for s in document.settings] == ["NCCL_DEBUG"]
