from pathlib import Path

import pytest

from pipelines.errors import SettingsError
from pipelines.settings import KNOWN, Settings, load, masked, storage_options

NOWHERE = Path("there-is-no.toml")


def sources(settings: Settings) -> dict[str, str]:
    return {shown.name: shown.source for shown in settings.shown}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "tidemill.toml"
    path.write_text('# ours\nstore = "data"\ntracking = "http://mlflow.plant:5000"\n')
    return path


def test_without_anything_the_defaults_hold():
    settings = load({}, NOWHERE)
    assert (settings.store, settings.tracking) == ("build/store", "http://127.0.0.1:5000")
    assert (settings.work, settings.keys) == (Path("build/work"), Path("build/keys"))
    assert set(sources(settings).values()) == {"default"}


def test_flag_beats_environment_beats_file_beats_default(project):
    environ = {"TIDEMILL_STORE": "s3://plant/raw"}
    assert load({}, project).store == str(project.parent / "data")
    assert load(environ, project).store == "s3://plant/raw"
    flagged = load(environ, project, {"store": "here", "tracking": None})
    assert flagged.store == "here"
    assert sources(flagged) == {
        "store": "flag --store",
        "tracking": f"file {project}",
        "work": "default",
        "keys": "default",
    }
    assert sources(load(environ, project))["store"] == "environment TIDEMILL_STORE"


def test_an_empty_variable_counts_as_unset():
    assert load({"TIDEMILL_STORE": ""}, NOWHERE).store == "build/store"


def test_folders_in_the_file_are_beside_it_and_addresses_are_left_alone(project):
    project.write_text('store = "s3://plant/raw"\nkeys = "/etc/keys"\nwork = "scratch"\n')
    settings = load({}, project)
    assert (settings.store, settings.keys, settings.work) == (
        "s3://plant/raw",
        Path("/etc/keys"),
        project.parent / "scratch",
    )


def test_all_mistakes_are_reported_at_once_with_place_and_suggestion(project):
    project.write_text('store = "data"\ntraking = "x"\nwork = 5\n\n[gateway]\nname = "a"\n')
    with pytest.raises(SettingsError) as caught:
        load({"TIDEMILL_STOER": "x", "TIDEMILL_KEY": "y", "HOME": "/root"}, project)
    message = str(caught.value)
    assert message.startswith("5 settings cannot be used")
    assert f"traking in {project}:2 is unknown, did you mean tracking?" in message
    assert f"work in {project}:3 must be a text, it is 5" in message
    assert f"gateway in {project}:5 is unknown" in message
    assert "TIDEMILL_STOER is unknown, did you mean TIDEMILL_STORE?" in message
    assert "TIDEMILL_KEY is unknown, did you mean TIDEMILL_KEYS?" in message


def test_variables_of_other_programs_are_no_misspellings():
    environ = {"TIDEMILL_GATEWAY_NAME": "gw-1"}
    assert load(environ, NOWHERE, also_known=frozenset(environ)).store == "build/store"
    with pytest.raises(SettingsError):
        load(environ, NOWHERE)


def test_a_file_that_is_no_toml_is_an_error(project):
    for content in (b"store: data", b'store = "\xff"'):
        project.write_bytes(content)
        with pytest.raises(SettingsError, match="cannot be read as TOML"):
            load({}, project)


def test_secrets_are_covered_wherever_they_stand():
    environ = {
        "AWS_SECRET_ACCESS_KEY": "hidden-1",
        "AWS_ACCESS_KEY_ID": "hidden-2",
        "MLFLOW_TRACKING_PASSWORD": "hidden-3",
        "MLFLOW_TRACKING_URI": "https://me:hidden-4@mlflow.plant/",
        "AWS_REGION": "eu-west-1",
    }
    shown = {each.name: each.value for each in load(environ, NOWHERE).shown}
    assert "hidden" not in str(shown)
    assert (shown["AWS_REGION"], shown["tracking"]) == ("eu-west-1", "https://me:********@mlflow.plant/")
    assert load(environ, NOWHERE).tracking == environ["MLFLOW_TRACKING_URI"]


@pytest.mark.parametrize("value", ["build/store", "s3://plant/raw", "http://127.0.0.1:5000", "https://me@plant/x"])
def test_what_holds_no_secret_is_shown_as_it_is(value):
    assert masked("store", value) == value


def test_the_table_engine_gets_endpoint_and_region_but_no_credentials():
    environ = {"AWS_ENDPOINT_URL": "https://minio.plant", "AWS_SECRET_ACCESS_KEY": "x"}
    assert storage_options(environ) == {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": "https://minio.plant"}
    assert storage_options({"AWS_ENDPOINT_URL_S3": "http://a", "AWS_ENDPOINT_URL": "http://b"}) == {
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": "http://a",
        "AWS_ALLOW_HTTP": "true",
    }


def test_every_setting_says_what_it_is():
    assert [known.name for known in KNOWN] == ["store", "tracking", "work", "keys"]
    assert all(known.meaning and known.default for known in KNOWN)
