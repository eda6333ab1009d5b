"""What the last release run found for a use case: for tags that change only when they must, pages, and approvals.

Specification. Key ``status/releases/<usecase>.json``, written when it changes::

    {"format": 1, "usecase": "pump_failure", "wanted": "4", "action": "waiting", "reason": "…", "release": 7,
     "gateways": "37 of 40 healthy, stage 2 of 3", "question": {"usecase": …, "number": 8, "stage": 1, "bundle": "…"},
     "asks": true}

``action`` and ``reason`` are empty where the wanted version serves and nothing is waited for; ``question`` is what
somebody has to approve, or null, and ``asks`` whether somebody is being asked.
"""

import json

from serving.bundle import canonical_json
from serving.errors import MissingObjectError
from serving.promotion import key_part
from serving.store import Store

FOLDER = "status/releases/"
FORMAT = 1


def status_key(usecase: str) -> str:
    """Where it lies.

    Example:
        >>> status_key("pump_failure")
        'status/releases/pump_failure.json'
    """
    return f"{FOLDER}{key_part(usecase)}.json"


def read_status(store: Store, usecase: str) -> dict[str, object]:
    """Return it; empty where there is none, or none that can be read: the next run writes it anew."""
    try:
        found = json.loads(store.get(status_key(usecase)))
    except (MissingObjectError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get("format") == FORMAT else {}


def write_status(store: Store, status: dict[str, object]) -> None:
    """Keep it."""
    store.put(status_key(str(status["usecase"])), canonical_json({"format": FORMAT, **status}))
