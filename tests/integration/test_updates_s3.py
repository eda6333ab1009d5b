"""A release over the real S3 protocol: from an alias to a client, with every object behind boto3."""

import pytest

from serving.approval import GateRecord, write_gate
from serving.bundle import digest_of
from serving.reconcile import reconcile
from serving.release import ReleaseReader
from serving.store import open_store
from serving.trust.client import TrustedClient
from serving.trust.keys import create_keys
from serving.trust.publisher import Publisher
from tests.fakes.bundles import packed
from tests.fakes.registry import MemoryRegistry
from tests.fakes.s3 import BUCKET, s3_server

NOW = 1_790_000_000_000_000


@pytest.fixture
def store(monkeypatch):
    with s3_server() as server:
        for name, value in server.items():
            monkeypatch.setenv(name, value)
        yield open_store(f"s3://{BUCKET}/tidemill")


def test_an_alias_becomes_a_release_that_clients_trust_over_s3(store, tmp_path):
    create_keys(tmp_path / "keys")
    publisher = Publisher(store, tmp_path / "keys")
    publisher.initialise(NOW)
    registry, bundle = MemoryRegistry(), packed()
    registry.set_champion("fan_failure", registry.register("fan_failure", bundle))
    write_gate(store, GateRecord("fan_failure", digest_of(bundle), True, (), NOW))
    assert [outcome.action for outcome in reconcile(registry, store, publisher, NOW)] == ["released"]
    assert [outcome.action for outcome in reconcile(registry, store, publisher, NOW)] == ["unchanged"]

    client = TrustedClient(store, tmp_path / "client", publisher.root_bytes())
    client.refresh(NOW)
    reader = ReleaseReader(client)
    release = reader.latest("fan_failure")
    assert release is not None
    assert reader.bundle(release) == bundle

    registry.remove_champion("fan_failure")
    assert [outcome.action for outcome in reconcile(registry, store, publisher, NOW)] == ["withdrawn"]
    assert client.refresh(NOW)
    withdrawn = reader.latest("fan_failure")
    assert withdrawn is not None
    assert withdrawn.withdrawn
