"""The registry against a real MLflow server."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest
from mlflow import MlflowClient

from pipelines import usecases
from pipelines.errors import RegistryError, RegistryUnreachableError, VersionMissingError
from pipelines.labels import FailureWithin
from pipelines.lake import Lake
from pipelines.registration import BUNDLE, REPORT, DatasetUse, Registration, TrainingSet, TrialRun
from pipelines.registry import Registry
from pipelines.training import Parameters, train
from serving.approval import Control, Desired, Wanted, read_gate
from serving.bundle import digest_of
from serving.store import open_store
from tests.fakes.histories import fill_lake, history
from tests.fakes.mlflow_server import Door, free_port, mlflow_server

pytestmark = pytest.mark.slow
NOW = 1_795_305_600_000_000


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


@pytest.fixture(scope="module")
def client(url):
    return MlflowClient(url, url)


@pytest.fixture
def registry(url):
    return Registry(url)


@pytest.fixture
def name(request):
    """A registered model of its own for each test."""
    return re.sub(r"\W+", "_", request.node.name)[5:60]


TRIALS = (
    TrialRun(
        0, "2026-11-22 manual 90d #00 linear", {"C": "0.5"}, {"trial_f1": 0.5, "trial_seconds": 1.5},
        {"trial.family": "linear"}, NOW, 1.5,
    ),
    TrialRun(
        1, "2026-11-22 manual 90d #01 forest", {}, {"trial_seconds": 0.1}, {"trial.family": "forest"}, NOW, 0.1, True
    ),
)  # fmt: skip


def registration(name, data=b"a bundle", **changes):
    given = Registration(
        usecase=name,
        title="Something fails",
        experiment=f"fleet/{name}",
        run_name="2026-11-22 manual 90d",
        digest=digest_of(data),
        passed=True,
        params={"estimator": "linear", "seed": "0"},
        metrics={"failures_caught": 3.0, "lead_time_hours_median": float("nan")},
        tags={"training.key": "k1", "airflow.url": "http://airflow/run"},
        files={BUNDLE: data, REPORT: b"<!doctype html>", "report/report.json": b"{}"},
        dataset=DatasetUse("fleet/features", digest_of(b"rows"), {"features.version": "7"}),
        describe=lambda link: f"Passed: catches 3 of 3\n\n[Open the report]({link})",
    )
    return replace(given, **changes)


def versions_in(client, name):
    return client.search_model_versions(f"name = '{name}'")


def runs_in(client, name):
    home = client.get_experiment_by_name(f"fleet/{name}")
    return client.search_runs([home.experiment_id]) if home else []


def test_a_training_leaves_one_run_with_everything_in_it(registry, client, name):
    found = registry.register(registration(name))
    run = client.get_run(found.run_id)
    assert run.info.run_name == "2026-11-22 manual 90d"
    assert run.info.status == "FINISHED"
    assert run.data.params == {"estimator": "linear", "seed": "0"}
    assert run.data.metrics == {"failures_caught": 3.0}  # a number that is not there is left out
    assert run.data.tags["airflow.url"] == "http://airflow/run"
    assert run.data.tags["bundle.digest"] == digest_of(b"a bundle")
    assert run.inputs.dataset_inputs[0].dataset.name == "fleet/features"
    listed = {item.path for folder in ("bundle", "report") for item in client.list_artifacts(found.run_id, folder)}
    assert listed == {BUNDLE, REPORT, "report/report.json"}


def test_a_version_that_passed_becomes_the_challenger_and_fits_the_screen(registry, client, name, url):
    found = registry.register(registration(name))
    assert (found.version, found.reused) == ("1", False)
    assert found.url == f"{url}/#/models/{name}/versions/1"
    assert found.report.endswith(f"/runs/{found.run_id}/artifacts/report/index.html")
    version = client.get_model_version_by_alias(name, "challenger")
    assert version.version == "1"
    assert version.tags == {"gate": "passed"}
    assert all(len(value) <= 12 for value in version.tags.values())
    home = client.get_run(found.run_id).info.experiment_id
    assert version.description.splitlines()[0] == "Passed: catches 3 of 3"
    assert f"(#/experiments/{home}/runs/{found.run_id}/artifacts/report/index.html)" in version.description
    assert client.get_registered_model(name).description == "Something fails"


def test_a_version_says_what_it_learned_from(registry, client, name):
    assert registry.training_sets(name) == []
    source = {"features.digest": "sha256:rows", "since": "5", "until": "70", "train": 3}
    registry.register(registration(name, dataset=DatasetUse("fleet/features", digest_of(b"rows"), source)))
    client.create_model_version(name, "s3://somewhere/else")  # registered by hand
    assert registry.training_sets(name) == [TrainingSet(name, "1", "sha256:rows", 5, 70)]


def test_nobody_but_a_person_makes_a_champion(registry, name):
    registry.register(registration(name))
    assert registry.champion(name) is None
    registry.set_alias(name, "champion", "1")
    assert registry.champion(name) == "1"
    registry.delete_alias(name, "champion")
    registry.delete_alias(name, "champion")
    assert registry.champion(name) is None


def test_a_version_that_failed_gets_no_alias(registry, client, name):
    found = registry.register(registration(name, passed=False))
    assert registry.tags(name, found.version)["gate"] == "failed"
    assert client.get_registered_model(name).aliases == {}


def test_registering_the_same_bundle_again_changes_nothing_but_the_decision(registry, client, name):
    one = registry.register(registration(name))
    again = registry.register(registration(name))
    assert (again.version, again.run_id, again.reused) == (one.version, one.run_id, True)
    registry.register(registration(name, passed=False))
    assert registry.tags(name, "1")["gate"] == "failed"
    assert client.get_registered_model(name).aliases == {}
    assert len(versions_in(client, name)) == len(runs_in(client, name)) == 1


def test_another_bundle_is_another_version_and_takes_the_challenger_over(registry, client, name):
    registry.register(registration(name))
    assert registry.register(registration(name, b"another")).version == "2"
    assert client.get_model_version_by_alias(name, "challenger").version == "2"
    assert [version.digest for version in registry.versions(name)] == [digest_of(b"a bundle"), digest_of(b"another")]
    assert registry.versions(name)[1].aliases == ("challenger",)


class Dying:
    """MLflow's client in a process that is killed at the n-th call."""

    def __init__(self, client, calls):
        self._client, self._left = client, calls

    def __getattr__(self, name):
        self._left -= 1
        if self._left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return getattr(self._client, name)


