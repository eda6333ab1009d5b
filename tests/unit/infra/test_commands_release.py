"""Commands about promotion, called as people call them: approve, ledger show, ledger verify."""

import json
from dataclasses import replace

import pytest

from infra.local import cli
from serving.bundle import digest_of
from serving.consent import Question, read
from serving.policy import Rollout
from serving.promotion import Promotion
from serving.store import FolderStore
from serving.trust.keys import create_keys
from serving.trust.publisher import Publisher
from tests.unit.serving.test_reconcile import FAN, FIRST, SECOND, World


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A version that waits for somebody to approve it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIDEMILL_KEYS", str(tmp_path / "keys"))
    create_keys(tmp_path / "keys")
    (tmp_path / "store").mkdir()
    made = World(tmp_path / "keys", tmp_path, store=FolderStore(tmp_path / "store"))
    made.policy = Rollout(approval="first")
    made.registry.set_champion(FAN, made.train(FIRST))
    (outcome,) = made.run()
    assert (outcome.action, outcome.asks) == ("waiting", True)
    return made


def told(capsys, *words, code=0):
    capsys.readouterr()
    assert cli.run([*words, "--store", "store", "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_an_approval_by_hand_is_signed_and_followed(world, capsys):
    assert told(capsys, "approve", FAN, "--by", "ben", "--reason", "figures are fine")["approved"] is True
    consent = read(world.store, Question(FAN, 1, 1, digest_of(FIRST)), Publisher(world.store, world.keys).seal)
    assert consent is not None
    assert (consent.by, consent.reason) == ("ben", "figures are fine")
    assert world.act() == "released"
    (shown,) = told(capsys, "ledger", "show", FAN)["usecases"][FAN]
    assert (shown["outcome"], shown["approved_by"], shown["reason"]) == ("released", "ben", "figures are fine")


def test_a_no_is_kept_and_may_become_a_yes_but_nobody_is_asked_again(world, capsys):
    told(capsys, "approve", FAN, "--by", "ben", "--decline", "--reason", "not today")
    (outcome,) = world.run()
    assert (outcome.action, outcome.asks) == ("refused", False)
    told(capsys, "approve", FAN, "--by", "ben", "--question", "1-1")
    assert world.act() == "released"


def test_an_answer_to_what_waits_no_longer_changes_nothing(world, capsys):
    said = told(capsys, "approve", FAN, "--by", "ben", "--question", "7-2", code=1)
    assert "release 7-2 of fan_failure waits no longer" in said["error"]["message"]
    assert world.act() == "waiting"
    said = told(capsys, "approve", "other", "--by", "ben", code=1)
    assert "nothing of other waits" in said["error"]["message"]


def test_an_answer_about_one_version_is_none_about_the_next(world, capsys):
    world.registry.set_champion(FAN, world.train(SECOND))
    world.run()
    said = told(capsys, "approve", FAN, "--by", "ben", "--question", "1-1", "--version", "1", code=1)
    assert said["error"]["code"] == "TM-265"
    assert "the alias is on version 2, asked is release 1, stage 1" in said["error"]["message"]
    assert world.act() == "waiting"
    world.registry.remove_champion(FAN)
    world.run()
    said = told(capsys, "approve", FAN, "--by", "ben", "--question", "1-1", "--version", "2", code=1)
    assert "no version has the alias, and nothing is asked" in said["error"]["message"]


def test_the_ledger_is_shown_and_a_changed_one_is_told_by_name_and_exit_code(world, capsys):
    told(capsys, "approve", FAN, "--by", "ben")
    world.run()
    assert told(capsys, "ledger", "verify") == {
        "schema": "tidemill.ledger-verify/1",
        "ok": True,
        "usecases": [{"usecase": FAN, "entries": 1, "problem": ""}],
    }
    capsys.readouterr()
    assert cli.run(["ledger", "show", "--store", "store"]) == 0
    shown = capsys.readouterr().out
    assert FAN in shown
    assert "released" in shown
    key = f"ledger/promotions/{FAN}/00000001.json"
    changed = replace(Promotion.from_bytes(world.store.get(key)), promoted_by="eve")
    world.store.put(key, changed.to_bytes())
    (found,) = told(capsys, "ledger", "verify", code=1)["usecases"]
    assert key in found["problem"]
