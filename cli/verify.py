"""``llmtrain verify``: whether a run is still what was prepared."""

from llmtrain.cli.options import AsJson, RunName


def verify(name: RunName, as_json: AsJson = False) -> None:
    """Compare a run's files, packages and code with what it was prepared from."""
    from llmtrain.cli.answer import err, print_json
    from llmtrain.config.errors import Problem, RunError
    from llmtrain.launchers.provenance import provenance
    from llmtrain.runs.folder import find_run
    from llmtrain.runs.verify import drift, program_of

    folder = find_run(name)
    found = drift(folder, provenance(program_of(folder)))
    if as_json:
        print_json({"run": folder.name, "drift": [each.as_json() for each in found]})
    problems = [
        Problem(code="drift", says=f"{each.what} has changed: it was {each.was}, it is {each.now}")
        for each in found
    ]
    if problems and as_json:
        from typer import Exit

        raise Exit(RunError.status)
    if problems:
        raise RunError(problems)
    if not as_json:
        err().print(f"{folder.name} is what was prepared")
