"""Local commits that survive a power cut: the table engine writes files but never fsyncs them."""

import json
import os
from pathlib import Path

from serving.store import sync_folder


def sync_commit(table_uri: str, version: int) -> None:
    """Make one commit of a local table durable: its data files, its log entry, and the names of both.

    Tables in object storage need nothing: a finished request is durable there.
    """
    if "://" in table_uri:
        return
    table = Path(table_uri)
    log = table / "_delta_log"
    entry = log / f"{version:020d}.json"
    if not entry.exists():
        return
    folders = {table.parent, table, log}
    for line in entry.read_text().splitlines():
        added = json.loads(line).get("add")
        if added and (table / added["path"]).exists():
            folders.add((table / added["path"]).parent)
            _sync_file(table / added["path"])
    # A checkpoint is written after the commit and read instead of the entries before it.
    for path in [*log.glob(f"{version:020d}*"), log / "_last_checkpoint"]:
        if path.exists():
            _sync_file(path)
    for folder in folders:
        sync_folder(folder)


def torn_entry(table_uri: str) -> Path | None:
    """The newest log entry of a local table, when it is not whole: a power cut came before it was made durable.

    An entry that is torn to nothing does no harm: the engine takes it for a commit of nothing.
    """
    if "://" in table_uri:
        return None
    entries = sorted((Path(table_uri) / "_delta_log").glob("*.json"))
    if not entries:
        return None
    try:
        for line in entries[-1].read_text().splitlines():
            json.loads(line)
    except ValueError:
        return entries[-1]
    return None


def _sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
