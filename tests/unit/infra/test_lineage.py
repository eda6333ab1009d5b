"""A version is followed from its data to its gateways, each fact read where it is kept."""

import hashlib
import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from infra.local import cli
from infra.local.lineage import trace, write_rebuilt
from pipelines import usecases
from pipelines.candidate import build
from pipelines.errors import VersionMissingError
from pipelines.history import load as load_history
from pipelines.labels import FailureWithin
from pipelines.lake import Lake
from pipelines.registration import Version
from pipelines.training import Parameters, train
from serving.approval import GateRecord, write_gate
from serving.bundle import digest_of, pack
from serving.promotion import Promotion, PromotionLedger
from serving.store import FolderStore
from tests.fakes.aged import age
from tests.fakes.bundles import golden_of, logistic_model, manifest_of, weights_of
from tests.fakes.histories import fill_lake, history
from tests.fakes.seal import SecretSeal
from tests.fakes.trainings import MemoryTrainings

NOW_US = 1_790_000_000_000_000
DATA = pack(manifest_of(), logistic_model(weights_of(), 0.0), golden_of(weights_of(), 0.0))


class OneVersion:
    """A registry that holds version 3 of one use case."""

    def versions(self, usecase: str) -> list[Version]:
        return [Version("3", "run", digest_of(DATA), ("champion",), {"gate": "passed"}, 0)]

    def download_bundle(self, usecase: str, version: str) -> bytes:
        if version != "3":
            raise VersionMissingError("there is no such version", where=f"{usecase} version {version}")
        return DATA

    def page(self, usecase: str, version: str) -> str:
        return f"http://mlflow/#/models/{usecase}/versions/{version}"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def promoted(store: FolderStore) -> None:
    ledger = PromotionLedger(store, "fan_failure", SecretSeal())
    for before, after in (("", "2"), ("2", "3"), ("3", "4")):
        entry = Promotion("fan_failure", NOW_US, "released", int(after), before, after, "", "", "")
        ledger.append(ledger.last(), entry)


def reported(store: FolderStore, gateway: str, version: str) -> None:
    told = {
        "id": gateway, "usecase": "fan_failure", "state": "serving", "reason": "", "version": version, "desired": None,
        "at": "2026-09-21T14:13:00Z", "predictions": 1, "standing_alerts": 0, "updates": {"reason": ""},
    }  # fmt: skip
    store.put(f"reports/fans/{gateway}.json", json.dumps(told).encode())


def test_everything_known_about_a_version_is_gathered(store: FolderStore):
    write_gate(store, GateRecord("fan_failure", digest_of(DATA), True, (), NOW_US))
    promoted(store)
    reported(store, "gw-1", "3")
    reported(store, "gw-2", "2")
    found = trace(store, OneVersion(), "fan_failure", "3", NOW_US)
    assert found.bundle.manifest.lineage == {"run": "test"}
    assert found.gate is not None
    assert found.gate.passed
    assert [(entry.from_version, entry.to_version) for entry in found.promotions] == [("2", "3"), ("3", "4")]
    assert [state.gateway for state in found.gateways] == ["gw-1"]
    assert found.predictions == {}
    told = "\n".join(found.lines())
    for part in (
        "version 3 (champion)",
        "run: test",
        "passed 2026-09-21T14:13:20Z",
        "2 -> 3",
        "gw-1 runs it, said 20 s ago",
    ):
        assert part in told
    json.dumps(found.to_json(), allow_nan=False)


def test_a_training_set_is_rebuilt_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    usecase = replace(usecases.load("machine_failure"), label=FailureWithin(timedelta(hours=24)))
    monkeypatch.setattr(usecases, "load", lambda name: usecase)
    store, lake = FolderStore(tmp_path), Lake(str(tmp_path))
    fill_lake(lake, usecase, history(devices=8, days=30))
    data = load_history(store, lake, usecase, since=None, until=None, seed=2, now_us=NOW_US)
    bundle = build(usecase, data, "linear", {"C": 0.5}, 2).data
    registry = SimpleNamespace(
        download_bundle=lambda usecase, version: bundle,
        versions=lambda usecase: [Version("1", "run", digest_of(bundle), (), {}, 0)],
        page=lambda usecase, version: "http://mlflow/",
    )
    found = trace(store, registry, "machine_failure", "1", NOW_US, again=True)
    assert found.rebuilt is not None
    assert found.rebuilt.equal
    written = write_rebuilt(found.rebuilt, tmp_path / "again")
    assert [path.name for path in written] == ["training-set.bin", "train.parquet", "test.parquet"]
    assert hashlib.sha256(written[0].read_bytes()).hexdigest() == data.lineage["rows.sha256"]
    assert pq.read_table(written[1]).num_rows == len(data.train)
    told = "\n".join(found.lines())
    for part in (
        "features.version: 1",
        "seed: 2",
        "parameter.C: 0.5",
        "environment: python 3",
        "code: ",
        "equal to the",
    ):
        assert part in told
    assert found.to_json()["rebuilt"]["equal"] is True


