"""Notice a moved alias: one request to MLflow every two seconds, and an event when what is desired changed.

Desired are the version under the alias, who promoted it (its tag ``approved_by``), and what the tag ``rollout`` of a
model says. MLflow's answer holds the tags of each model's newest version and of no other: who promoted an older one is
seen by the next look of the timer.

The event says "look now", nothing more: the release run compares what is desired with what is by itself. So an event
that is lost, doubled or merged changes nothing but the waiting time.

Why so:
    * *Plain HTTP*, not the MLflow client, which takes 134 MB and blocks the loop that all triggers share.
    * *One request for the whole registry*, not one a model. A second one, for all versions with the tag, would take
      five times as long as this one (386 to 79 ms with 200 models and 1,000 such versions).
    * *State in Airflow's asset state store*, written after the event was handed over: a restart between the two repeats
      an event, it never loses one.
    * ``run`` never raises or returns, because the triggerer would start it again once a second.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from dags import tracking

SEARCH = "/api/2.0/mlflow/registered-models/search"
STATE = "champions"
CONTROL = "rollout"
PROMOTER = "approved_by"
PAGE = 1000


class AliasWatcher(BaseEventTrigger):
    """Send an event whenever the map of models to what is desired of them changes.

    Args:
        alias: The alias to watch.
        every_s: Seconds between two looks.
    """

    def __init__(self, alias: str = "champion", every_s: float = 2.0) -> None:
        super().__init__()
        self.alias = alias
        self.every_s = every_s
        self._remembered: dict[str, str] = {}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return how the triggerer builds this trigger again."""
        return "dags.alias_watcher.AliasWatcher", {"alias": self.alias, "every_s": self.every_s}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look for ever."""
        client: httpx.AsyncClient | None = None
        trouble = ""
        while True:
            try:
                client = client or await tracking.connect()
                current = await champions(client, self.alias)
                changed = current != await self._known()
                trouble = ""
            except Exception as error:  # noqa: BLE001 - a trigger that raises is restarted every second
                changed = False
                # Address and credentials are read anew: the connection may have been corrected meanwhile.
                await _close(client)
                client = None
                if trouble != repr(error):
                    trouble = repr(error)
                    self.log.warning("cannot read the aliases, trying on: %s", trouble)
            if changed:
                yield TriggerEvent({STATE: current})
                await self._remember(current)
            await asyncio.sleep(self.every_s)

    async def _known(self) -> dict[str, str]:
        if self.asset_state_store is None:
            return self._remembered
        return dict(await self.asset_state_store.aget(STATE, default={}) or {})

    async def _remember(self, current: dict[str, str]) -> None:
        self._remembered = current
        if self.asset_state_store is not None:
            try:
                await self.asset_state_store.aset(STATE, current)
            except Exception as error:  # noqa: BLE001 - see run; the next look repeats the event
                self.log.warning("cannot store the aliases seen: %r", error)


async def champions(client: httpx.AsyncClient, alias: str) -> dict[str, str]:
    """Return what is desired by model: the version under an alias, who promoted it, and the tag ``rollout``.

    They stand in one text with spaces between; what is not set or not known is left out.

    Raises:
        httpx.HTTPError: MLflow does not answer or refuses.
    """
    found: dict[str, str] = {}
    page = ""
    while True:
        query = {"max_results": str(PAGE)} | ({"page_token": page} if page else {})
        answer = await client.get(SEARCH, params=query)
        answer.raise_for_status()
        content = answer.json()
        found |= _under(content.get("registered_models", []), alias)
        page = content.get("next_page_token", "")
        if not page:
            return found


def _under(models: list[Mapping[str, Any]], alias: str) -> dict[str, str]:
    desired = {}
    for model in models:
        versions = [str(entry["version"]) for entry in model.get("aliases", []) if entry["alias"] == alias]
        newest = [entry for entry in model.get("latest_versions", []) if str(entry["version"]) in versions]
        promoters = [word for entry in newest for word in _tags(entry, PROMOTER)]
        if found := [*versions, *promoters, *_tags(model, CONTROL)]:
            desired[model["name"]] = " ".join(found)
    return desired


def _tags(entry: Mapping[str, Any], key: str) -> list[str]:
    return [str(tag["value"]) for tag in entry.get("tags", []) if tag["key"] == key and tag.get("value")]


async def _close(client: httpx.AsyncClient | None) -> None:
    if client is not None:
        await client.aclose()
