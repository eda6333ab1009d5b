"""MLflow's webhook: a signed hint to look now.

Off unless the setting ``[webhook] secret_file`` names a file with the secret that MLflow was given. MLflow keeps
what it has to deliver in memory and gives up after three tries, so a hint may be lost, repeated or late; the watcher
and the timer of the DAG release notice everything without it. What a message says is never used: whoever could forge
one would only make the release run look.

A message counts if it is signed (MLflow's own scheme: HMAC-SHA256 over delivery id, time and body), not older than
five minutes, and was not seen before.
"""

import base64
import hashlib
import hmac
import logging
from collections import OrderedDict
from collections.abc import Mapping

from airflow.assets.manager import asset_manager
from airflow.serialization.definitions.assets import SerializedAssetUniqueKey
from airflow.utils.session import create_session
from fastapi import FastAPI, Request, Response, status
from fastapi.concurrency import run_in_threadpool

from dags import settings
from serving.journal import now_us

_LOG = logging.getLogger(__name__)
CHAMPIONS = SerializedAssetUniqueKey("registry.champions", "tidemill://registry/champions")
LARGEST_BODY = 256 * 1024
TOLERANCE_S = 300
_REMEMBERED = 10_000
application = FastAPI(title="Tidemill hooks", docs_url=None, redoc_url=None, openapi_url=None)
_seen: OrderedDict[str, None] = OrderedDict()


@application.post("/mlflow")
async def told(request: Request) -> Response:
    """Take a message of MLflow; 202 when the release run was woken, 200 when it was woken by this message before."""
    secret = settings.webhook_secret()
    if secret is None:
        return _said(status.HTTP_404_NOT_FOUND, "no secret is set for webhooks")
    body = await _body(request)
    if body is None:
        return _said(status.HTTP_413_CONTENT_TOO_LARGE, f"a message has at most {LARGEST_BODY} bytes")
    if problem := refused(request.headers, body, secret, now_us() // 1_000_000):
        _LOG.warning("a webhook was refused: %s", problem)
        return _said(status.HTTP_401_UNAUTHORIZED, problem)
    if not is_new(request.headers["x-mlflow-delivery-id"]):
        return _said(status.HTTP_200_OK, "seen before")
    await run_in_threadpool(wake)
    return _said(status.HTTP_202_ACCEPTED, "the release run looks")


def refused(headers: Mapping[str, str], body: bytes, secret: bytes, now_s: int) -> str:
    """Return why a message does not count; empty when it does.

    Args:
        headers: Names in small letters.
        body: As it came.
        secret: What MLflow signs with.
        now_s: The time, UTC seconds.
    """
    delivery, sent = headers.get("x-mlflow-delivery-id", ""), headers.get("x-mlflow-timestamp", "")
    version, _, signature = headers.get("x-mlflow-signature", "").partition(",")
    if not (delivery and sent and signature):
        return "it is not signed"
    due = hmac.new(secret, f"{delivery}.{sent}.".encode() + body, hashlib.sha256).digest()
    if version != "v1" or not hmac.compare_digest(base64.b64encode(due), signature.encode()):
        return "the signature is wrong"
    if not sent.isdecimal() or abs(now_s - int(sent)) > TOLERANCE_S:
        return f"it was sent more than {TOLERANCE_S} s ago, or clocks differ"
    return ""


def is_new(delivery: str) -> bool:
    """Remember a delivery; whether it is seen for the first time."""
    if delivery in _seen:
        return False
    _seen[delivery] = None
    while len(_seen) > _REMEMBERED:
        _seen.popitem(last=False)
    return True


def wake() -> None:
    """Have the DAG release look, as the watcher does."""
    with create_session(scoped=False) as session:
        asset_manager.register_asset_change(asset=CHAMPIONS, extra={"from": "webhook"}, session=session)


async def _body(request: Request) -> bytes | None:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY:
            return None
    return body


def _said(code: int, sentence: str) -> Response:
    return Response(sentence, code, media_type="text/plain")
