"""A plant whose store is an S3 service."""

import os
import subprocess
import sys

import pytest

from serving.store import open_store
from tests.fakes.fleets import Plant
from tests.fakes.s3 import BUCKET

# In a process of its own: the table engine keeps Python's lock while it waits for some of its answers.
SERVE = """
from tests.fakes.s3 import s3_server
with s3_server() as environ:
    print(*(f"{name}={value}" for name, value in environ.items()), flush=True)
    input()
"""


@pytest.fixture
def plant(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    command = [sys.executable, "-c", SERVE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        for setting in server.stdout.readline().split():
            monkeypatch.setenv(*setting.split("=", 1))
        yield Plant(tmp_path, open_store(f"s3://{BUCKET}/site-1"))
        server.communicate("\n", timeout=30)
