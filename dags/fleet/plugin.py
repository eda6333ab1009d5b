"""What Airflow registers. Every process of Airflow imports this, so an application is loaded by its first request."""

import asyncio
import importlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from airflow.plugins_manager import AirflowPlugin

PREFIX, HOOKS = "/tidemill/fleet", "/tidemill/hooks"
_Message = MutableMapping[str, Any]
_Application = Callable[
    [_Message, Callable[[], Awaitable[_Message]], Callable[[_Message], Awaitable[None]]], Awaitable[None]
]


class LazyApplication:
    """An application that is imported when it is called: by the server of the API alone.

    Args:
        module: Where it is, under the name ``application``.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._application: _Application | None = None

    async def __call__(
        self,
        scope: _Message,
        receive: Callable[[], Awaitable[_Message]],
        send: Callable[[_Message], Awaitable[None]],
    ) -> None:
        """Answer one request (ASGI)."""
        if self._application is None:
            self._application = await asyncio.to_thread(_load, self._module)
        await self._application(scope, receive, send)


def _load(module: str) -> _Application:
    loaded: _Application = importlib.import_module(module).application
    return loaded


class TidemillPlugin(AirflowPlugin):
    """Tidemill's part of Airflow's pages."""

    name = "tidemill"
    fastapi_apps = [  # noqa: RUF012 - Airflow's form
        {"app": LazyApplication("dags.fleet.app"), "url_prefix": PREFIX, "name": "Tidemill Fleet"},
        {"app": LazyApplication("dags.fleet.hook"), "url_prefix": HOOKS, "name": "Tidemill hooks"},
    ]
    external_views = [  # noqa: RUF012 - Airflow's form
        {
            "name": "Fleet",
            "href": f"{PREFIX.removeprefix('/')}/",
            "destination": "nav",
            "url_route": "fleet",
            "nav_top_level": True,
            "icon": f"{PREFIX}/icon.svg",
        }
    ]
