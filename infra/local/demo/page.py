"""``build/demo/report.html``: the demo on one self-contained page, with pictures of versions under load."""

from collections import Counter
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from infra.local.demo.journal import Journal
from infra.local.demo.sources import Source

BUCKET_S = 0.25
SCENES = {"promote 2": "version 2 is promoted", "roll back": "the alias goes back", "roll forward": "and forward again"}


def write_page(root: Path, journal: Journal, source: Source, summary: Mapping[str, Any]) -> Path:
    """Draw the page from the journal and the summary, and return its path."""
    template = files("infra.local").joinpath("templates", "demo.html.j2").read_text()
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    longest = max(step["seconds"] for step in summary["steps"])
    page = environment.from_string(template).render(
        source=source,
        summary=summary,
        total=sum(step["seconds"] for step in summary["steps"]),
        longest=longest or 1.0,
        scenes=[_scene(title, journal.result(name)) for name, title in SCENES.items()],
    )
    path = root / "demo" / "report.html"
    path.write_text(page)
    return path


def _scene(title: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """Count answers per quarter of a second and version: the bars of one picture."""
    counted = Counter((int(at / BUCKET_S), version) for at, version in result["answered"])
    buckets = max(bucket for bucket, _ in counted) + 1
    highest = max(counted.values())
    bars = [
        {"x": 100 * bucket / buckets, "height": 60 * count / highest, "version": version}
        for (bucket, version), count in sorted(counted.items())
    ]
    return {
        "title": title,
        "bars": bars,
        "width": 100 / buckets,
        "seconds": buckets * BUCKET_S,
        "requests": result["requests"],
    }
