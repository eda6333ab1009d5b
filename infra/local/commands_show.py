"""Commands that only look: status, doctor, explain, config."""

import dataclasses
import math
import re
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from infra.local.command import Outcome, Run, command
from infra.local.console import table
from infra.local.errors import ExplainError
from infra.local.parameters import iso

if TYPE_CHECKING:
    from serving.prediction import Prediction

_CODE = re.compile(r"(?i)tm-?\d+")
_VERSION = re.compile(r"([a-z][a-z0-9_]*)/v?(\d+)")
_PREDICTION = re.compile(r"[0-9a-f]{32}")
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}
MOST_CAUSES = 6
LEAST_MOVED = 0.005  # less would read 0.00


@command("Show what is stored, released and running.", example="tidemill status --json")
def status(run: Run) -> Outcome:
    """Look at the store."""
    from infra.local.status import collect  # noqa: PLC0415 - the lake takes half a second to load
    from pipelines import usecases  # noqa: PLC0415 - see above

    store = run.open_store()
    found = collect(store, usecases.names(), run.now_us)
    rows = [
        (f.fleet, f.first_day or "-", f.last_day or "nothing ingested", f.quarantined_batches) for f in found.fleets
    ]
    lines = [f"as of {iso(run.now_us)}, {store.uri}", "", *table(("fleet", "from", "to", "quarantined batches"), rows)]
    released = [(u.usecase, u.version or "none", u.number, u.since, u.refused) for u in found.usecases]
    lines += ["", *table(("use case", "released", "release", "since", "refused"), released)] if released else []
    running = [
        (g.gateway, g.usecase, g.version or "none", g.desired, g.state, g.age_s, g.standing_alerts, g.reason)
        for g in found.gateways
    ]
    header = ("gateway", "use case", "runs", "released", "state", "said s ago", "alerts", "reason")
    lines += ["", *table(header, running)] if running else ["", "no gateway has reported yet"]
    return Outcome({"at": iso(run.now_us), "store": store.uri, **found.to_json()}, lines)


@command("Check that everything Tidemill needs is there and works.", example="tidemill doctor --store s3://plant/iot")
def doctor(run: Run) -> Outcome:
    """Run all checks; exit code 1 when one fails."""
    from infra.local import airflow_check  # noqa: PLC0415 - `--help` must not pay for it
    from infra.local.doctor import examine, verdict  # noqa: PLC0415 - see above
    from infra.local.parts import USUAL_PORTS  # noqa: PLC0415 - see above

    findings = []
    for finding in chain(examine(run.settings, USUAL_PORTS, run.now_us), airflow_check.examine()):
        findings.append(finding)
        mark = run.console.paint(f"{finding.state:<4}", _COLOURS[finding.state])
        run.console.row(mark, f"{finding.check:<8}", finding.sentence)
        if finding.fix:
            run.console.row("    ", " " * 8, f"fix: {finding.fix}")
    said = verdict(findings)
    ok = all(finding.state != "fail" for finding in findings)
    payload = {"ok": ok, "verdict": said, "findings": [dataclasses.asdict(finding) for finding in findings]}
    return Outcome(payload, [said], ok=ok)


@command("Show every setting and where it comes from.", example="tidemill config --store s3://plant/iot")
def config(run: Run) -> Outcome:
    """List the settings; secrets are covered."""
    from dags import settings  # noqa: PLC0415 - `--help` must not pay for it
    from pipelines.settings import Shown  # noqa: PLC0415 - see above

    shown = [*run.settings.shown, *(Shown(*choice) for choice in settings.chosen())]
    lines = table(("setting", "value", "source"), [(s.name, s.value, s.source) for s in shown])
    return Outcome({"settings": [dataclasses.asdict(setting) for setting in shown]}, lines)


@command(
    "Explain an error, a version, a device or a prediction.",
    example="tidemill explain TM-302",
    also="THING is an error code (TM-302), a version (pump_failure/3), a device (pump-007) or the id of a prediction. "
    "Without THING, all error codes are listed.",
)
@click.argument("thing", required=False)
def explain(run: Run, thing: str | None) -> Outcome:
    """Tell what there is to tell about one thing."""
    if thing is None:
        return _all_codes()
    if _CODE.fullmatch(thing):
        return _code(thing)
    if found := _VERSION.fullmatch(thing):
        from infra.local.commands_models import lineage_of  # noqa: PLC0415 - the registry takes seconds to load

        return lineage_of(run, found[1], found[2])
    return _prediction(run, thing) if _PREDICTION.fullmatch(thing) else _device(run, thing)


