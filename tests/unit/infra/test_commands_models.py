"""Commands about models when something they need is missing, and the keys they sign with."""

import json
import socket
from pathlib import Path

import pytest

from infra.local import cli
from serving.store import FolderStore
from serving.trust.client import TrustedClient
from tests.fakes.wrong import WRONG


@pytest.fixture
def nobody() -> str:
    """An address at which nobody listens."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIDEMILL_STORE", "store")
    monkeypatch.setenv("TIDEMILL_KEYS", "keys")
    (tmp_path / "store").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [["train", "pump_failure"], ["lineage", "models:/pump_failure/3"], ["explain", "pump_failure/3"], ["release"]],
)
def test_a_registry_that_is_away_is_exit_code_3(folder: Path, nobody: str, words: list[str], capsys):
    assert cli.run(["keys"]) == 0
    assert cli.run([*words, "--tracking", nobody]) == 3
    err = capsys.readouterr().err
    assert "TM-340" in err
    assert "tidemill up" in err


@pytest.mark.parametrize(
    ("option", "said"),
    [
        *(
            (f"--{name}={value}", said)
            for wrong, said in WRONG.values()
            if len(wrong) == 1
            for name, value in wrong.items()
        ),
        ("--share=3/17", "a number of 17 search tasks is not between 1 and 16"),
    ],
)
def test_a_training_that_cannot_be_is_refused_with_the_sentence_of_the_form(folder, option: str, said: str, capsys):
    assert cli.run(["train", "pump_failure", option]) == 2
    err = capsys.readouterr().err
    assert "TM-329" in err
    assert said in " ".join(err.split())


def test_a_release_without_keys_is_exit_code_2(folder: Path, nobody: str, capsys):
    assert cli.run(["release", "--tracking", nobody]) == 2
    assert "there are no signing keys" in capsys.readouterr().err


def test_keys_are_made_once_and_clients_trust_them(folder: Path, capsys):
    assert cli.run(["keys", "--root", "trust/root.json", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    root = (folder / "trust/root.json").read_bytes()
    assert first["development"]
    assert cli.run(["keys", "--root", "again.json"]) == 0
    assert (folder / "again.json").read_bytes() == root
    client = TrustedClient(FolderStore(folder / "store"), folder / "gateway", root)
    assert client.refresh(now_us=0)
    assert client.index() == {}


def test_production_keys_tell_what_belongs_offline(folder: Path, capsys):
    assert cli.run(["keys", "--production"]) == 0
    out = capsys.readouterr().out
    assert "production keys" in out
    assert "offline" in out


def test_monitoring_without_predictions_keeps_the_model(folder: Path, capsys):
    assert cli.run(["monitor", "pump_failure", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["retrain"], found["windows"]) == (False, 0)


def test_a_version_that_is_none_is_exit_code_2(folder: Path, capsys):
    assert cli.run(["lineage", "pump_failure"]) == 2
    assert "tidemill lineage pump_failure/3" in capsys.readouterr().err