def register_and_die(url, entry, calls):
    """Register in a child that is killed after so many calls; say whether it came to its end."""
    child = os.fork()
    if child == 0:
        registry = Registry(url)
        registry._connection.__dict__["client"] = Dying(MlflowClient(url, url), calls)
        registry.register(entry)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return status == 0


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_wherever_a_training_is_killed_the_next_one_leaves_one_run_and_one_version(registry, client, url, name):
    calls, survived = 0, False
    while not survived:
        entry = registration(f"{name}_{calls}", trials=TRIALS[:1])
        survived = register_and_die(url, entry, calls)
        versions = versions_in(client, entry.usecase)
        assert all(client.get_run(version.run_id).info.status == "FINISHED" for version in versions)
        done = registry.register(entry)
        assert (len(runs_in(client, entry.usecase)), len(versions_in(client, entry.usecase))) == (2, 1)
        assert {run.info.status for run in runs_in(client, entry.usecase)} == {"FINISHED"}
        assert registry.download_bundle(entry.usecase, done.version) == b"a bundle"
        assert client.get_run(done.run_id).info.status == "FINISHED"
        assert client.get_model_version_by_alias(entry.usecase, "challenger").version == "1"
        calls += 1
    assert calls > 10


def test_a_run_that_was_abandoned_long_ago_is_marked(registry, client, name):
    registry.register(registration(name))
    home = client.get_experiment_by_name(f"fleet/{name}").experiment_id
    old = client.create_run(home, start_time=1).info.run_id
    fresh = client.create_run(home).info.run_id
    registry.register(registration(name, b"another"))
    assert client.get_run(old).info.status == "KILLED"
    assert client.get_run(fresh).info.status == "RUNNING"


