"""The ledger of retraining: the decision of each day, made once and never rewritten.

Who looks again on the same day is told the same, because the run before may have been killed before it could wake the
training. A yes that a training has followed is done with, and would wake a second one: the next look of that day
decides anew, with the cool-down as its brake, and is kept beside the first.

Specification, format 1. One object a day and use case, ``ledger/retraining/<use case>/<yyyy-mm-dd>.json`` by the UTC
day of the run, and at most one more, ``<yyyy-mm-dd>.later.json``, of a look after the training. Each is written whole
and once; a JSON object whose fields are all there, null where nothing can be told:

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

Objects from before format 1 have no ``format``, ``usecase``, ``date``, ``evidence`` and ``report``.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pipelines.retraining import Decision
from serving.approval import judged_since
from serving.store import Store

FORMAT = 1
_MOST = 62  # in the 31 days of which anybody asks how often a model was trained anew


def decision_key(usecase: str, now_us: int) -> str:
    """Where the decision of a day lies.

    Example:
        >>> decision_key("pump_failure", 1_790_000_000_000_000)
        'ledger/retraining/pump_failure/2026-09-21.json'
    """
    return f"ledger/retraining/{usecase}/{datetime.fromtimestamp(now_us / 1e6, UTC):%Y-%m-%d}.json"


def decide_once(store: Store, key: str, decision: Decision, document: Mapping[str, Any]) -> tuple[str, Decision]:
    """Write a decision down, or return the one that holds for this day already.

    Args:
        store: Holds the ledger.
        key: See ``decision_key``.
        decision: What was decided now.
        document: The other fields, ``usecase`` among them; nothing in it that JSON has not.

    Returns:
        Where the decision lies that holds, and what it is.
    """
    said = {"retrain": decision.retrain, "reasons": decision.reasons, "brakes": decision.brakes}
    fields = {"format": FORMAT, **document, **said, "sentence": decision.sentence}
    data = json.dumps(fields, indent=1, allow_nan=False).encode()
    if store.put_if_absent(key, data):
        return key, decision
    made = json.loads(store.get(key))
    if made["retrain"] and judged_since(store, str(document["usecase"]), int(made["decided_at_us"])):
        key = f"{key.removesuffix('.json')}.later.json"
        if store.put_if_absent(key, data):
            return key, decision
        made = json.loads(store.get(key))
    return key, Decision(bool(made["retrain"]), list(made["reasons"]), list(made["brakes"]))


def retrained(store: Store, usecase: str) -> list[int]:
    """Return when retraining was decided within the latest decisions, UTC microseconds."""
    keys = sorted(entry.key for entry in store.list(f"ledger/retraining/{usecase}/"))
    decisions = [json.loads(store.get(key)) for key in keys[-_MOST:]]
    return [int(decision["decided_at_us"]) for decision in decisions if decision["retrain"]]
