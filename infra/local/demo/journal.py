"""What the demo has done so far: finished steps survive a kill, so that the next run goes on where this one ended.

The journal is one JSON file, replaced atomically after each finished step. A step that was killed in the middle is run
again; every step's own work is idempotent, so running it again converges.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Journal:
    """Finished steps of one demo, in order.

    Args:
        path: The journal's file; created with the first finished step.
        scenario: What is being demonstrated (fleet and source). A journal of another scenario is not continued.
    """

    path: Path
    scenario: str
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)
    finished: bool = False

    @classmethod
    def open(cls, path: Path, scenario: str) -> "Journal":
        """Read the journal of an interrupted demo of this scenario, or begin a new one."""
        journal = cls(path, scenario)
        if path.exists():
            stored = json.loads(path.read_text())
            if stored["scenario"] == scenario and not stored["finished"]:
                journal.steps = stored["steps"]
        return journal

    @property
    def continued(self) -> bool:
        """Whether an earlier run left finished steps."""
        return bool(self.steps)

    def run(
        self,
        name: str,
        outcome: Callable[[Mapping[str, Any]], str],
        step: Callable[[], dict[str, Any]],
        *,
        again: bool = False,
    ) -> None:
        """Run ``step`` unless an earlier run finished it, and keep its result and the seconds it took.

        Args:
            name: The step's name, unique within the demo.
            outcome: Says in a few words what came out of the result.
            step: Does the work; returns a JSON-ready result.
            again: Run it even if an earlier run did.
        """
        if name in self.steps and not again:
            return
        began = time.monotonic()
        result = step()
        seconds = round(time.monotonic() - began, 1)
        self.steps[name] = {"seconds": seconds, "ok": True, "outcome": outcome(result), "result": result}
        self._write()

    def result(self, name: str) -> dict[str, Any]:
        """Return what the finished step ``name`` produced."""
        result: dict[str, Any] = self.steps[name]["result"]
        return result

    def finish(self) -> None:
        """Mark the demo as complete: the next one begins anew."""
        self.finished = True
        self._write()

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {"scenario": self.scenario, "finished": self.finished, "steps": self.steps}
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(content, indent=1))
        temporary.replace(self.path)
