"""Prometheus text exposition (format 0.0.4), the few lines of it that a server and a gateway need.

A client library would bring registries, threads and a megabyte for what is string formatting: both placements count in
plain integers and render when somebody asks.

Example:
    >>> requests = Family("tidemill_requests_total", "counter", "Requests answered.", [({"status": "200"}, 3)])
    >>> print(render([requests]).decode(), end="")
    # HELP tidemill_requests_total Requests answered.
    # TYPE tidemill_requests_total counter
    tidemill_requests_total{status="200"} 3
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[Mapping[str, str], float]


@dataclass(frozen=True, slots=True)
class Family:
    """All samples of one metric.

    Attributes:
        name: Name of the metric, with its unit and, for a counter, the ending ``_total``.
        kind: ``counter`` or ``gauge`` (a pair of ``_sum`` and ``_count`` counters stands for a summary).
        sentence: What is counted, for the reader of a dashboard.
        samples: Pairs of labels and value.
    """

    name: str
    kind: Literal["counter", "gauge"]
    sentence: str
    samples: Sequence[Sample]


def render(families: Iterable[Family]) -> bytes:
    """Write the families in the order given; a family without samples still announces itself."""
    lines = []
    for family in families:
        lines += [f"# HELP {family.name} {family.sentence}", f"# TYPE {family.name} {family.kind}"]
        lines += [f"{family.name}{_labels(labels)} {_number(value)}" for labels, value in family.samples]
    return ("\n".join(lines) + "\n").encode()


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items()) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))
