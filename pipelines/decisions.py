"""The ledger of retraining: decisions whether to train anew, each written once and told again while it holds.

The latest decision of a day holds, and who looks again is told the same, because the run before may have been killed
before it could wake the training. Until it is done with: a yes, once a training that followed has given a version,
since it would wake a second one; a no, once it would rest on something else, such as labels that arrived at noon. Then
the next look decides anew, with the cool-down as its brake, and that is kept beside the ones before. Of two who decide
at once, the one who writes first is right.

Specification, format 1. Objects ``ledger/retraining/<use case>/<yyyy-mm-dd>.json``, ``<yyyy-mm-dd>.2.json``, … by the
UTC day of the run (`serving.retraining`). Each is written whole and once; a JSON object whose fields are all there,
null where nothing can be told:

=================  =================================================================================================
``format``         1
``usecase``        its name
``date``           the day
``decided_at_us``  when, UTC microseconds
``version``        the version that predicted last; empty before anything was predicted
``bundle``         digest of its bundle
``retrain``        true or false: whether to train anew
``reasons``        sentences that speak for it
``brakes``         sentences that speak against it
``sentence``       all of it in one sentence, for people
``evidence``       what it rests on: ``windows``, ``devices``, ``joined_share``, ``judged`` of ``counted``, ``figures``
                   by measure, ``features`` (how many were compared), ``drifted`` (a list of ``name`` with ``index``,
                   ``distance``, ``values``), ``score`` (the same three), ``worst_slice`` and ``findings`` (sentences)
``report``         key of the report with every number
=================  =================================================================================================

What a decision rests on are ``version``, ``bundle`` and ``evidence``: of the same log, labels and panes always the
same, whenever somebody looks. Only where a fleet has no telemetry at all, or a clock runs ahead, does it change with
the hour (`pipelines.watched.present`, `pipelines.predictionlog`).

Objects from before format 1 have no ``format``, ``usecase``, ``date``, ``evidence`` and ``report``.
"""

import json
from collections.abc import Mapping
from typing import Any

from pipelines.retraining import Asked, Decision
from serving.retraining import decision_key, decision_keys, number_of, trained_since
from serving.store import Store

FORMAT = 1
_RESTS_ON = ("version", "bundle", "evidence")


def decide_once(store: Store, decision: Decision, document: Mapping[str, Any]) -> tuple[str, Decision]:
    """Write a decision down, or return the one that holds already.

    Args:
        store: Holds the ledger.
        decision: What was decided now.
        document: The other fields, ``usecase`` and ``decided_at_us`` among them; nothing in it that JSON has not.

    Returns:
        Where the decision lies that holds, and what it is.
    """
    said = {"retrain": decision.retrain, "reasons": decision.reasons, "brakes": decision.brakes}
    data = json.dumps(
        {"format": FORMAT, **document, **said, "sentence": decision.sentence}, indent=1, allow_nan=False
    ).encode()
    usecase, now_us = str(document["usecase"]), int(document["decided_at_us"])
    before = decision_keys(store, usecase, now_us, now_us)
    if before:
        made = json.loads(store.get(before[-1]))
        if not _done_with(store, usecase, made, json.loads(data)):
            return before[-1], _decision(made)
    key = decision_key(usecase, now_us, number_of(before[-1]) + 1 if before else 1)
    if store.put_if_absent(key, data):
        return key, decision
    return key, _decision(json.loads(store.get(key)))


def asked(store: Store, usecase: str, since_us: int, until_us: int) -> list[Asked]:
    """Return when retraining was decided from one moment to another, both included, oldest first; and what came of it.

    Args:
        store: Holds the ledger.
        usecase: Name of the use case.
        since_us: The first moment, UTC microseconds.
        until_us: The last one.
    """
    made = [json.loads(store.get(key)) for key in decision_keys(store, usecase, since_us, until_us)]
    found = [int(each["decided_at_us"]) for each in made if each["retrain"]]
    return [Asked(at, _followed(store, usecase, at)) for at in found if since_us <= at <= until_us]


def _followed(store: Store, usecase: str, decided_at_us: int) -> bool:
    return trained_since(store, usecase, decided_at_us) is not None


def _done_with(store: Store, usecase: str, made: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a decision has had its effect, or has lost its ground."""
    if made["retrain"]:
        return _followed(store, usecase, int(made["decided_at_us"]))
    return any(made.get(name) != now.get(name) for name in _RESTS_ON)


def _decision(made: Mapping[str, Any]) -> Decision:
    return Decision(bool(made["retrain"]), list(made["reasons"]), list(made["brakes"]))
