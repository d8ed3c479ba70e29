"""``llmtrain cancel``: end a run."""

from llmtrain.cli.options import AsJson, RunName


def cancel(name: RunName, as_json: AsJson = False) -> None:
    """End a run, after a checkpoint if it can."""
    from llmtrain.cli.answer import err
    from llmtrain.cli.launching import report
    from llmtrain.runs.folder import find_run
    from llmtrain.runs.operate import cancel as cancel_run
    from llmtrain.runs.submitted import cancel_job, on_slurm

    console, folder = err(), find_run(name)
    end = cancel_job if on_slurm(folder) else cancel_run
    report(end(folder, console), console, as_json=as_json)
