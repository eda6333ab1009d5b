"""The format of a release, and what placements read."""

import json

import pytest

from serving.bundle import digest_of
from serving.errors import BundleDigestError, ReleaseError
from serving.release import Release, ReleaseReader, bundle_path, release_path
from serving.trust.client import TrustedClient
from serving.trust.errors import UnreachableError
from serving.trust.publisher import Publisher
from tests.fakes.bundles import packed
from tests.fakes.stores import MemoryStore

NOW = 1_790_000_000_000_000
BUNDLE = packed()
DIGEST = digest_of(BUNDLE)
RELEASE = Release("fan_failure", 3, "7", DIGEST, bundle_path(DIGEST), NOW, ("gateway",), "sha256:aa")


@pytest.fixture
def publish(keys, tmp_path):
    """Publish files and give the reader of a client that has seen them."""
    store = MemoryStore()
    publisher = Publisher(store, keys)
    publisher.initialise(NOW)
    client = TrustedClient(store, tmp_path / "client", publisher.root_bytes())

    def published(files: dict[str, bytes]) -> ReleaseReader:
        publisher.publish(files, (), NOW)
        client.refresh(NOW)
        return ReleaseReader(client)

    return published


def test_a_release_comes_back():
    assert Release.from_bytes(RELEASE.to_bytes()) == RELEASE
    assert not RELEASE.withdrawn
    assert Release("fan_failure", 4, "", "", "", NOW).withdrawn


FIELDS = json.loads(RELEASE.to_bytes())
UNREADABLE = {
    "cut": b'{"format":2',
    "not an object": b"[]",
    "without format": {name: value for name, value in FIELDS.items() if name != "format"},
    "of a newer format": FIELDS | {"format": 3},
    "with an unknown field": FIELDS | {"canary": 5},
    "without a number": {name: value for name, value in FIELDS.items() if name != "number"},
    "with a path of its own": FIELDS | {"path": "bundles/other.tmb"},
    "with a path and no bundle": FIELDS | {"bundle": ""},
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_anything_else_is_refused(content):
    data = (
        content if isinstance(content, bytes) else json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    )
    with pytest.raises(ReleaseError, match="update this program"):
        Release.from_bytes(data)


def test_a_placement_reads_the_release_and_its_bundle(publish):
    reader = publish({release_path("fan_failure"): RELEASE.to_bytes(), RELEASE.path: BUNDLE})
    assert reader.usecases() == ["fan_failure"]
    assert reader.latest("fan_failure") == RELEASE
    assert reader.bundle(RELEASE) == BUNDLE
    assert reader.latest("pump_failure") is None


def test_a_release_in_the_place_of_another_is_refused(publish):
    reader = publish({release_path("pump_failure"): RELEASE.to_bytes()})
    with pytest.raises(ReleaseError, match="another's place"):
        reader.latest("pump_failure")


def test_a_signed_bundle_must_still_be_the_released_one(publish):
    reader = publish({RELEASE.path: packed(bias=0.5)})
    with pytest.raises(BundleDigestError, match="not the released one"):
        reader.bundle(RELEASE)


def test_a_withdrawn_release_has_no_bundle(publish):
    with pytest.raises(ReleaseError, match="withdrawn"):
        publish({}).bundle(Release("fan_failure", 4, "", "", "", NOW))


def test_nothing_is_read_before_the_first_refresh(keys, tmp_path):
    store = MemoryStore()
    publisher = Publisher(store, keys)
    publisher.initialise(NOW)
    with pytest.raises(UnreachableError, match="refresh first"):
        ReleaseReader(TrustedClient(store, tmp_path / "new", publisher.root_bytes())).latest("fan_failure")
