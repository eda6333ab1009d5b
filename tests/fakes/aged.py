"""A table that was written long ago: everything its log and its files say of time lies further back."""

import json
import os
from pathlib import Path

from pipelines.lake import Table

DAY_MS = 86_400_000
_STAMPS = {"commitInfo": "timestamp", "add": "modificationTime", "remove": "deletionTimestamp"}


def age(table: Table, days: int) -> None:
    """Move a local table back in time; checkpoints, which repeat the log, are taken away."""
    log = Path(table.uri, "_delta_log")
    for summary in [*log.glob("*.checkpoint.parquet"), *log.glob("_last_checkpoint")]:
        summary.unlink()
    for entry in log.glob("*.json"):
        actions = [json.loads(line) for line in entry.read_text().splitlines()]
        for action in actions:
            for kind, stamp in _STAMPS.items():
                if kind in action:
                    action[kind][stamp] -= days * DAY_MS
        entry.write_text("\n".join(map(json.dumps, actions)))
    for path in Path(table.uri).rglob("*"):
        then = path.stat().st_mtime - days * DAY_MS / 1000
        os.utime(path, (then, then))
