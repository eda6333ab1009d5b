"""What a server counts, and how it tells Prometheus."""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable

from serving.exposition import Family, Sample


class Meter:
    """Counts answers and predictions; safe to use from any thread.

    Latency is kept as sum and count per kind of request: averages over any interval follow from two scrapes, and no
    bucket borders have to be guessed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: Counter[tuple[str, int]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._predictions: Counter[tuple[str, str]] = Counter()
        self._alerts: Counter[tuple[str, str]] = Counter()
        self._events: Counter[str] = Counter()

    def answered(self, kind: str, status: int, seconds: float) -> None:
        """Count an answer. ``kind`` is one of a few words, never a client's text: each makes a series."""
        with self._lock:
            self._answers[kind, status] += 1
            self._seconds[kind] += seconds

    def predicted(self, usecase: str, version: str, rows: int, alerts: int) -> None:
        """Count the rows a version answered and how many of them alert."""
        with self._lock:
            self._predictions[usecase, version] += rows
            self._alerts[usecase, version] += alerts

    def happened(self, event: str) -> None:
        """Count something that happens to the server itself."""
        with self._lock:
            self._events[event] += 1

    def families(self) -> Iterable[Family]:
        """All counts so far."""
        with self._lock:
            answers, seconds = sorted(self._answers.items()), sorted(self._seconds.items())
            predictions, alerts = sorted(self._predictions.items()), sorted(self._alerts.items())
            events = sorted(self._events.items())
        counts: Counter[str] = Counter()
        for (kind, _), count in answers:
            counts[kind] += count
        yield Family(
            "tidemill_requests_total",
            "counter",
            "Requests answered, by kind and HTTP status.",
            [({"kind": kind, "status": str(status)}, count) for (kind, status), count in answers],
        )
        yield Family(
            "tidemill_request_seconds_sum",
            "counter",
            "Seconds spent on requests, reading the body not included.",
            [({"kind": kind}, value) for kind, value in seconds],
        )
        yield Family(
            "tidemill_request_seconds_count",
            "counter",
            "Requests that the seconds were spent on.",
            [({"kind": kind}, count) for kind, count in sorted(counts.items())],
        )
        yield Family("tidemill_predictions_total", "counter", "Rows scored.", _by_version(predictions))
        yield Family("tidemill_alerts_total", "counter", "Rows whose score reached the threshold.", _by_version(alerts))
        yield Family(
            "tidemill_events_total",
            "counter",
            "What happened to the server: switched, withdrawn, refused, refresh_failed, record_failed.",
            [({"event": event}, count) for event, count in events],
        )


def _by_version(counts: list[tuple[tuple[str, str], int]]) -> list[Sample]:
    return [({"usecase": usecase, "version": version}, count) for (usecase, version), count in counts]
