"""In CI a skipped test is a failed one: a machine that lacks something must not look green."""

import os
import signal
from collections.abc import Generator

import pytest


def pytest_configure() -> None:
    """Let Ctrl-C be Ctrl-C, whatever started the tests.

    A shell starts what runs in its background with SIGINT ignored, and every child inherits that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longreprtext}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The trainer's first, which take longest: else one process is left with them at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/trainer/"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_if_skipped(report)
    return report
