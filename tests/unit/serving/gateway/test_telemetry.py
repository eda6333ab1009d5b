import io
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from features.feature import TimeSince
from features.featureset import FeatureSet
from features.online import OnlineFeatures
from serving.bundle import unpack
from serving.errors import DiskFullError
from serving.gateway import telemetry as telemetry_module
from serving.gateway.counts import Told
from serving.gateway.errors import NoModelError
from serving.gateway.scoring import Model
from serving.gateway.slots import Installed
from serving.gateway.telemetry import CLOCK_SLACK_US, UNKEPT_LIMIT, Telemetry
from serving.journal import Journal
from serving.prediction import Prediction, decode
from serving.predictor import Predictor
from serving.record import Spool
from tests.fakes import bundles, fans, models
from tests.fakes.stores import MemoryStore

NOW = fans.START_US + 30 * fans.HOUR_US
OTHER = FeatureSet(bundles.FLEET, bundles.FEATURES.pane, timedelta(hours=2), bundles.FEATURES.features)


def model_of(data: bytes, version: str = "1", released_at_us: int = 0) -> Model:
    bundle = unpack(data)
    installed = Installed("a", version, 1, bundle.digest, released_at_us)
    return Model(installed, Predictor(bundle), bundle.manifest.features.digest)


class Bench:
    """A ``Telemetry`` with what it stands on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = MemoryStore()
        self.lines = io.StringIO()
        self.spool = Spool(folder / "spool", self.store)
        self.telemetry = self.again()

    def again(self) -> Telemetry:
        (self.folder / "memory").mkdir(exist_ok=True)
        return Telemetry("fan_failure", "gw-1", self.folder / "memory", self.spool, Journal(self.lines))

    def predictions(self) -> list[Prediction]:
        self.spool.forward()
        logged = [row for entry in self.store.list("predictions/") for row in decode(self.store.get(entry.key))]
        return sorted(logged, key=lambda row: (row.window_end_us, row.device))


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.spool.close()


def test_nothing_is_taken_before_the_first_model(bench):
    with pytest.raises(NoModelError):
        bench.telemetry.take(fans.body(0, 10), NOW)


def test_every_record_is_accounted_for(bench):
    bench.telemetry.serve(model_of(bundles.packed()))
    bench.telemetry.take(fans.body(0, 120), NOW)
    mixed = [*fans.records(115, 130), *fans.records(0, 5), b"{oops", b'{"device":"x"}']
    intake = bench.telemetry.take(b"\n".join(mixed), NOW)
    assert (intake.accepted, intake.duplicates, intake.late) == (10, 5, 5)
    assert intake.rejected == {"unreadable": 1, "no_time": 1}
    totals = bench.telemetry.totals
    assert (totals.accepted, totals.duplicates, totals.late, totals.rejected.total()) == (130, 5, 5, 2)


def test_predictions_are_the_models_answers_to_the_online_features(bench):
    model = model_of(bundles.packed(), version="7")
    bench.telemetry.serve(model)
    made = sum(bench.telemetry.take(fans.body(at, at + 45, devices=3), NOW).predictions for at in range(0, 270, 45))
    online = OnlineFeatures(bundles.FEATURES, bundles.FLEET.late_after)
    minutes = np.repeat(np.arange(270), 3)
    values = np.column_stack([50.0 + minutes % 7, np.tile([20.0, 21.0, 22.0], 270)])
    names = ["fan-0", "fan-1", "fan-2"] * 270
    expected = online.update(names, fans.START_US + minutes * fans.MINUTE_US, values)
    logged = bench.predictions()
    assert made == len(logged) == len(expected.end) == 12
    by_window = {(row.device, row.window_end_us): row for row in logged}
    scores = model.predictor.predict(expected.values).score
    for device, end, features, score in zip(expected.device, expected.end, expected.values, scores, strict=True):
        row = by_window[device, int(end)]
        np.testing.assert_allclose(row.features, features, rtol=1e-9)
        assert row.score == pytest.approx(score, abs=1e-6)
        assert (row.version, row.placement, row.instance, row.predicted_at_us) == ("7", "gateway", "gw-1", NOW)


def test_a_model_with_the_same_features_goes_on_with_the_running_ones(bench):
    bench.telemetry.serve(model_of(bundles.packed(), "1"))
    bench.telemetry.take(fans.body(0, 100), NOW)
    bench.telemetry.serve(model_of(bundles.packed(bias=1.0), "2"))
    bench.telemetry.take(fans.body(100, 131), NOW)
    assert [(row.version, row.features[0] > 0) for row in bench.predictions()] == [("1", True), ("2", True)]


def test_what_is_missing_in_the_features_is_counted_for_the_version_that_answers(bench):
    bench.telemetry.serve(model_of(bundles.packed(), "1"))
    mute = fans.body(0, 100).replace(b'"heat"', b'"heet"')
    assert bench.telemetry.take(mute, NOW).predictions == 1
    shown = bench.telemetry.totals.shown
    (first,) = bench.predictions()
    assert (shown.bundle, shown.values) == (first.bundle, len(first.features))
    assert shown.missing == np.isnan(first.features).sum() > 0
    bench.telemetry.serve(model_of(bundles.packed(bias=1.0), "2"))
    bench.telemetry.take(fans.body(100, 260), NOW)
    rows = [row for row in bench.predictions() if row.version == "2"]
    assert (shown.bundle, shown.values) == (rows[0].bundle, len(rows) * len(first.features))
    assert shown.missing == sum(np.isnan(row.features).sum() for row in rows)


def test_a_model_with_other_features_starts_warming_up_and_says_so(bench):
    bench.telemetry.serve(model_of(bundles.packed()))
    bench.telemetry.take(fans.body(0, 100), NOW)
    bench.telemetry.serve(model_of(bundles.packed(OTHER), "2"))
    assert "state=warming_up_for_3600s" in bench.lines.getvalue().splitlines()[-1]
    bench.telemetry.take(fans.body(100, 260), NOW)
    assert [row.window_end_us for row in bench.predictions() if row.version == "2"] == [
        fans.START_US + 4 * fans.HOUR_US
    ]


def test_features_and_alerts_survive_a_restart(bench):
    loud = model_of(bundles.packed(bias=50.0))
    bench.telemetry.serve(loud)
    bench.telemetry.take(fans.body(0, 200), NOW)
    bench.telemetry.save()
    again = bench.again()
    again.serve(loud)
    assert "state=restored" in bench.lines.getvalue().splitlines()[-1]
    assert [alert.device for alert in again.alerts()[0]] == ["fan-0"]
    assert again.take(fans.body(195, 260), NOW).predictions == 1
    assert again.totals.duplicates == 5
    assert again.totals.alerts == 0


def test_a_damaged_memory_is_forgotten_and_the_gateway_goes_on(bench):
    bench.telemetry.serve(model_of(bundles.packed()))
    bench.telemetry.take(fans.body(0, 100), NOW)
    bench.telemetry.save()
    for file in (bench.folder / "memory").iterdir():
        file.write_bytes(file.read_bytes()[:-3])
    again = bench.again()
    again.serve(model_of(bundles.packed()))
    assert again.take(fans.body(100, 131), NOW).accepted == 31
    assert "alerts_forgotten" in bench.lines.getvalue()


def test_alerts_are_raised_after_consecutive_windows_and_cleared(bench):
    bench.telemetry.serve(model_of(bundles.packed(bias=50.0)))
    bench.telemetry.take(fans.body(0, 131), NOW)
    standing, _ = bench.telemetry.alerts()
    assert [alert.device for alert in standing] == ["fan-0"]
    bench.telemetry.serve(model_of(bundles.packed(bias=-50.0)))
    bench.telemetry.take(fans.body(131, 251), NOW)
    standing, recent = bench.telemetry.alerts()
    assert standing == []
    assert [alert.kind for alert in recent] == ["cleared", "raised"]
    assert bench.telemetry.totals.alerts == 1


SERVICED = FeatureSet(
    replace(bundles.FLEET, event_kinds=("service",)),
    bundles.FEATURES.pane,
    bundles.FEATURES.every,
    (*bundles.FEATURES.features, TimeSince("service")),
)


def test_events_reach_the_features_that_speak_of_them(bench):
    with pytest.raises(NoModelError):
        bench.telemetry.tell(b"{}")
    bench.telemetry.serve(model_of(bundles.packed(SERVICED)))
    at = fans.START_US // 1000 + 30 * 60_000
    event = b'{"device":"fan-0","ts":%d,"kind":"service"}' % at
    told = bench.telemetry.tell(
        event + b'{"device":"fan-0","ts":5,"kind":"lunch"}{"device":"fan-0","kind":"service"}oops'
    )
    assert told == Told(accepted=1, ignored=1, rejected={"no_time": 1, "unreadable": 1}, late=0)
    bench.telemetry.take(fans.body(0, 71), NOW)
    assert [row.features[-1] for row in bench.predictions()] == [0.5]
    assert bench.telemetry.tell(event) == Told(1, 0, {}, late=0)
    assert bench.telemetry.tell(event.replace(b"%d" % at, b"%d" % (at + 1))).late == 1


def test_readings_of_too_many_devices_are_rejected_and_counted(bench, monkeypatch):
    monkeypatch.setattr(telemetry_module, "MOST_DEVICES", 2)
    bench.telemetry.serve(model_of(bundles.packed()))
    intake = bench.telemetry.take(fans.body(0, 5, devices=3), NOW)
    assert (intake.accepted, intake.rejected) == (10, {"too_many_devices": 5})


def test_devices_whose_windows_are_not_filled_are_counted(bench):
    assert bench.telemetry.filling() == (0, 0)
    bench.telemetry.serve(model_of(bundles.packed()))
    bench.telemetry.take(fans.body(0, 20, devices=2), NOW)
    assert bench.telemetry.filling() == (2, fans.START_US + fans.HOUR_US)
    bench.telemetry.take(fans.body(20, 71), NOW)
    assert bench.telemetry.filling() == (1, fans.START_US + fans.HOUR_US)


def test_a_withdrawn_model_leaves_the_features_warm(bench):
    model = model_of(bundles.packed())
    bench.telemetry.serve(model)
    bench.telemetry.take(fans.body(0, 60), NOW)
    bench.telemetry.withdraw()
    assert bench.telemetry.take(fans.body(60, 120), NOW).predictions == 0
    assert bench.telemetry.totals.unpredicted == 1
    bench.telemetry.serve(model)
    assert bench.telemetry.take(fans.body(120, 131), NOW).predictions == 1


def test_a_model_that_fails_is_answered_for_by_the_one_put_in_its_place(bench):
    good, bad = model_of(bundles.packed(), "1"), model_of(models.leaves_the_range(), "2")
    bench.telemetry.on_failure = lambda model, error: bench.telemetry.serve(good)
    bench.telemetry.serve(bad)
    assert bench.telemetry.take(fans.body(0, 71, speed=2900.0), NOW).predictions == 1
    assert [row.version for row in bench.predictions()] == ["1"]


def test_a_row_that_a_model_fails_on_does_not_take_its_neighbours_with_it(bench):
    bench.telemetry.serve(model_of(models.leaves_the_range()))
    calm, wild = fans.records(0, 71, devices=1, speed=5.0), fans.records(0, 71, devices=2, speed=2900.0)
    wild = [record for record in wild if b"fan-1" in record]
    assert bench.telemetry.take(b"\n".join(calm + wild), NOW).predictions == 1
    assert bench.telemetry.totals.unpredicted == 1
    assert [row.device for row in bench.predictions()] == ["fan-0"]


def test_predictions_the_disk_refuses_wait_in_memory_and_are_kept_later(bench, monkeypatch):
    bench.telemetry.serve(model_of(bundles.packed()))
    append = bench.spool.append

    def full(predictions):
        raise DiskFullError("no space left for predictions")

    monkeypatch.setattr(bench.spool, "append", full)
    assert bench.telemetry.take(fans.body(0, 131), NOW).predictions == 2
    assert "event=spool state=failing" in bench.lines.getvalue()
    monkeypatch.setattr(bench.spool, "append", append)
    bench.telemetry.save()
    assert len(bench.predictions()) == 2


def test_what_waits_in_memory_is_bounded(bench, monkeypatch):
    bench.telemetry.serve(model_of(bundles.packed()))
    bench.telemetry.take(fans.body(0, 71), NOW)
    (one,) = bench.predictions()

    def full(predictions):
        raise DiskFullError("no space left for predictions")

    monkeypatch.setattr(bench.spool, "append", full)
    bench.telemetry._unkept = [one] * (UNKEPT_LIMIT + 3)
    bench.telemetry.take(fans.body(71, 131), NOW)
    assert len(bench.telemetry._unkept) == UNKEPT_LIMIT
    assert "lost=4" in bench.lines.getvalue()


def test_a_clock_that_is_behind_the_release_dates_nothing_before_its_window(bench):
    bench.telemetry.serve(model_of(bundles.packed(), released_at_us=NOW))
    behind = 5 * fans.MINUTE_US
    assert bench.telemetry.clock_is_behind(behind)
    assert not bench.telemetry.clock_is_behind(NOW - CLOCK_SLACK_US)
    unstamped = fans.body(0, 71).replace(b'"received"', b'"ignored"')
    assert bench.telemetry.take(unstamped, behind).accepted == 71
    (row,) = bench.predictions()
    assert row.predicted_at_us == row.window_end_us
