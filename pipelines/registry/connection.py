"""The way to an MLflow server: asked only when it answers, its errors in our words, all pages of an answer."""

import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Final

from pipelines.errors import RegistryError, RegistryUnreachableError
from pipelines.settings import masked

_ANSWER_WITHIN_S: Final = 5.0
_CLIENT_SETTINGS: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_NOT_THERE: Final = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # a missing alias is the latter


class Connection:
    """One server, and MLflow's client for it.

    Args:
        uri: Address of the server. Credentials are taken from MLflow's own variables.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")

    @cached_property
    def client(self) -> Any:
        """MLflow's client. It takes seconds to import, so commands that need no registry never pay for it."""
        for name, value in _CLIENT_SETTINGS.items():
            os.environ.setdefault(name, value)  # MLflow reads nothing else, and some of it while it is imported
        from mlflow import MlflowClient  # noqa: PLC0415

        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Ask only a server that answers; translate MLflow's errors.

        Raises:
            RegistryUnreachableError: It does not answer.
            RegistryError: It does not do what it is asked for.
        """
        if "client" not in self.__dict__:
            self._check_health()
            _ = self.client
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 - see client

        try:
            yield
        except (MlflowException, OSError) as error:
            self._check_health()
            why = " ".join(str(error).split())[:500]
            raise RegistryError("the registry refused", where=masked("tracking", self.uri), why=why) from error

    def optional(self, ask: Callable[[], Any]) -> Any:
        """Return an answer, or None when there is no such thing."""
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 - see client

        try:
            return ask()
        except MlflowException as error:
            if error.error_code in _NOT_THERE:
                return None
            raise

    def _check_health(self) -> None:
        if not self.uri.startswith(("http://", "https://")):
            return
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=_ANSWER_WITHIN_S):  # noqa: S310 - http(s), see above
                return
        except urllib.error.HTTPError:
            return  # it answers; what it thinks of us is for the real question to find out
        except (OSError, ValueError) as error:
            raise RegistryUnreachableError(
                "the MLflow server does not answer",
                where=masked("tracking", self.uri),
                why=str(getattr(error, "reason", error)),
                fix="tidemill up, or set MLFLOW_TRACKING_URI to a server that runs",
            ) from error


def pages(search: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Return what a search finds, all pages of it."""
    found: list[Any] = []
    page = search(*arguments)
    while True:
        found += page
        if not page.token:
            return found
        page = search(*arguments, page_token=page.token)
