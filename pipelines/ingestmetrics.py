"""What ingests counted, as Prometheus reads it from a file: for the textfile collector of a node exporter."""

import math

from pipelines.datareport import lateness_quantile
from pipelines.findings import COUNTED, QUANTILES, usual
from pipelines.witness import Testimony
from serving.exposition import Family, Sample, render


def metrics(fleet: str, seen: Testimony, now_us: int) -> bytes:
    """Render the state after a run.

    Counters run over all runs that left a report. Times are points in time, so that their age grows while no run
    comes; figures of a run are those of the latest one that brought something.

    Args:
        fleet: Name of the fleet.
        seen: What the run left.
        now_us: The clock, UTC microseconds.
    """
    memory, label = seen.memory, {"fleet": fleet}
    outcomes: list[Sample] = [({**label, "outcome": name}, memory.counts.get(name, 0)) for name in COUNTED]
    reasons: list[Sample] = [({**label, "reason": name}, n) for name, n in sorted(memory.reasons.items())]
    found = [
        Family("tidemill_ingest_records_total", "counter", "Records by what became of them.", outcomes),
        Family("tidemill_ingest_rejected_total", "counter", "Rejected records and objects by reason.", reasons),
        Family("tidemill_ingest_runs_total", "counter", "Runs that brought something.", [(label, memory.runs)]),
        Family("tidemill_ingest_last_run_timestamp_seconds", "gauge", "When it last ran.", [(label, now_us / 1e6)]),
    ]
    unknown: list[Sample] = [({**label, "field": name}, n) for name, n in sorted(memory.unknown.items())]
    if unknown:
        sentence = "Records with a field that the mapping names nowhere."
        found.append(Family("tidemill_ingest_unknown_fields_total", "counter", sentence, unknown))
    damaged: list[Sample] = [(label, seen.arrivals.damaged)]
    sentence = "Objects that came damaged in the latest run, and are tried again."
    found.append(Family("tidemill_ingest_damaged_objects", "gauge", sentence, damaged))
    if memory.newest_us is not None:
        newest: list[Sample] = [(label, memory.newest_us / 1e6)]
        found.append(Family("tidemill_ingest_newest_reading_timestamp_seconds", "gauge", "Newest event time.", newest))
    kinds = [line.partition(":")[0] for line in seen.warnings]
    warned: list[Sample] = [({**label, "kind": kind}, int(kind in kinds)) for kind in ("freshness", "volume")]
    found.append(Family("tidemill_ingest_warning", "gauge", "1 while this is out of the ordinary.", warned))
    if memory.volumes:
        latest: list[Sample] = [(label, memory.volumes[-1])]
        found.append(Family("tidemill_ingest_accepted", "gauge", "Readings that the latest run accepted.", latest))
    if (typical := usual(memory)) is not None:
        found.append(
            Family("tidemill_ingest_accepted_usual", "gauge", "Median of the latest runs.", [(label, typical)])
        )
    lateness = {share: lateness_quantile(seen.arrivals.lateness, share) for share in QUANTILES}
    quantiles: list[Sample] = [
        ({**label, "quantile": str(share)}, value) for share, value in lateness.items() if not math.isnan(value)
    ]
    if quantiles:
        sentence = "How late the readings of this run came at most."
        found.append(Family("tidemill_ingest_lateness_seconds", "gauge", sentence, quantiles))
    return render(found)
