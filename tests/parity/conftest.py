"""The end of the Spark that computed some of the cases."""

from tests.parity import cluster


def pytest_sessionfinish() -> None:
    """Stop Spark while its log can still be written to."""
    cluster.STARTED.close()
