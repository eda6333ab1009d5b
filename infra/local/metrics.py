"""What the pipeline did and how fresh it is, as Prometheus reads it: read from the object storage alone.

Points in time, not ages, so that an age grows while nobody writes anew. What a thing has no answer to yet is left out:
no telemetry is no time, not the year 1970.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from features import catalog
from infra.local.status import GatewayState, reports
from pipelines.errors import TableMissingError
from pipelines.lake import Lake
from pipelines.materialize import writers
from serving.errors import LedgerError, MissingObjectError, ReleaseError
from serving.exposition import Family, Sample
from serving.promotion import Promotion, PromotionLedger
from serving.published import read_releases
from serving.retraining import decision_keys
from serving.status import read_status
from serving.store import Store

_SECOND = 1_000_000
_ROLES = ("timestamp",)


def families(store: Store, usecases: Sequence[str], now_us: int) -> Iterator[Family]:
    """Yield everything there is to tell.

    Args:
        store: The object storage.
        usecases: Names of the use cases.
        now_us: The clock, UTC microseconds.
    """
    lake = Lake(store.uri)
    yield from _fleets(store, lake)
    yield from _gates(store)
    yield from _retraining(store, usecases)
    yield from _releases(store, usecases)
    yield from _rollouts(store, usecases)
    yield from _predictions(store, lake, usecases)
    yield from _gateways(reports(store, now_us))
    yield from _signatures(store)
    sentence = "When these numbers were read."
    yield Family("tidemill_metrics_timestamp_seconds", "gauge", sentence, [({}, now_us / _SECOND)])


def _fleets(store: Store, lake: Lake) -> Iterator[Family]:
    newest: list[Sample] = []
    rows: list[Sample] = []
    behind: list[Sample] = []
    readings: list[Sample] = []
    refused: list[Sample] = []
    for name in catalog.names():
        features, label = catalog.load(name).features.computable, {"fleet": name}
        try:
            telemetry = lake.telemetry(features.fleet).open()
        except TableMissingError:
            continue
        readings.append((label, sum(telemetry.row_counts().values())))
        newest += [(label, at / _SECOND) for at in _newest(telemetry.ranges("time"))]
        batches = {entry.key.split("/")[2] for entry in store.list(f"quarantine/{name}/")}
        refused.append((label, len(batches)))
        taken_in, done = telemetry.transaction(f"ingest:{name}"), 0
        try:
            made = lake.features(features).open()
        except TableMissingError:
            pass
        else:
            done = made.transaction(writers(features)[0])
            rows += [(label, at / _SECOND) for at in _newest(made.ranges("end"))]
        behind.append((label, max(taken_in - done, 0)))
    yield Family("tidemill_telemetry_readings", "gauge", "Accepted readings in the lake.", readings)
    yield Family("tidemill_telemetry_newest_timestamp_seconds", "gauge", "Event time of the newest reading.", newest)
    yield Family("tidemill_quarantine_batches", "gauge", "Batches with rejected records.", refused)
    yield Family("tidemill_features_newest_timestamp_seconds", "gauge", "End of the newest feature row.", rows)
    yield Family("tidemill_features_behind_batches", "gauge", "Ingest batches that are in no feature yet.", behind)


def _gates(store: Store) -> Iterator[Family]:
    results: Counter[tuple[str, str]] = Counter()
    latest: dict[str, tuple[int, bool]] = {}
    for entry in store.list("ledger/gates/"):
        record = _fields(store, entry.key, "usecase", "passed", "decided_at_us")
        if record is None:
            continue
        usecase, passed, at = str(record[0]), bool(record[1]), int(record[2])
        results[usecase, "passed" if passed else "failed"] += 1
        latest[usecase] = max(latest.get(usecase, (0, False)), (at, passed))
    counts: list[Sample] = [({"usecase": u, "result": r}, count) for (u, r), count in sorted(results.items())]
    last: list[Sample] = [({"usecase": usecase}, int(passed)) for usecase, (_, passed) in sorted(latest.items())]
    when: list[Sample] = [({"usecase": usecase}, at / _SECOND) for usecase, (at, _) in sorted(latest.items())]
    yield Family("tidemill_gate_results", "gauge", "Bundles the gate has judged, by result.", counts)
    yield Family("tidemill_gate_last_passed", "gauge", "1 when the latest bundle passed.", last)
    yield Family("tidemill_gate_last_timestamp_seconds", "gauge", "When the gate judged last.", when)


def _retraining(store: Store, usecases: Sequence[str]) -> Iterator[Family]:
    made: list[Sample] = []
    when: list[Sample] = []
    wanted: list[Sample] = []
    for usecase in usecases:
        keys = decision_keys(store, usecase)
        last = _fields(store, keys[-1], "decided_at_us", "retrain") if keys else None
        if last is None:
            continue
        label = {"usecase": usecase}
        made.append((label, len(keys)))
        when.append((label, int(last[0]) / _SECOND))
        wanted.append((label, int(bool(last[1]))))
    yield Family("tidemill_retraining_decisions", "gauge", "Decisions for or against a retraining.", made)
    yield Family("tidemill_retraining_last_timestamp_seconds", "gauge", "When it was decided last.", when)
    yield Family("tidemill_retraining_wanted", "gauge", "1 when the latest decision was to train anew.", wanted)


def _releases(store: Store, usecases: Sequence[str]) -> Iterator[Family]:
    found: list[tuple[str, Promotion]] = []
    broken: list[Sample] = []
    for usecase in usecases:
        try:
            last = PromotionLedger(store, usecase).last()
        except LedgerError:
            broken.append(({"usecase": usecase}, 1))
            continue
        if last:
            found.append((usecase, last))
            broken.append(({"usecase": usecase}, 0))
    serving: list[Sample] = [({"usecase": u, "version": last.serving_version}, last.number) for u, last in found]
    when: list[Sample] = [({"usecase": u}, last.observed_at_us / _SECOND) for u, last in found]
    refused: list[Sample] = [({"usecase": u}, int(last.outcome == "refused")) for u, last in found]
    yield Family("tidemill_release_number", "gauge", "Number of the release that serves, 0 for none.", serving)
    yield Family("tidemill_release_changed_timestamp_seconds", "gauge", "When a promotion was seen last.", when)
    yield Family("tidemill_ledger_broken", "gauge", "1 while the ledger of promotions cannot be read.", broken)
    aborted: list[Sample] = [({"usecase": u}, int(last.outcome == "aborted")) for u, last in found]
    yield Family("tidemill_release_refused", "gauge", "1 while the version that is wanted is refused.", refused)
    yield Family("tidemill_release_aborted", "gauge", "1 while the version that is wanted was aborted.", aborted)


def _rollouts(store: Store, usecases: Sequence[str]) -> Iterator[Family]:
    """How far releases have come, and whether one waits for a person or for its gateways."""
    try:
        found = read_releases(store)
    except ReleaseError:
        found = {}
    stage: list[Sample] = []
    share: list[Sample] = []
    for usecase, release in sorted(found.items()):
        label = {"usecase": usecase, "version": release.version}
        stage.append((label, release.stage))
        share.append((label, 0.0 if release.withdrawn else release.share))
    waits: list[Sample] = [
        ({"usecase": usecase}, int(status.get("action") == "waiting"))
        for usecase in usecases
        if (status := read_status(store, usecase))
    ]
    yield Family("tidemill_rollout_stage", "gauge", "Stage of the release that spreads or serves.", stage)
    yield Family("tidemill_rollout_share", "gauge", "Share of the gateways that may run it.", share)
    yield Family("tidemill_rollout_waiting", "gauge", "1 while a release waits: for time, gateways or people.", waits)


def _predictions(store: Store, lake: Lake, usecases: Sequence[str]) -> Iterator[Family]:
    stored: list[Sample] = []
    newest: list[Sample] = []
    for usecase in usecases:
        logged = [entry.modified_us for entry in store.list(f"predictions/{usecase}/")]
        try:
            table = lake.predictions(usecase).open()
        except TableMissingError:
            pass
        else:
            stored.append(({"usecase": usecase}, sum(table.row_counts().values())))
            logged += _newest(table.ranges("predicted_at"))
        if logged:
            newest.append(({"usecase": usecase}, max(logged) / _SECOND))
    yield Family("tidemill_predictions_stored", "gauge", "Predictions in the lake.", stored)
    yield Family("tidemill_predictions_newest_timestamp_seconds", "gauge", "When one was logged last.", newest)


def _gateways(states: Sequence[GatewayState]) -> Iterator[Family]:
    count = Counter((state.usecase, state.state) for state in states)
    runs = Counter((state.usecase, state.version) for state in states if state.state not in ("silent", "unreadable"))
    away = Counter(
        state.usecase
        for state in states
        if state.desired and state.desired != state.version and state.state != "silent"
    )
    by_state: list[Sample] = [({"usecase": u, "state": s}, n) for (u, s), n in sorted(count.items())]
    by_version: list[Sample] = [({"usecase": u, "version": v}, n) for (u, v), n in sorted(runs.items())]
    waiting: list[Sample] = [({"usecase": usecase}, away[usecase]) for usecase in sorted({u for u, _ in count})]
    yield Family("tidemill_gateways", "gauge", "Gateways by what they say of themselves.", by_state)
    yield Family("tidemill_gateways_running", "gauge", "Gateways that report, by the version they run.", by_version)
    yield Family("tidemill_gateways_waiting", "gauge", "Gateways that do not run yet what is released.", waiting)


def _signatures(store: Store) -> Iterator[Family]:
    """When the newest statement of what is released runs out; gateways take no update after that."""
    samples: list[Sample] = []
    for role in _ROLES:
        stated = _fields(store, f"updates/metadata/{role}.json", "signed")
        if stated is not None and isinstance(stated[0], dict) and "expires" in stated[0]:
            until = datetime.fromisoformat(str(stated[0]["expires"])).astimezone(UTC)
            samples.append(({"role": role}, until.timestamp()))
    yield Family("tidemill_signatures_expire_timestamp_seconds", "gauge", "When signatures run out.", samples)


def _newest(ranges: Mapping[str, tuple[int, int]]) -> list[int]:
    return [max(high for _, high in ranges.values())] if ranges else []


def _fields(store: Store, key: str, *names: str) -> list[Any] | None:
    """Fields of a document; None where it cannot be read: the other numbers are told all the same."""
    try:
        found = json.loads(store.get(key))
        return [found[name] for name in names]
    except (MissingObjectError, ValueError, KeyError, TypeError):
        return None
