"""The picture of a search: a dot for each trial, and a line for the best so far."""

from collections.abc import Sequence
from html import escape

from pipelines.study import Trial
from pipelines.tasks import Measure

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 640, 260, 64, 28, 30
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
    best = [(number, better(scores[: at + 1])) for at, (number, _, _) in enumerate(reached)]
    line = " ".join("{},{}".format(*place(*point)) for point in best)
    dots = [
        '<circle cx="{}" cy="{}" r="4" fill="{}"/>'.format(*place(number, score), _COLOURS[families.index(name) % 6])
        for number, name, score in reached
    ]
    named = [
        f'<text x="{_LEFT + 150 * at}" y="16" fill="{_COLOURS[at % 6]}">{escape(name)}</text>'
        for at, name in enumerate(families)
    ]
    box = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}"'
    return "".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif" font-size="12">',
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
            *named,
            f'<text x="4" y="{_TOP + 4}">{high:.4g}</text><text x="4" y="{_HEIGHT - _BOTTOM}">{low:.4g}</text>',
            f'<text x="{_LEFT}" y="{_HEIGHT - 8}">{escape(measure.title)} by trial; the line is the best so far</text>',
            f'<polyline points="{line}" fill="none" stroke="#999" stroke-width="1.5"/>',
            *dots,
            "</svg>",
        ]
    )
