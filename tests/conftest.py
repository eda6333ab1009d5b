"""What holds for every test, and how ``make test`` deals them out to its workers."""

import os
import signal

import pytest
from hypothesis import Phase, settings
from xdist.scheduler import LoadScopeScheduling

from tests.parity.tally import pytest_terminal_summary

__all__ = ["pytest_configure", "pytest_terminal_summary", "pytest_xdist_make_scheduler"]
SHARING = {
    "tests/e2e/": "house",
    "tests/integration/test_stack.py": "house",
    "tests/integration/test_spark.py": "Spark",
    "tests/parity/": "Spark",
}
"""Paths whose tests share what takes long to start, a house with a month of telemetry or the Java that Spark runs in,
or what there is one of on a machine: two stacks that start at the same time find the same usual ports free."""

# A busy machine is no finding: no example fails for the time it took. A failure prints the seed that repeats it.
settings.register_profile("short", deadline=None, print_blob=True, max_examples=40)
settings.register_profile("sweep", deadline=None, print_blob=True, max_examples=2_000)
settings.register_profile(
    "mutants", deadline=None, max_examples=20, database=None, phases=[Phase.explicit, Phase.generate]
)
settings.load_profile(os.environ.get("TIDEMILL_LAWS", "short"))


class Dealer(LoadScopeScheduling):
    """Deals out a file at a time, because its tests share what they build, and what is sharing as a whole."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((shared for path, shared in SHARING.items() if file.startswith(path)), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log) -> Dealer:
    return Dealer(config, log)


def pytest_configure() -> None:
    """A shell starts its background jobs with SIGINT ignored, and every process under test would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
