"""An S3 and SQS server on loopback.

It answers one request at a time, so that its conditional writes are atomic as S3's are; told to be careless, it looks
first and writes later, as some services do.
"""

import io
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "plant"


class _Silent(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        pass


@contextmanager
def s3_server(*, careless: bool = False) -> Iterator[dict[str, str]]:
    """A running server with an empty bucket; yields the environment in which programs find it."""
    application = DomainDispatcherApplication(create_backend_app)
    lock = threading.Lock()

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if careless and environ.pop("HTTP_IF_NONE_MATCH", None) and _exists(environ):
            start("412 Precondition Failed", [("Content-Length", "0")])
            return [b""]
        with lock:
            return list(application(environ, start))

    def _exists(environ: dict[str, Any]) -> bool:
        status: list[str] = []
        question = {**environ, "REQUEST_METHOD": "HEAD", "wsgi.input": io.BytesIO(), "CONTENT_LENGTH": "0"}
        with lock:
            list(application(question, lambda line, *_: status.append(line)))
        time.sleep(0.005)
        return status[0].startswith("200")

    server = make_server("127.0.0.1", 0, answer, threaded=True, request_handler=_Silent)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    account = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=url, **account).create_bucket(Bucket=BUCKET)
    try:
        yield {
            "AWS_ENDPOINT_URL": url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
