"""The pictures of the benchmark, drawn as SVG that reads on white and on dark pages alike."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from tests.bench.table import Row, brief

OURS = "tidemill"
WIDTH = 760
_INK, _SOFT, _RULE, _BACK = "#1f2933", "#66727f", "#d9dee4", "#ffffff"
_COLORS = {OURS: "#0b7285", "polars": "#e8590c", "duckdb": "#b08900", "scan": "#868e96"}
_OTHER = "#b9c2cc"


def draw(rows: Sequence[Row], folder: Path) -> None:
    """Write ``features.svg`` and ``history.svg``, each when its rows were measured."""
    known = {row.id: row for row in rows}
    rates = known.get("messages_per_cpu_second")
    if rates is not None:
        slow: dict[str, float] = {name: known[name].value for name in ("tsfresh", "river") if name in known}
        (folder / "features.svg").write_text(throughput({OURS: rates.value, **rates.peers, **slow}))
    lengths = {int(found[1]): row for row in rows if (found := re.fullmatch(r"cpu_seconds_(\d+)d", row.id)) is not None}
    if len(lengths) > 1:
        (folder / "history.svg").write_text(history(lengths))


def throughput(rates: Mapping[str, float]) -> str:
    """Bars of messages per CPU second; the fastest plain scan is the line that nobody can pass."""
    limit = max(rate for name, rate in rates.items() if name.startswith("scan_"))
    scan = next(name for name, rate in rates.items() if rate == limit).removeprefix("scan_")
    bars = sorted(((name, rate) for name, rate in rates.items() if not name.startswith("scan_")), key=lambda b: -b[1])
    left, right, top, step = 110, WIDTH - 120, 96, 34
    scale = (right - left) / limit
    height = top + step * len(bars) + 58
    bottom = top + step * len(bars)
    parts = [
        _text(24, 34, "From Parquet to panes: messages per CPU second", 17, weight=600),
        _text(24, 56, "One day of 1,000 devices, 8 signals a message, one thread; decoding included", 12.5, _SOFT),
        _text(right, 84, f"plain scan, {scan}: {brief(limit)}", 12, _SOFT, anchor="end"),
    ]
    for position, (name, rate) in enumerate(bars):
        y = top + position * step
        width = max(rate * scale, 2)
        color = _COLORS[OURS] if name == OURS else _OTHER
        parts.append(_text(left - 12, y + 18, name, 13.5, anchor="end", weight=600 if name == OURS else 400))
        parts.append(f'<rect x="{left}" y="{y + 2}" width="{width:.1f}" height="{step - 10}" rx="2" fill="{color}"/>')
        share = f"{brief(rate)}  ({rate / limit:.0%} of the scan)" if name == OURS else brief(rate)
        inside = width > 220
        x, ink = (left + width - 10, _BACK) if inside else (left + width + 8, _INK)
        parts.append(_text(x, y + 18, share, 12.5, ink, anchor="end" if inside else "start"))
    parts.append(f'<path d="M{right} {top - 6}V{bottom}" stroke="{_INK}" stroke-width="1.5" stroke-dasharray="5 4"/>')
    parts.append(
        _text(
            24,
            height - 20,
            "Longer is better. The same statistics of each pane; tsfresh and river compute fewer, of one device.",
            12,
            _SOFT,
        )
    )
    best = next((name for name, _ in bars if name != OURS), "")
    alt = f"Bars: {OURS} {brief(rates[OURS])} messages per CPU second, the scan {brief(limit)}; best peer: {best}."
    return _svg(height, parts, alt)


def history(lengths: Mapping[int, Row]) -> str:
    """CPU seconds over days of history: the scan, ours, peers."""
    series: dict[str, dict[int, float]] = {OURS: {}, "scan": {}}
    for days, row in sorted(lengths.items()):
        series[OURS][days] = row.value
        series["scan"][days] = min(seconds for name, seconds in row.peers.items() if name.startswith("scan_"))
        for name, seconds in row.peers.items():
            if name.endswith("_1"):
                series.setdefault(name.removesuffix("_1"), {})[days] = seconds
    left, right, top, bottom = 64, WIDTH - 130, 84, 380
    most = _round_up(max(max(points.values()) for points in series.values()))
    longest = max(lengths)

    def place(days: float, seconds: float) -> tuple[float, float]:
        return left + (right - left) * days / longest, bottom - (bottom - top) * seconds / most

    parts = [
        _text(24, 34, "The pane stage over days of history", 17, weight=600),
        _text(24, 56, "CPU seconds, one thread; 8.64 million messages a day", 12.5, _SOFT),
    ]
    for number in range(6):
        y = place(0, most * number / 5)[1]
        parts.append(f'<path d="M{left} {y:.1f}H{right}" stroke="{_RULE}"/>')
        parts.append(_text(left - 8, y + 4, f"{most * number / 5:g}", 12, _SOFT, anchor="end"))
    parts += [
        _text(place(days, 0)[0], bottom + 20, f"{days} d", 12, _SOFT, anchor="middle") for days in sorted(lengths)
    ]
    ends = _apart({name: place(longest, points[longest])[1] for name, points in series.items()}, 17)
    for name, points in series.items():
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in sorted(points.items())))
        color, width = _COLORS.get(name, _OTHER), 3 if name == OURS else 2
        dashes = ' stroke-dasharray="5 4"' if name == "scan" else ""
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="{width}"{dashes}/>')
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>'
            for x, y in (place(*point) for point in points.items())
        ]
        label = f"{'plain scan' if name == 'scan' else name} {points[longest]:.3g} s"
        parts.append(_text(right + 12, ends[name] + 4, label, 13, color, weight=600 if name == OURS else 400))
    alt = "Lines of CPU seconds over days of history: " + ", ".join(
        f"{name} {points[longest]:.3g} s at {longest} days" for name, points in series.items()
    )
    return _svg(bottom + 44, parts, alt)


def _apart(places: Mapping[str, float], least: float) -> dict[str, float]:
    """Places of labels, moved down where two would lie on each other."""
    moved: dict[str, float] = {}
    before = float("-inf")
    for name, place in sorted(places.items(), key=lambda item: item[1]):
        before = max(place, before + least)
        moved[name] = before
    return moved


def _round_up(value: float) -> float:
    """The next number that five steps divide well."""
    power = 1.0
    while power * 10 <= value:
        power *= 10
    return next(step * power for step in (1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10) if step * power >= value)


def _text(
    x: float, y: float, text: str, size: float, color: str = _INK, *, anchor: str = "start", weight: int = 400
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )


def _svg(height: float, parts: Sequence[str], alt: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}" '
        f'role="img" font-family="system-ui, sans-serif"><title>{escape(alt)}</title>'
        f'<rect width="100%" height="100%" rx="8" fill="{_BACK}"/>{"".join(parts)}</svg>\n'
    )
