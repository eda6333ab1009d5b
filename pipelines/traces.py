"""Curves of a device over time, and the signal that is drawn above them."""

from dataclasses import dataclass, field, replace

from pipelines.charts import moments
from pipelines.lines import SignalLine, signal_line
from pipelines.timeline import Told

Ticks = list[tuple[float, str]]

HEIGHT = 110.0
TRACE_HEIGHT = 70.0


@dataclass(frozen=True, slots=True)
class CurvePicture:
    """One device over time: what was true and what was foreseen; or a score, with spells and alarms behind it.

    Attributes:
        caption: What it is.
        alt: What is seen, in a sentence.
        true: What was true, path data; empty for a score.
        score: What was foreseen, or the score, path data; empty for a device that was asked once.
        threshold: Where it alerts, pixels from the top; negative where that is out of sight.
        spells: From where to where the device was in the state.
        alarms: From where to where it alerted.
        ticks: Places and names of moments.
        high: Upper end.
        low: Lower end.
        unit: Of the curve.
        trace: Readings of the signal above it.
        trace_unit: Of the signal.
    """

    caption: str
    alt: str = ""
    true: str = ""
    score: str = ""
    threshold: float = -1.0
    spells: list[tuple[float, float]] = field(default_factory=list)
    alarms: list[tuple[float, float]] = field(default_factory=list)
    ticks: Ticks = field(default_factory=list)
    high: str = ""
    low: str = ""
    unit: str = ""
    trace: SignalLine | None = None
    trace_unit: str = ""


def traced(picture: CurvePicture, drawn: Told | None, stretch: tuple[int, int]) -> CurvePicture:
    """Draw the signal that tells most above a curve.

    Args:
        picture: The curve, with the ticks of the stretch; without a curve the stretch begins where readings do.
        drawn: The signal; None draws nothing.
        stretch: Begin and end, UTC microseconds.
    """
    if drawn is None:
        return picture
    if not picture.score and len(drawn.times):
        stretch = int(drawn.times[0]), stretch[1]
    line = signal_line(drawn.times, drawn.values, stretch, drawn.normal, TRACE_HEIGHT)
    told = f"{picture.caption}. {drawn.signal} from {line.low} to {line.high} {drawn.unit}".rstrip()
    return replace(
        picture,
        caption=f"{picture.caption}; {drawn.signal}{' and score' if picture.unit == 'score' else ''}",
        alt=picture.alt or f"{told}.",
        ticks=picture.ticks or moments(*stretch),
        trace=line,
        trace_unit=drawn.unit,
    )
