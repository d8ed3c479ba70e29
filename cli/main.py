"""The command: registers the verbs, and is the only place where errors are caught."""

import gc
import io
import os
import signal
import sys
from typing import Annotated

import typer

import llmtrain
from llmtrain.cli import (
    calibrate,
    cancel,
    data,
    diff,
    doctor,
    drill,
    env,
    import_recipe,
    logs,
    plan,
    recipes,
    resume,
    run,
    sbatch,
    site,
    status,
    tune,
    verify,
    why,
)
from llmtrain.config.errors import Interrupted, LlmtrainError, Problem, UsageError

app = typer.Typer(
    name="llmtrain",
    help="Plan, launch and operate the training of large language models.",
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"llmtrain {llmtrain.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Add the traceback to an error.")] = False,
) -> None:
    pass


app.command("run")(run.run)
app.command("plan")(plan.plan)
app.command("tune")(tune.tune)
app.command("sbatch")(sbatch.sbatch)
app.add_typer(recipes.app, name="recipes")
app.add_typer(site.app, name="site")
app.add_typer(env.app, name="env")
app.command("import")(import_recipe.import_recipe)
app.add_typer(data.app, name="data")
app.command("doctor")(doctor.doctor)
app.command("drill")(drill.drill)
app.command("status")(status.status)
app.command("logs")(logs.logs)
app.command("why")(why.why)
app.command("diff")(diff.diff)
app.command("calibrate")(calibrate.calibrate)
app.command("cancel")(cancel.cancel)
app.command("resume")(resume.resume)
app.command("verify")(verify.verify)


def main() -> None:
    """Run the command line and exit with its status, that of the error if there is one."""
    # Nearly all that is made while starting lives to the end: looking for garbage is wasted time.
    gc.set_threshold(100_000)
    # When the reader of our output goes, as `head` does, there is nobody left to tell.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    _open_streams()
    arguments = sys.argv[1:]
    as_json, debug = "--json" in arguments, "--debug" in arguments
    # --debug is allowed anywhere: it is what one adds to a command that has just failed.
    arguments = [word for word in arguments if word != "--debug"]
    try:
        status = app(arguments or ["--help"], standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(Interrupted.status)
    except Exception as error:
        if hasattr(error, "format_message") and not error.format_message():
            sys.exit(0)  # a group of verbs alone: its help was shown
        known = error if isinstance(error, LlmtrainError) else _translated(error)
        _answer(known, as_json=as_json, debug=debug)
        sys.exit(known.status)
    sys.exit(status if isinstance(status, int) else 0)


def _open_streams() -> None:
    """UTF-8 whatever the locale, so that data has the same bytes; a closed stream takes nothing."""
    for name, errors in (("stdout", "surrogateescape"), ("stderr", "backslashreplace")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors=errors)


def _let_go() -> None:
    """Throw away what stdout does not take: Python would try again at its end, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _translated(error: Exception) -> LlmtrainError:
    """Typer's own mistakes of usage, the system's, and what should not have happened, as ours."""
    if hasattr(error, "format_message"):
        translated: LlmtrainError = UsageError(str(error.format_message()))
    elif isinstance(error, OSError) and error.strerror:
        at = "" if error.filename is None else f": {error.filename}"
        translated = LlmtrainError(Problem(code="system", says=f"{error.strerror}{at}"))
    else:
        says = f"internal error: {type(error).__name__}: {error}"
        hint = "this is a bug in llmtrain; add --debug for the traceback"
        translated = LlmtrainError(Problem(code="internal", says=says, hint=hint))
    translated.__cause__ = error
    return translated


def _answer(error: LlmtrainError, *, as_json: bool, debug: bool) -> None:
    from llmtrain.cli.answer import print_error

    try:
        print_error(error, as_json=as_json, debug=debug)
        sys.stdout.flush()
    except OSError:  # stdout takes nothing: its disk is full
        print_error(error, as_json=False, debug=debug)
    _let_go()
