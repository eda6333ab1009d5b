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
    _sync_checkpoint_files(log, version)
    for folder in folders:
        sync_folder(folder)


def sync_checkpoint(table_uri: str, version: int) -> None:
    """Make the checkpoint of one version of a local table durable, before entries are removed that it stands in for."""
    if "://" in table_uri:
        return
    log = Path(table_uri) / "_delta_log"
    _sync_checkpoint_files(log, version)
    sync_folder(log)


def torn_files(table_uri: str) -> list[Path]:
    """Log files of a local table that are not whole, because a power cut came before they were made durable.

    That is the newest entry, or the newest checkpoint together with the file that points to it: the entries it sums up
    are still there. An entry that is torn to nothing does no harm: the engine takes it for a commit of nothing.
    """
    if "://" in table_uri:
        return []
    log = Path(table_uri) / "_delta_log"
    torn: list[Path] = []
    for checkpoint in sorted(log.glob("*.checkpoint*.parquet"))[-1:]:
        if not checkpoint.read_bytes().endswith(b"PAR1"):
            torn += [checkpoint, *log.glob("_last_checkpoint")]
    for entry in sorted(log.glob("*.json"))[-1:]:
        try:
            for line in entry.read_text().splitlines():
                json.loads(line)
        except ValueError:
            torn.append(entry)
    return torn


def _sync_checkpoint_files(log: Path, version: int) -> None:
    """A checkpoint is written after the commit and read instead of the entries before it."""
    # By name, not by pattern: the folder keeps an entry of each commit, and to look through them takes longer.
    for name in (f"{version:020d}.json", f"{version:020d}.checkpoint.parquet", "_last_checkpoint"):
        if (log / name).exists():
            _sync_file(log / name)


def _sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
