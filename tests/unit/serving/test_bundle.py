import contextlib
import dataclasses
import io
import json
import math
import random
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import bundle as bundle_module
from serving.bundle import Golden, canonical_json, digest_of, pack, unpack
from serving.errors import (
    BundleContentError,
    BundleDigestError,
    BundleError,
    BundleLayoutError,
    BundleTooLargeError,
    BundleVersionError,
)
from tests.fakes import bundles

DATA = bundles.packed()
DIGEST = digest_of(DATA)


def members() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(DATA)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive_of(content: dict[str, bytes], date=(1980, 1, 1, 0, 0, 0), compression=zipfile.ZIP_STORED) -> bytes:
    """A zip written by hand, as `pack` writes it unless told otherwise."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in content.items():
            header = zipfile.ZipInfo(name, date)
            header.create_system, header.external_attr, header.compress_type = 3, 0o100644 << 16, compression
            archive.writestr(header, data)
    return buffer.getvalue()


def with_manifest(**changes: object) -> bytes:
    """The bundle with other fields in its manifest; everything else, digests of members included, stays true."""
    content = members()
    stated = {**json.loads(content["manifest.json"]), **changes}
    stated = {name: value for name, value in stated.items() if value is not ...}
    return archive_of({**content, "manifest.json": canonical_json(stated)})


def with_golden(data: bytes) -> bytes:
    """The bundle with another golden member that the manifest vouches for."""
    content = members()
    stated = json.loads(content["manifest.json"])
    stated["members"]["golden.json"] = {"digest": digest_of(data), "size": len(data)}
    return archive_of({**content, "golden.json": data, "manifest.json": canonical_json(stated)})


def test_what_was_packed_is_unpacked():
    opened = unpack(DATA, DIGEST)
    golden = bundles.golden_of(bundles.weights_of(), 0.0)
    assert opened.manifest == bundles.manifest_of()
    assert opened.model == bundles.logistic_model(bundles.weights_of(), 0.0)
    assert opened.digest == DIGEST
    np.testing.assert_array_equal(opened.golden.rows, golden.rows)
    np.testing.assert_array_equal(opened.golden.scores, golden.scores)
    assert np.isnan(opened.golden.rows).any()
    assert opened.golden.tolerance == golden.tolerance


def test_a_reference_of_a_feature_that_was_never_there_survives_as_nan():
    manifest = dataclasses.replace(bundles.manifest_of(), reference={"heat_max_1h": [math.nan] * 11})
    opened = unpack(pack(manifest, b"m", bundles.golden_of(bundles.weights_of(), 0.0)))
    assert all(math.isnan(edge) for edge in opened.manifest.reference["heat_max_1h"])


def test_the_same_content_gives_the_same_bytes():
    manifest = bundles.manifest_of()
    shuffled = dataclasses.replace(manifest, reference=dict(reversed(list(manifest.reference.items()))))
    weights = bundles.weights_of()
    again = pack(shuffled, bundles.logistic_model(weights, 0.0), bundles.golden_of(weights, 0.0))
    assert again == DATA
    assert bundles.packed(bias=0.1) != DATA


def test_another_digest_than_promised_is_refused_before_anything_is_read():
    with pytest.raises(BundleDigestError, match=DIGEST):
        unpack(DATA, digest_of(b"other"))
    with pytest.raises(BundleDigestError):
        unpack(b"no bundle at all", DIGEST)


@pytest.mark.parametrize(
    ("build", "error", "sentence"),
    [
        (lambda: b"", BundleLayoutError, "cannot be read as a zip"),
        (lambda: b"PK\x05\x06" + b"\0" * 18, BundleLayoutError, "it has none"),
        (lambda: archive_of({**members(), "z.txt": b""}), BundleLayoutError, "z.txt"),
        (lambda: archive_of({**members(), "../../evil": b""}), BundleLayoutError, "../../evil"),
        (lambda: archive_of(dict(reversed(members().items()))), BundleLayoutError, "in order"),
        (lambda: archive_of(members(), compression=zipfile.ZIP_DEFLATED), BundleLayoutError, "is compressed"),
        (lambda: archive_of(members(), date=(2026, 1, 1, 0, 0, 0)), BundleLayoutError, "not as `pack` writes it"),
        (lambda: b"prefix" + DATA, BundleLayoutError, ""),
        (lambda: archive_of({**members(), "model.onnx": b"other"}), BundleDigestError, "(model.onnx)"),
        (lambda: with_manifest(format=2), BundleVersionError, "it says 2, this program knows 1"),
        (lambda: with_manifest(format=...), BundleVersionError, "it says None"),
        (lambda: with_manifest(members={}), BundleDigestError, "not the recorded one"),
        (lambda: with_manifest(members=None), BundleDigestError, "not the recorded one"),
        (lambda: with_manifest(feature_digest="sha256:00"), BundleContentError, "not the one it claims to be"),
        (lambda: with_manifest(features=[]), BundleContentError, "(features): it is a list, not an object"),
        (lambda: with_manifest(features={}), BundleContentError, "feature set cannot be read"),
        (lambda: with_manifest(usecase="../evil"), BundleContentError, "(usecase)"),
        (lambda: with_manifest(usecase=...), BundleContentError, "no 'usecase' in it"),
        (lambda: with_manifest(threshold=1.5), BundleContentError, "(threshold): 1.5 is not within 0..1"),
        (lambda: with_manifest(threshold=True), BundleContentError, "(threshold): it holds a bool"),
        (lambda: with_manifest(threshold=10**400), BundleContentError, "infinite"),
        (lambda: with_manifest(horizon_s=-1), BundleContentError, "(horizon_s)"),
        (lambda: with_manifest(horizon_s=1.5), BundleContentError, "(horizon_s)"),
        (lambda: with_manifest(placements=["moon"]), BundleContentError, "(placements)"),
        (lambda: with_manifest(placements=[]), BundleContentError, "(placements)"),
        (lambda: with_manifest(placements=[["cloud"]]), BundleContentError, "manifest"),
        (lambda: with_manifest(lineage={"run": 7}), BundleContentError, "(lineage)"),
        (lambda: with_manifest(label=""), BundleContentError, "(label)"),
        (lambda: with_manifest(reference={"other": [0] * 11}), BundleContentError, "(reference)"),
        (lambda: with_manifest(reference={"heat_max_1h": [0] * 10}), BundleContentError, "it has 10 edges, not 11"),
        (
            lambda: with_manifest(reference={"heat_max_1h": [*range(10), 0]}),
            BundleContentError,
            "(reference of heat_max_1h): its edges decrease",
        ),
        (lambda: archive_of({**members(), "manifest.json": b"{"}), BundleContentError, "not valid JSON"),
        (lambda: archive_of({**members(), "manifest.json": b"[" * 100_000}), BundleContentError, "not valid JSON"),
        (lambda: archive_of({**members(), "manifest.json": b"[]"}), BundleContentError, "it is a list"),
        (lambda: archive_of({**members(), "manifest.json": b'{"format":NaN}'}), BundleContentError, "NaN is no JSON"),
        (lambda: with_golden(b'{"rows":[],"scores":[],"tolerance":1e-6}'), BundleContentError, "0 rows"),
        (lambda: with_golden(b'{"rows":[[1]],"scores":[0],"tolerance":1e-6}'), BundleContentError, "the 6 features"),
        (
            lambda: with_golden(b'{"rows":[[1,2,3,4,5,6]],"scores":[0,1],"tolerance":1e-6}'),
            BundleContentError,
            "2 scores for 1 rows",
        ),
        (
            lambda: with_golden(b'{"rows":[[1,2,3,4,5,6]],"scores":[2],"tolerance":1e-6}'),
            BundleContentError,
            "a score is not within 0..1",
        ),
        (
            lambda: with_golden(b'{"rows":[[1,2,3,4,5,6]],"scores":[null],"tolerance":1e-6}'),
            BundleContentError,
            "NoneType where a number belongs",
        ),
        (
            lambda: with_golden(b'{"rows":[[1,2,3,4,5,6]],"scores":[0.5],"tolerance":1}'),
            BundleContentError,
            "tolerance 1.0 is not within",
        ),
        (
            lambda: with_golden(b'{"rows":[["1",2,3,4,5,6]],"scores":[0.5],"tolerance":1e-6}'),
            BundleContentError,
            "holds a str",
        ),
        (lambda: with_golden(b'{"rows":[]}'), BundleContentError, "not rows, scores and tolerance"),
    ],
)
def test_a_wrong_bundle_is_refused_with_its_own_sentence(build, error, sentence):
    with pytest.raises(error) as caught:
        unpack(build())
    assert sentence in str(caught.value)


WITH_PANES = pack(bundles.manifest_of(), b"model", bundles.golden_of(bundles.weights_of(), 0.0), b"graph")


def parts(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_graph_from_panes_travels_as_a_fourth_member_named_in_the_manifest():
    opened = unpack(WITH_PANES)
    assert (opened.model, opened.pane_model) == (b"model", b"graph")
    assert list(parts(WITH_PANES)) == ["golden.json", "manifest.json", "model.onnx", "pane_model.onnx"]
    stated = json.loads(parts(WITH_PANES)["manifest.json"])["members"]
    assert stated["pane_model.onnx"] == {"digest": digest_of(b"graph"), "size": 5}
    assert unpack(DATA).pane_model is None


def without(name: str) -> dict[str, bytes]:
    return {member: data for member, data in parts(WITH_PANES).items() if member != name}


@pytest.mark.parametrize(
    ("content", "error", "sentence"),
    [
        ({**parts(WITH_PANES), "pane_model.onnx": b"other"}, BundleDigestError, "(pane_model.onnx)"),
        (without("pane_model.onnx"), BundleDigestError, "not the recorded one"),
        ({**members(), "pane_model.onnx": b"graph"}, BundleDigestError, "not the recorded one"),
        (without("model.onnx"), BundleLayoutError, "if at all, pane_model.onnx"),
        ({"pane_model.onnx": b"graph", **members()}, BundleLayoutError, "in order"),
    ],
)
def test_a_graph_from_panes_that_is_not_the_recorded_one_is_refused(content, error, sentence):
    with pytest.raises(error) as caught:
        unpack(archive_of(content))
    assert sentence in str(caught.value)


def test_size_is_checked_before_anything_is_read(monkeypatch):
    monkeypatch.setattr(bundle_module, "TOTAL_LIMIT", len(DATA) - 1)
    with pytest.raises(BundleTooLargeError, match=f"{len(DATA)} bytes"):
        unpack(DATA)


def test_the_size_of_a_member_is_judged_by_its_header(monkeypatch):
    monkeypatch.setattr(bundle_module, "MEMBER_LIMITS", {**bundle_module.MEMBER_LIMITS, "model.onnx": 10})
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("a member was read"))
    with pytest.raises(BundleTooLargeError, match=r"\(model.onnx\): at most 10 bytes"):
        unpack(DATA)


def test_what_unpack_would_refuse_is_not_packed():
    golden = bundles.golden_of(bundles.weights_of(), 0.0)
    for manifest, rows in (
        (bundles.manifest_of(usecase="No Name"), golden),
        (bundles.manifest_of(threshold=math.nan), golden),
        (bundles.manifest_of(), Golden(golden.rows[:, 1:], golden.scores)),
        (bundles.manifest_of(), Golden(golden.rows, golden.scores * math.nan)),
    ):
        with pytest.raises(BundleContentError):
            pack(manifest, b"model", rows)


def test_every_flipped_byte_is_noticed_without_knowing_the_digest():
    """Headers by the canonical form, contents by their checksums. Every byte, one bit each, the bit by a fixed seed."""
    bits = random.Random(20261122)
    for position in range(len(DATA)):
        damaged = bytearray(DATA)
        damaged[position] ^= 1 << bits.randrange(8)
        with pytest.raises(BundleError):
            unpack(bytes(damaged))


def test_every_truncation_is_noticed():
    for length in range(0, len(DATA), 7):
        with pytest.raises(BundleError):
            unpack(DATA[:length])


@given(st.data())
def test_any_mutation_is_refused_as_a_bundle_error(data):
    damaged = bytearray(DATA)
    for _ in range(data.draw(st.integers(1, 4), "mutations")):
        start = data.draw(st.integers(0, len(damaged)), "at")
        end = data.draw(st.integers(start, min(len(damaged), start + 64)), "to")
        damaged[start:end] = data.draw(st.binary(max_size=64), "with")
    if bytes(damaged) == DATA:
        return
    with pytest.raises(BundleDigestError):
        unpack(bytes(damaged), DIGEST)
    with pytest.raises(BundleError):
        unpack(bytes(damaged))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(name=st.sampled_from(sorted(json.loads(members()["manifest.json"]))), value=JSON)
def test_any_value_in_any_field_is_read_or_refused_as_a_bundle_error(name, value):
    with contextlib.suppress(BundleError):
        unpack(with_manifest(**{name: value}))
