"""The README's section on one's own telemetry, followed to the letter: two files, raw objects, four commands."""

import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from serving.store import open_store

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
DAYS, BOILERS, STEP = 40, 12, timedelta(minutes=5)
START = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS)
LIFE = timedelta(days=8)
"""A boiler soots up and fails after this long, then it is cleaned."""


def test_two_files_from_the_readme_and_its_commands_train_a_model(house, checkout):
    _write_the_two_files(checkout)
    _write_telemetry(house.store)
    environ = {"PYTHONPATH": str(checkout), "PATH": os.environ["PATH"]}
    commands = re.findall(r"^\.venv/bin/tidemill (\w+) (boiler\w+)", README, flags=re.MULTILINE)
    assert [name for name, _ in commands] == ["ingest", "materialize", "plan", "train"]

    results = {name: house.tidemill(name, about, environ=environ) for name, about in commands}

    assert results["ingest"]["accepted"] == BOILERS * DAYS * 288
    assert results["train"]["gate"] == "passed"
    assert results["train"]["parity"]["label_flips"] == 0


def _write_the_two_files(checkout: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL):
        name = block.splitlines()[0].removeprefix("# ")
        (checkout / name).write_text(block)
    assert (checkout / "features/catalog/boilers.py").exists()
    assert (checkout / "pipelines/usecases/boiler_failure.py").exists()


def _write_telemetry(root: Path) -> None:
    store, random = open_store(str(root)), np.random.default_rng(11)
    count = DAYS * 288
    for boiler in range(BOILERS):
        name, shift = f"b-{boiler:02d}", random.uniform(0, 1)
        age = (np.arange(count) * (STEP / LIFE) + shift) % 1.0
        flue = 150 + 8 * random.normal(size=count) + 120 * np.clip(age - 0.85, 0, None) / 0.15
        water = 70 + 3 * random.normal(size=count)
        lines = [
            json.dumps({"boiler": name, "at": (START + n * STEP).isoformat(), "water": w, "flue": f})
            for n, (w, f) in enumerate(zip(water.round(2).tolist(), flue.round(1).tolist(), strict=True))
        ]
        store.put(f"raw/boilers/telemetry/2026/{name}.json", "\n".join(lines).encode())
        failed = [START + int(n) * STEP for n in np.flatnonzero(np.diff(age) < 0) + 1]
        events = [
            {"device": name, "ts": _ms(at), "kind": "failure", "detail": "soot", "known_at": _ms(at)} for at in failed
        ]
        store.put(f"raw/boilers/events/2026/{name}.json", "\n".join(map(json.dumps, events)).encode())


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
