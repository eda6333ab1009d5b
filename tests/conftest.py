"""What holds for every test."""

import signal

import pytest


@pytest.fixture(scope="session", autouse=True)
def _interrupts_are_heard():
    """A shell starts its background jobs with SIGINT ignored, and every process under test would inherit that."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
