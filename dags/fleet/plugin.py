"""What Airflow registers.

Every process of Airflow imports this, so no application is loaded with it, but by its first request. The server of the
API loads the page by itself a few seconds after its start, in the background, since a first request would wait for it.
"""

import asyncio
import importlib
import sys
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from airflow.plugins_manager import AirflowPlugin

PREFIX, HOOKS = "/tidemill/fleet", "/tidemill/hooks"
PAGE = "dags.fleet.app"
WARM_AFTER_S = 5.0
_SERVER = "airflow.api_fastapi.main"
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

    @classmethod
    def on_load(cls, *_args: Any, **_kwargs: Any) -> None:
        """Have the application loaded where it will be asked for."""
        if _SERVER in sys.modules:
            timer = threading.Timer(WARM_AFTER_S, _load, [PAGE])
            timer.daemon = True
            timer.start()

    name = "tidemill"
    fastapi_apps = [  # noqa: RUF012 - Airflow's form
        {"app": LazyApplication(PAGE), "url_prefix": PREFIX, "name": "Tidemill Fleet"},
        {"app": LazyApplication("dags.fleet.hook"), "url_prefix": HOOKS, "name": "Tidemill hooks"},
    ]
    external_views = [  # noqa: RUF012 - Airflow's form
        {
            "name": "Fleet",
            "href": f"{PREFIX.removeprefix('/')}/",
            "destination": "nav",
            "url_route": "fleet",
            "nav_top_level": True,
            "icon": f"{PREFIX.removeprefix('/')}/icon.svg",
        }
    ]
