"""Predictions of a small fleet of pumps, and the released bundle they were made with."""

from datetime import UTC, datetime

import numpy as np

from pipelines import usecases
from serving.bundle import unpack
from serving.record import Prediction, Spool, prediction_id
from tests.fakes.bundles import packed

USECASE = usecases.load("pump_failure")
HOUR = 3_600_000_000
DAY = 24 * HOUR
START = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp()) * 1_000_000
NOW = START + 40 * DAY
BUNDLE = packed(USECASE.features, "pump_failure")
DIGEST = unpack(BUNDLE).digest
PUMPS = tuple(f"pump-{number}" for number in range(6))


def publish(store):
    """Put the bundle where a release puts it."""
    number = DIGEST.removeprefix("sha256:")
    store.put(f"updates/targets/bundles/{number}.{number}.tmb", BUNDLE)


def prediction(device, end_us, *, alert=False, features=None, version="3", placement="gateway", digest=DIGEST, **other):
    values = np.full(len(USECASE.features.names), np.nan) if features is None else features
    return Prediction(
        **{
            "id": prediction_id("pump_failure", placement, "site-1", device, end_us, digest),
            "usecase": "pump_failure",
            "placement": placement,
            "instance": "site-1",
            "device": device,
            "window_end_us": end_us,
            "predicted_at_us": end_us + 60_000_000,
            "version": version,
            "bundle": digest,
            "feature_digest": USECASE.features.digest,
            "score": 0.9 if alert else 0.1,
            "alert": alert,
            "features": tuple(float(value) for value in values),
            **other,
        }
    )


def send(tmp_path, store, predictions):
    """Bring predictions to the store as a gateway does."""
    spool = Spool(tmp_path / "spool", store)
    spool.append(predictions)
    assert spool.forward() == len(predictions)
    spool.close()


def calm(random):
    """Features as the reference of the bundle has them."""
    return random.uniform(0, 10, len(USECASE.features.names))


def a_fortnight(random, shift=0.0):
    """Two weeks of predictions for every pump, features moved by ``shift``."""
    return [
        prediction(device, START + hour * HOUR, features=calm(random) + shift)
        for device in PUMPS
        for hour in range(0, 14 * 24, 3)
    ]
