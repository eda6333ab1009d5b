"""The picture of a search: a dot for each trial, and a line for the best so far."""

from collections.abc import Sequence
from html import escape

from pipelines.study import Trial
from pipelines.tasks import Measure

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 640, 280, 64, 34, 46
_LETTER = 6.5  # pixels, about
_COLOURS = ("#1b6ca8", "#c2571a", "#3f7d3a", "#7a4fa3", "#8a6d1d", "#5b5b5b")


def picture(trials: Sequence[Trial], measure: Measure) -> str:
    """Return an SVG, a few kilobytes.

    Args:
        trials: By number; one that failed is left out.
        measure: What they reached, and which direction is better.

    Example:
        >>> picture([Trial(0, "linear", {}, "1-of-1").ended(0.5, 1.0)], Measure("f1", "F1"))[:31]
        '<svg xmlns="http://www.w3.org/2'
    """
    reached = [(trial.number, trial.family, trial.score) for trial in trials if trial.score is not None]
    scores = [score for _, _, score in reached]
    low, high = min(scores), max(scores)
    span, last = (high - low) or 1.0, max(number for number, _, _ in reached) or 1
    families = list(dict.fromkeys(family for _, family, _ in reached))

    def place(number: int, score: float) -> tuple[float, float]:
        across = _LEFT + (_WIDTH - _LEFT - 12) * number / last
        return round(across, 1), round(_TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - score) / span, 1)

    better = max if measure.better == "higher" else min
    best = [place(number, better(scores[: at + 1])) for at, (number, _, _) in enumerate(reached)]
    steps = f"M{best[0][0]},{best[0][1]}" + "".join(f"H{x}V{y}" for x, y in best[1:])
    first = next(place(number, score) for number, _, score in reached if score == better(scores))
    dots = [
        '<circle cx="{}" cy="{}" r="4" fill="{}"/>'.format(*place(number, score), _COLOURS[families.index(name) % 6])
        for number, name, score in reached
    ]
    floor = _HEIGHT - _BOTTOM
    ticks = [
        f'<text x="{place(number, low)[0]}" y="{floor + 18}" text-anchor="middle" fill="#555">{number}</text>'
        for number in sorted({reached[0][0], reached[-1][0]})
    ]
    box = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    words = f"{escape(measure.title)} by number of trial; the line is the best so far, the ring the first to reach it"
    return "".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif" font-size="12">',
            f"<title>{words}</title>",
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
            *_legend(families),
            *(f'<path d="M{_LEFT},{y}H{_WIDTH - 12}" stroke="#ddd"/>' for y in (_TOP, floor)),
            f'<text x="4" y="{_TOP + 4}">{high:.4g}</text><text x="4" y="{floor + 4}">{low:.4g}</text>',
            *ticks,
            f'<text x="{_LEFT}" y="{_HEIGHT - 6}">{words}</text>',
            f'<path d="{steps}" fill="none" stroke="#999" stroke-width="1.5"/>',
            *dots,
            f'<circle cx="{first[0]}" cy="{first[1]}" r="7" fill="none" stroke="#222" stroke-width="1.5"/>',
            "</svg>",
        ]
    )


def _legend(families: Sequence[str]) -> list[str]:
    """Dots and names of the families, side by side."""
    named, x = [], float(_LEFT)
    for at, name in enumerate(families):
        colour = _COLOURS[at % len(_COLOURS)]
        named.append(f'<circle cx="{x + 4:.0f}" cy="12" r="4" fill="{colour}"/>')
        named.append(f'<text x="{x + 12:.0f}" y="16" fill="{colour}">{escape(name)}</text>')
        x += 30 + _LETTER * len(name)
    return named
