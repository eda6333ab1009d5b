"""Commands for those who watch: metrics, notify."""

import os
from pathlib import Path

import click

from infra.local.command import Outcome, Run, command


@command(
    "Show counts, freshness and release state for Prometheus.",
    example="tidemill metrics --write /var/lib/node_exporter/tidemill.prom",
    also="Everything is read from the store. --write leaves a file for a textfile collector and replaces it in one "
    "step; the DAG metrics does that every five minutes where TIDEMILL_METRICS_FILE names one.",
)
@click.option("--write", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write to this file.")
def metrics(run: Run, write: Path | None) -> Outcome:
    """Collect the metrics."""
    from infra.local.metrics import families  # noqa: PLC0415 - the lake takes half a second to load
    from pipelines import usecases  # noqa: PLC0415 - see above
    from serving.exposition import render  # noqa: PLC0415 - see above

    store = run.open_store()
    found = list(families(store, usecases.names(), run.now_us))
    text = render(found)
    payload = {
        "store": store.uri,
        "metrics": {
            family.name: [{"labels": dict(labels), "value": value} for labels, value in family.samples]
            for family in found
        },
    }
    if write is None:
        return Outcome(payload, text.decode().splitlines())
    replace(write, text)
    count = sum(len(family.samples) for family in found)
    return Outcome({**payload, "file": str(write)}, [f"{count} samples of {len(found)} metrics in {write}"])


def replace(path: Path, text: bytes) -> None:
    """Write a file in one step, readable by everybody: a collector runs as another user and reads at any moment.

    The name in between does not end in ``.prom``, so no collector takes it for a file of its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(text)
        beside.chmod(0o644)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@command(
    "Send a test message to whoever is told of failures.",
    example="tidemill notify",
    also="Who is told stands in [notifications] of tidemill.toml, or in TIDEMILL_NOTIFY_* variables. Exit code 2 when "
    "nobody is, 3 when a message could not be sent.",
)
def notify(run: Run) -> Outcome:
    """Try the channels."""
    from dags import notify as channels  # noqa: PLC0415 - `--help` must not pay for it
    from dags import settings  # noqa: PLC0415 - see above
    from dags.errors import ScheduleError  # noqa: PLC0415 - see above

    chosen = settings.options().notifications
    if not channels.configured(chosen):
        raise ScheduleError(
            "nobody is told of failures", where="[notifications]", fix='slack = "https://…" in tidemill.toml'
        )
    what = "This is a test; nothing has failed."
    told = channels.send(
        channels.Message("failed", "none", "a test", f"test at {run.now_us // 1_000_000}", "", what, "", "none"), chosen
    )
    return Outcome({"told": told}, [f"told {', '.join(told)}"])