def _all_codes() -> Outcome:
    from infra.local.codes import all_codes  # noqa: PLC0415 - only here

    codes = all_codes()
    rows = [(found.code, found.exit_code, found.text.partition("\n")[0]) for found in codes]
    return Outcome({"codes": [dataclasses.asdict(found) for found in codes]}, table(("code", "exit", "meaning"), rows))


def _code(text: str) -> Outcome:
    from infra.local.codes import code  # noqa: PLC0415 - only here

    found = code(text)
    return Outcome(dataclasses.asdict(found), [f"{found.code} {found.name}", "", found.text, "", found.meaning])


def _prediction(run: Run, wanted: str) -> Outcome:
    from infra.local.explain import prediction_by_id  # noqa: PLC0415 - the lake takes half a second to load
    from pipelines import usecases  # noqa: PLC0415 - see above
    from pipelines.lake import Lake  # noqa: PLC0415 - see above

    store = run.open_store()
    found = prediction_by_id(store, Lake(store.uri), usecases.names(), wanted)
    if found is None:
        raise ExplainError(
            f"no prediction has the id {wanted}",
            where=store.uri,
            why="it is neither in the table of predictions nor in the newest logs",
            fix="wait for its gateway to forward its log, or correct --store",
        )
    return _why(run, found)


def _device(run: Run, device: str) -> Outcome:
    from infra.local.explain import latest_of  # noqa: PLC0415 - the lake takes half a second to load
    from pipelines import usecases  # noqa: PLC0415 - see above
    from pipelines.lake import Lake  # noqa: PLC0415 - see above

    store = run.open_store()
    lake = Lake(store.uri)
    for usecase in usecases.names():
        if found := latest_of(store, lake, usecase, device):
            return _why(run, found)
    raise ExplainError(
        f"nothing is known about {device!r}",
        where=store.uri,
        why="it is no error code, no version (pump_failure/3), no id of a prediction, and no device with predictions",
        fix="tidemill status",
    )


def _why(run: Run, prediction: "Prediction") -> Outcome:
    """A prediction, and which features made its score."""
    from infra.local.explain import causes_of, published  # noqa: PLC0415 - onnxruntime comes with it
    from serving.bundle import unpack  # noqa: PLC0415 - see above

    bundle = published(run.open_store(), prediction.bundle)
    if bundle is None:
        from pipelines.registry import Registry  # noqa: PLC0415 - MLflow takes seconds to load

        data = Registry(run.settings.tracking).download_bundle(prediction.usecase, prediction.version)
        bundle = unpack(data, prediction.bundle)
    causes = causes_of(prediction, bundle)
    told = [cause.sentence for cause in causes[:MOST_CAUSES] if abs(cause.moved) >= LEAST_MOVED]
    output = bundle.manifest.output
    ahead = f"{bundle.manifest.horizon_s / 3600:g} h from " if bundle.manifest.horizon_s else "at "
    said = f"{output.words}, {ahead}{_end(prediction)}"
    lines = [
        f"{prediction.device}: {prediction.score:.2f} for {bundle.manifest.label} ({said})",
        f"{'ALERT' if prediction.alert else 'no alert'}, it alerts {output.alert} {bundle.manifest.threshold:.2f}",
        f"version {prediction.version} of {prediction.usecase}, {prediction.placement} {prediction.instance}",
        "",
        *(told or ["no feature on its own moved the score: with its usual value it would be the same"]),
        "",
        f"id {prediction.id}",
    ]
    return Outcome({"prediction": _plain(prediction), "causes": [_plain(cause) for cause in causes]}, lines)


def _end(prediction: "Prediction") -> str:
    return iso(prediction.window_end_us)


def _plain(thing: Any) -> dict[str, Any]:
    """A dataclass as JSON-ready dictionary: NaN is null, there as in the logs."""
    return {name: _number(value) for name, value in dataclasses.asdict(thing).items()}


def _number(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_number(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
