"""What people want, as releases read it: who is champion, who promoted it, and what is to become of a rollout."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from pipelines.registry.connection import Connection, pages
from pipelines.registry.marks import CHAMPION, Marks
from serving.approval import Control, Wanted

PROMOTER_TAG: Final = "approved_by"
CONTROL_TAGS: Final = ("rollout", "rollout.reason", "rollout.by")
_AT_A_TIME: Final = 8


class Wishes:
    """The wishes at a server, asked for within `Connection.asked`.

    Args:
        connection: The server.
        marks: Its aliases.
    """

    def __init__(self, connection: Connection, marks: Marks) -> None:
        self._connection = connection
        self._marks = marks

    def all(self) -> list[Wanted]:
        """Return what is wanted of every registered model: a request for all, and one for each champion."""
        models = pages(self._connection.client.search_registered_models)
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            return list(pool.map(self._of, models))

    def forget_control(self, usecase: str) -> None:
        """Remove the tags that steer a rollout from a model; nothing happens when there is no such model."""
        client = self._connection.client
        model = self._connection.optional(lambda: client.get_registered_model(usecase))
        for name in CONTROL_TAGS if model else ():
            if name in model.tags:
                client.delete_registered_model_tag(usecase, name)

    def _of(self, model: Any) -> Wanted:
        word, reason, by = (str(model.tags.get(name, "")).strip() for name in CONTROL_TAGS)
        control = Control(word.casefold(), reason, by)
        found = self._marks.holder(model.name, CHAMPION) if CHAMPION in model.aliases else None
        if found is None:
            return Wanted(model.name, None, control=control)
        promoted_by = str(found.tags.get(PROMOTER_TAG, "")).strip()
        return Wanted(model.name, str(found.version), found.run_id or "", promoted_by, control)
