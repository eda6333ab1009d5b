"""``tidemill demo``: the whole main job on this machine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from infra.local.command import Outcome, Run, command
from infra.local.demo import play
from infra.local.settings import environment


@command(
    "Run the whole main job on this machine and show it.",
    example="tidemill demo --data ~/azure_pdm",
    also="Simulated pumps, or real telemetry with --data, go from object storage to a promoted model that answers in "
    "the cloud server and on three gateways. A demo that was stopped goes on after its last finished step.",
)
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the Azure Predictive Maintenance files.")
@click.option("--state", type=click.Path(path_type=Path), default=Path("build"), help="Folder of everything it writes.")
def demo(run: Run, data: Path | None, state: Path) -> Outcome:
    """Run the demo and say where its page is."""
    summary = play.run(state.resolve(), data.resolve() if data else None, environment(), run.console)
    lines = [
        "",
        _verdict(summary),
        f"Look at it:    {state / 'demo' / 'report.html'}",
        "Click through: make up",
        "Ask further:   .venv/bin/tidemill status",
    ]
    return Outcome(summary, lines)


def _verdict(summary: Mapping[str, Any]) -> str:
    cloud, skew = summary["cloud"], summary["skew"]
    return (
        f"It works: {cloud['failed']} of {cloud['requests']:,} requests failed, "
        f"F1 {summary['model']['metrics']['f1']:.2f}, skew {skew['max_rel']:.0e}."
    )