def test_a_release_sees_the_champion_with_the_very_bytes_that_were_registered(registry, name):
    registry.register(registration(name))
    assert Wanted(name, None) in registry.wanted()
    registry.set_alias(name, "champion", "1")
    wanted = next(each for each in registry.wanted() if each.usecase == name)
    assert (wanted.version, wanted.control) == ("1", Control())
    assert registry.load(wanted) == Desired(name, "1", b"a bundle", digest_of(b"a bundle"))


def test_a_release_sees_who_promoted_and_what_is_wanted_of_the_rollout(registry, client, name):
    registry.register(registration(name))
    registry.set_alias(name, "champion", "1")
    client.set_model_version_tag(name, "1", "approved_by", "Ada")
    client.set_registered_model_tag(name, "rollout", "Pause")
    client.set_registered_model_tag(name, "rollout.reason", "crane test")
    wanted = next(each for each in registry.wanted() if each.usecase == name)
    assert (wanted.promoted_by, wanted.control) == ("Ada", Control("pause", "crane test"))
    registry.clear_control(name)
    registry.clear_control("no_such_model")
    wanted = next(each for each in registry.wanted() if each.usecase == name)
    assert wanted.control == Control()


def test_a_version_registered_by_hand_is_shown_without_a_bundle(registry, client, name):
    client.create_registered_model(name)
    client.create_model_version(name, "s3://somewhere/else")
    registry.set_alias(name, "champion", "1")
    wanted = next(each for each in registry.wanted() if each.usecase == name)
    assert (wanted.version, wanted.run) == ("1", "")
    assert registry.load(wanted) == Desired(name, "1", None)
    with pytest.raises(VersionMissingError, match="no bundle"):
        registry.download_bundle(name, "1")
    assert registry.versions(name)[0].digest == ""


def test_tags_are_written_removed_and_left_out_for_a_version_that_is_gone(registry, name):
    registry.register(registration(name))
    registry.write_tags(name, "1", {"release.status": "refused", "release.refused": "no"})
    registry.write_tags(name, "1", {"release.status": "released", "release.refused": "", "never.there": ""})
    tags = registry.tags(name, "1")
    assert tags["release.status"] == "released"
    assert "release.refused" not in tags
    registry.write_tags(name, "99", {"release.status": "released"})


def test_what_is_not_there_is_named(registry, name):
    assert registry.versions(name) == []
    assert registry.champion(name) is None
    for ask in (registry.tags, registry.download_bundle):
        with pytest.raises(VersionMissingError, match=f"{name} version 7"):
            ask(name, "7")
    with pytest.raises(VersionMissingError):
        registry.set_alias(name, "champion", "7")


def test_what_mlflow_refuses_is_told_in_its_words(registry, name):
    with pytest.raises(RegistryError, match="250 characters") as told:
        registry.register(registration(name, params={"x" * 300: "1"}))
    assert told.value.exit_code == 1


