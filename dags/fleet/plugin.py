"""What Airflow registers. Every process of Airflow imports this, so the application is loaded by its first request."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from airflow.plugins_manager import AirflowPlugin

PREFIX = "/tidemill/fleet"
_Message = MutableMapping[str, Any]
_Application = Callable[
    [_Message, Callable[[], Awaitable[_Message]], Callable[[_Message], Awaitable[None]]], Awaitable[None]
]


class LazyApplication:
    """The application of the page, imported when it is called: by the server of the API alone."""

    def __init__(self) -> None:
        self._application: _Application | None = None

    async def __call__(
        self,
        scope: _Message,
        receive: Callable[[], Awaitable[_Message]],
        send: Callable[[_Message], Awaitable[None]],
    ) -> None:
        """Answer one request (ASGI)."""
        if self._application is None:
            self._application = await asyncio.to_thread(_load)
        await self._application(scope, receive, send)


def _load() -> _Application:
    from dags.fleet.app import application  # noqa: PLC0415 - see the module

    loaded: _Application = application
    return loaded


class TidemillPlugin(AirflowPlugin):
    """Tidemill's part of Airflow's pages."""

    name = "tidemill"
    fastapi_apps = [{"app": LazyApplication(), "url_prefix": PREFIX, "name": "Tidemill Fleet"}]  # noqa: RUF012 - Airflow's form
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