DECLARED = usecases.load
FAILS = replace(DECLARED("machine_failure"), label=FailureWithin(timedelta(hours=24)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, MemoryTrainings]:
    """A training that is registered; 40 days later all of its rows have been written anew."""
    folder, registry = tmp_path_factory.mktemp("trained"), MemoryTrainings()
    lake = Lake(str(folder))
    fill_lake(lake, FAILS, history(devices=8, days=30))
    train(FolderStore(folder), lake, registry, FAILS, Parameters(estimator="linear", seed=2), now_us=NOW_US)
    for table in (lake.features(FAILS.features), lake.events(FAILS.features.fleet)):
        rows = table.open().read()
        table.open().replace(rows.slice(len(rows) // 2), None)
        age(table, 40)
    return folder, registry


@pytest.fixture
def registered(
    trained: tuple[Path, MemoryTrainings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> SimpleNamespace:
    """The same in a folder of its own, with a registry that commands ask."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(usecases, "load", lambda name: FAILS if name == FAILS.name else DECLARED(name))
    shutil.copytree(trained[0], tmp_path / "store")  # times of files included: they are old
    found = SimpleNamespace(store=str(tmp_path / "store"), registry=trained[1], asked=trained[1])
    monkeypatch.setattr("pipelines.registry.Registry", lambda _: found.asked)
    return found


def looked_after(registered: SimpleNamespace, asked: MemoryTrainings, capsys: pytest.CaptureFixture[str]) -> Any:
    """What upkeep did to features and events, when the registry knows these trainings."""
    registered.asked = asked
    capsys.readouterr()
    assert cli.run(["lake", "upkeep", "azure_pdm", "--store", registered.store, "--json"]) == 0
    registered.asked = registered.registry
    return json.loads(capsys.readouterr().out)["tables"]


def test_what_a_registered_training_learned_from_outlives_upkeep(
    registered: SimpleNamespace, capsys: pytest.CaptureFixture[str]
):
    words = ["lineage", "models:/machine_failure/1", "--rebuild", "-", "--store", registered.store]
    for _ in range(2):
        done = looked_after(registered, registered.registry, capsys)
        assert [done[name]["kept"] for name in ("features", "events")] == [[1], [1]]
        assert cli.run([*words, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["rebuilt"]["equal"] is True


@pytest.mark.parametrize("log", ["stays", "goes"])
def test_what_upkeep_took_away_is_told_to_whoever_rebuilds(
    registered: SimpleNamespace, capsys: pytest.CaptureFixture[str], log: str
):
    """Nobody names the version any more; its log entries stay where an even older version is named."""
    other = MemoryTrainings()
    if log == "stays":
        (own,) = registered.registry.registrations
        source = {**own.dataset.source, "features.version": "0", "events.version": "0"}
        other.registrations.append(replace(own, dataset=replace(own.dataset, source=source)))
    done = looked_after(registered, other, capsys)
    assert done["features"]["files"] > 0
    assert (done["features"]["entries"] == 0) == (log == "stays")
    words = ["lineage", "models:/machine_failure/1", "--rebuild", "-", "--store", registered.store]
    assert cli.run(words) == 1
    told = capsys.readouterr().err
    missing = {"stays": "files of version 1 of the table are gone", "goes": "the table has no version 1"}
    assert missing[log] in told
    for part in ("TM-305", "lake/azure_pdm/features-", "no version registered in MLflow learned from", "train again"):
        assert part in told


def test_a_version_that_went_nowhere_says_so(store: FolderStore):
    told = "\n".join(trace(store, OneVersion(), "fan_failure", "3", NOW_US).lines())
    assert "gate      no record" in told
    assert "never promoted" in told


def test_a_version_that_is_not_there_is_an_error(store: FolderStore):
    with pytest.raises(VersionMissingError):
        trace(store, OneVersion(), "fan_failure", "9", NOW_US)
