"""What holds for every test, and how ``make test`` deals them out to its workers."""

import signal

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.parity.tally import pytest_terminal_summary

__all__ = ["pytest_terminal_summary", "pytest_xdist_make_scheduler"]
SHARING = ("tests/e2e/", "tests/parity/")
"""Folders whose files share what takes long to make: a house with a month of telemetry; a Spark and its cases."""


class Dealer(LoadScopeScheduling):
    """Deals out a file at a time, because its tests share what they build, and a folder that does so as a whole."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((folder for folder in SHARING if file.startswith(folder)), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log) -> Dealer:
    return Dealer(config, log)


@pytest.fixture(scope="session", autouse=True)
def _interrupts_are_heard():
    """A shell starts its background jobs with SIGINT ignored, and every process under test would inherit that."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
