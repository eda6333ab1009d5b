"""What the demo says at its end: ``summary.json`` from the journal of its steps."""

from collections.abc import Mapping
from typing import Any

from infra.local.demo.journal import Journal
from infra.local.demo.scenario import INGESTED

PROMOTIONS = ("promote 1", "promote 2", "roll back", "roll forward", "refused")


def summarize(journal: Journal, usecase: str) -> dict[str, Any]:
    """Gather the figures of a finished demo.

    Returns:
        A JSON-ready mapping: ``ok``, ``steps``, ``ingest``, ``model``, ``release``, ``cloud``, ``gateways``, ``skew``
        and ``monitor``.
    """
    ingested = [journal.result(name) for name in ("ingest 1", "ingest 2")]
    trained, promoted = journal.result("train 2"), journal.result("promote 2")
    refused = journal.result("refused")
    asked = [journal.result(name) for name in PROMOTIONS]
    return {
        "ok": journal.finished,
        "steps": [
            {"name": name, "seconds": step["seconds"], "ok": step["ok"], "outcome": step["outcome"]}
            for name, step in journal.steps.items()
        ],
        "ingest": {name: sum(result[name] for result in ingested) for name in INGESTED},
        "model": {
            "name": usecase,
            "version": trained["version"],
            "metrics": trained["metrics"],
            "parity": trained["parity"],
        },
        "release": {
            "version": journal.result("roll forward")["version"],
            "digest": trained["digest"],
            "seconds_to_server": promoted["server_s"],
            "seconds_to_gateways": promoted["gateways_s"],
            "refused": [{"version": refused["version"], "reason": refused["reason"]}],
        },
        "cloud": {
            "requests": sum(result["requests"] for result in asked),
            "failed": sum(result["failed"] for result in asked),
            "versions_served": sorted({version for result in asked for version in result["versions"]}, key=int),
        },
        "gateways": [_gateway(gateway) for gateway in journal.result("gateways")["gateways"]],
        "skew": journal.result("skew"),
        "monitor": journal.result("monitor"),
    }


def _gateway(gateway: Mapping[str, Any]) -> dict[str, Any]:
    return {name: gateway[name] for name in ("id", "version", "predictions", "alerts", "accepted", "rejected")}
