import dataclasses
import json

import pytest

from serving.baseline import Baseline, read_baseline
from serving.bundle import pack, unpack
from serving.errors import BundleContentError
from tests.fakes import bundles

NAMES = ("flow", "heat")
BASELINE = Baseline(400, {"flow": 0.25})


def test_a_baseline_travels_with_its_bundle():
    names = bundles.FEATURES.names
    manifest = dataclasses.replace(bundles.manifest_of(), baseline=Baseline(400, dict.fromkeys(names, 0.25)))
    weights = bundles.weights_of()
    opened = unpack(pack(manifest, bundles.logistic_model(weights, 0.0), bundles.golden_of(weights, 0.0)))
    assert opened.manifest == manifest


def test_a_bundle_from_before_has_none():
    assert bundles.bundle().manifest.baseline is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"rows": 0}, "rows"),
        ({"rows": True}, "rows"),
        ({"missing": {"flow": 1.5}}, "share"),
        ({"missing": {"speed": 0.5}}, "does not have"),
        ({"missing": [0.5]}, "not an object"),
        ({"more": 1}, "it is not rows"),
    ],
)
def test_what_it_must_not_say_is_refused(change, why):
    with pytest.raises(BundleContentError, match=why):
        read_baseline(json.loads(json.dumps({**BASELINE.to_json(), **change})), NAMES)
