"""What each feature of a set says, in words: one declaration's reader for people."""

from dataclasses import dataclass

from features.feature import (
    START,
    AnyFeature,
    Difference,
    EventCount,
    Feature,
    Lag,
    Plain,
    Since,
    TimeSince,
    duration_name,
)
from features.featureset import FeatureSet
from features.sketch import QUANTILES
from features.statistic import STATISTICS


@dataclass(frozen=True, slots=True)
class Description:
    """One feature as people read it.

    Args:
        name: The name of the column.
        unit: The unit of its values.
        window: What stretch of time it looks at.
        statistic: The word for what is computed.
        definition: What the value says, one sentence.
        source: What it is made of: the signal and what it measures, or the kind of event.
    """

    name: str
    unit: str
    window: str
    statistic: str
    definition: str
    source: str


def describe(features: FeatureSet) -> tuple[Description, ...]:
    """Describe each feature of a set, in column order.

    Example:
        >>> from features import catalog
        >>> first = describe(catalog.load("pumps").features)[0]
        >>> first.name, first.unit, first.window, first.definition
        ('vibration_mean_1h', 'mm/s', '1h', 'Arithmetic mean.')
    """
    return tuple(_describe(features, feature) for feature in features.features)


def _describe(features: FeatureSet, feature: AnyFeature) -> Description:
    if not isinstance(feature, Lag | Difference):
        return _plain(features, feature)
    of = _plain(features, feature.feature)
    back = duration_name(feature.steps * features.every)
    statistic = "lag" if isinstance(feature, Lag) else "difference"
    definition = f"{of.name} {back} earlier." if statistic == "lag" else f"{of.name} less what it was {back} earlier."
    return Description(feature.name, of.unit, of.window, f"{of.statistic}, {statistic}", definition, of.source)


def _plain(features: FeatureSet, feature: Plain) -> Description:
    match feature:
        case EventCount(kind, window):
            definition = f"Events of kind {kind} within the window, of those known at its end."
            return Description(feature.name, "1", duration_name(window), "count", definition, f"events: {kind}")
        case TimeSince(kind) if kind == START:
            return Description(feature.name, "h", "all", "time since", "Age: time since the first pane.", "telemetry")
        case TimeSince(kind):
            definition = f"Time since the latest known event of kind {kind}; missing while there is none."
            return Description(feature.name, "h", "all", "time since", definition, f"events: {kind}")
        case Feature(name, statistic, window):
            unit, source = _source(features, name)
            said = _since(window) if isinstance(window, Since) else duration_name(window)
            return Description(feature.name, *_said(statistic, unit, said), source)
    raise TypeError(f"{feature!r} is no feature")


def _since(window: Since) -> str:
    return f"since {window.kind}" + (f", {duration_name(window.most)} at most" if window.most else "")


def _source(features: FeatureSet, name: str) -> tuple[str, str]:
    """The unit of a signal as panes take it, and what it is: measured, read off a burst, compared with its regime."""
    signal = features.fleet.signals[features.fleet.signal_names.index(name)]
    source = f"{name}: {signal.description}" if signal.description else name
    for burst in features.fleet.bursts:
        source += "".join(f"; {r.statistic} of the burst {burst.samples}" for r in burst.readings if r.signal == name)
    if features.regimes is None or name not in features.regimes.signals:
        return signal.unit, source
    return "1", f"{source}; in standard deviations, by regime of {', '.join(features.regimes.settings)}"


def _said(statistic: str, unit: str, window: str) -> tuple[str, str, str, str]:
    """The unit, the window, the statistic and its definition."""
    if statistic in QUANTILES:
        definition = f"Value that {QUANTILES[statistic]:.0%} of the readings do not exceed, within 1 %."
        return unit, window, statistic, definition
    read = STATISTICS[statistic]
    return read.unit(unit), window, statistic, read.definition