def test_the_trials_of_a_search_are_runs_below_the_training(registry, client, name):
    source = {"features.digest": "sha256:rows", "since": "5", "until": "70"}
    learned = DatasetUse("fleet/features", digest_of(b"rows"), source)
    judged = DatasetUse("fleet/features", digest_of(b"test"), source, "test")
    entry = registration(name, dataset=learned, judged_with=judged, trials=TRIALS)
    found = registry.register(entry)
    assert registry.register(entry).reused
    home = client.get_run(found.run_id).info.experiment_id
    below = client.search_runs(
        [home], f"tags.mlflow.parentRunId = '{found.run_id}'", order_by=["metrics.trial_f1 DESC"]
    )
    assert [run.info.run_name for run in below] == [
        "2026-11-22 manual 90d #00 linear",
        "2026-11-22 manual 90d #01 forest",
    ]
    assert (below[0].data.params, below[0].data.metrics) == ({"C": "0.5"}, {"trial_f1": 0.5, "trial_seconds": 1.5})
    assert [run.info.status for run in below] == ["FINISHED", "FAILED"]
    assert below[0].info.end_time - below[0].info.start_time == 1500
    assert len(client.search_runs([home], "tags.`trial.family` = 'linear'")) == 1
    used = client.get_run(found.run_id).inputs.dataset_inputs
    assert sorted(tag.value for each in used for tag in each.tags) == ["test", "training"]
    assert len(registry.training_sets(name)) == 1


def test_a_server_that_is_down_is_named_before_mlflow_is_even_loaded():
    address = f"http://127.0.0.1:{free_port()}"
    code = (
        "import sys\n"
        "from pipelines.errors import RegistryUnreachableError\n"
        "from pipelines.registry import Registry\n"
        "try:\n"
        f"    Registry({address!r}).wanted()\n"
        "except RegistryUnreachableError as error:\n"
        "    print(error.exit_code, 'mlflow' in sys.modules, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("3 False ")
    assert address in done.stdout
    assert "tidemill up" in done.stdout


def test_a_server_that_goes_away_in_between_is_unreachable(url, name):
    door = Door(url)
    registry = Registry(door.url)
    registry.register(registration(name))
    door.shut()
    with pytest.raises(RegistryUnreachableError):
        registry.set_alias(name, "champion", "1")


def test_a_real_training_is_registered_once_and_then_compared_with_the_champion(registry, client, tmp_path):
    usecase = replace(
        usecases.load("machine_failure"), label=FailureWithin(timedelta(hours=24), recovery=timedelta(hours=12))
    )
    store, lake = open_store(str(tmp_path)), Lake(str(tmp_path))
    fill_lake(lake, usecase, history(devices=12, days=45))
    parameters = Parameters(seed=1, note="first", origin={"airflow.url": "http://airflow/run"}, trigger="scheduled")
    first = train(store, lake, registry, usecase, parameters, now_us=NOW)
    again = train(store, lake, registry, usecase, parameters, now_us=NOW)
    assert (first.version, first.gate, again.version, again.reused) == ("1", "passed", "1", True)
    data = registry.download_bundle("machine_failure", "1")
    assert digest_of(data) == first.digest
    record = read_gate(store, first.digest)
    assert record is not None
    assert record.passed
    registry.set_alias("machine_failure", "champion", "1")
    second = train(store, lake, registry, usecase, replace(parameters, seed=2), now_us=NOW)
    assert (second.version, second.champion) == ("2", "1")
    run = client.get_run(second.run_id)
    assert len(run.data.params) <= 20
    assert "champion_average_precision" in run.data.metrics
    assert run.data.tags["airflow.url"] == "http://airflow/run"
    assert "champion v1" in client.get_model_version("machine_failure", "2").description


def test_a_section_of_a_description_is_replaced_and_never_grows(registry, client, name):
    registry.register(registration(name))
    assert registry.challenger(name) == "1"
    before = client.get_model_version(name, "1").description
    for text in ("they agree", "they differ"):
        registry.write_section(name, "1", "shadow", text)
    told = client.get_model_version(name, "1")
    assert told.description == f"{before}\n\n<!-- shadow -->\nthey differ\n<!-- end of shadow -->"
    registry.write_section(name, "1", "shadow", "they differ")
    assert client.get_model_version(name, "1").last_updated_timestamp == told.last_updated_timestamp
    registry.write_section(name, "1", "shadow", "")
    assert client.get_model_version(name, "1").description == before
    with pytest.raises(VersionMissingError):
        registry.write_section(name, "7", "shadow", "they differ")
