"""What monitoring left in the store for a use case: drift and quality, the decision to retrain, the challenger.

The files are written by other programs, at times of another version. So each field is taken only where it is what is
expected, and what is not there is shown as not known: a page about gateways must not end with a report about drift.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.errors import DamagedObjectError, MissingObjectError
from serving.retraining import Trained, decision_keys, trained_since
from serving.store import Store

_MOST_FEATURES = 5


@dataclass(frozen=True, slots=True)
class Monitoring:
    """The latest look at the predictions; None and empty where nothing is known.

    Attributes:
        key: Where it lies.
        made_at_us: When it was made, UTC microseconds.
        version: The version it is about.
        windows: Windows that were predicted; ``devices``: of how many devices.
        joined_share: Share of them whose outcome is known.
        headline: What was reached, in a few words.
        beside: The measures people look at first: title with unit, live, and in the test the version was judged on.
        features: How many features were compared; ``drifted``: which moved far.
        moved: The features that moved most, with their stability index.
        score_index: Stability index of the scores; ``score_distance``: how far they moved, in scales of the test's.
        present_us: Up to when the fleet was heard, UTC microseconds; what happened later is not known.
        label_delay_hours: Median time from the end of a window to its outcome.
        findings: What is not sound and therefore left out of drift, in sentences.
    """

    key: str
    made_at_us: int
    version: str
    windows: int | None
    devices: int | None
    joined_share: float | None
    headline: str
    features: int | None
    drifted: tuple[str, ...]
    moved: tuple[tuple[str, float], ...]
    score_index: float | None
    score_distance: float | None = None
    present_us: int = 0
    label_delay_hours: float | None = None
    findings: tuple[str, ...] = ()
    beside: tuple[tuple[str, float | None, float | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Retraining:
    """The latest decision whether to train anew, with what speaks for it and against it.

    Attributes:
        key: Where it lies.
        decided_at_us: When it was made, UTC microseconds.
        retrain: Whether to train anew.
        sentence: All of it in one sentence.
        reasons: What speaks for it; ``brakes``: what speaks against it.
        followed: The version that was trained since, and what the gate said of it; None for none, and where none was
            asked for.
    """

    key: str
    decided_at_us: int
    retrain: bool
    sentence: str
    reasons: tuple[str, ...]
    brakes: tuple[str, ...]
    followed: Trained | None = None

    @property
    def open(self) -> bool:
        """Whether a new model was asked for and none was trained since."""
        return self.retrain and self.followed is None


@dataclass(frozen=True, slots=True)
class Challenger:
    """The latest comparison of a challenger with the champion, on the same windows.

    Attributes:
        key: Where it lies.
        made_at_us: When it was made, UTC microseconds.
        version: The challenger; ``champion``: the other.
        windows: Windows that both answered.
        agreement: Share of them on which both decide the same.
        judged: How much came true that they are judged by; ``counted`` says what.
        measure: What they are compared by; ``gain``: by how much the challenger is better.
        gain_interval: 95 %, low and high; None where it is not known.
        headlines: What each reached, in a few words.
        examples: Windows on which they differ, one of each device: its name, score of the champion, of the challenger.
    """

    key: str
    made_at_us: int
    version: str
    champion: str
    windows: int | None
    agreement: float | None
    judged: int | None
    counted: str
    measure: str
    gain: float | None
    gain_interval: tuple[float, float] | None
    headlines: tuple[str, str]
    examples: tuple[tuple[str, float, float], ...]


def monitoring(store: Store, usecase: str) -> Monitoring | None:
    """Return the latest report of monitoring; None before the first."""
    found = _latest(store, f"reports/monitoring/{usecase}/", "made_at_us")
    if found is None:
        return None
    key, fields = found
    summary = _mapping(fields.get("summary"))
    version = _text(summary.get("version"))
    of_version = next((each for each in _mappings(fields.get("versions")) if each.get("version") == version), {})
    index = _mapping(of_version.get("feature_index"))
    known = [(str(name), value) for name, found in index.items() if (value := _number(found)) is not None]
    return Monitoring(
        key,
        _count(fields.get("made_at_us")) or 0,
        version,
        _count(summary.get("windows")),
        _count(summary.get("devices")),
        _number(summary.get("joined_share")),
        _text(summary.get("headline")),
        _count(summary.get("features")),
        _texts(summary.get("drifted")),
        tuple(sorted(known, key=lambda pair: (-pair[1], pair[0]))[:_MOST_FEATURES]),
        _number(summary.get("score_index")),
        _number(summary.get("score_distance")),
        _count(fields.get("present_us")) or 0,
        _number(summary.get("label_delay_hours")),
        _texts(summary.get("findings")),
        tuple(_beside(each) for each in _mappings(of_version.get("beside"))),
    )


def retraining(store: Store, usecase: str) -> Retraining | None:
    """Return the latest decision, or where that cannot be read the one before; None before the first."""
    latest = reversed(decision_keys(store, usecase)[-2:])
    key, fields = next(((key, fields) for key in latest if (fields := _read(store, key))), ("", {}))
    if not key:
        return None
    decided_at_us, retrain = _count(fields.get("decided_at_us")) or 0, fields.get("retrain") is True
    return Retraining(
        key,
        decided_at_us,
        retrain,
        _text(fields.get("sentence")),
        _texts(fields.get("reasons")),
        _texts(fields.get("brakes")),
        trained_since(store, usecase, decided_at_us) if retrain else None,
    )


def challenger(store: Store, usecase: str) -> Challenger | None:
    """Return the newest comparison; None before the first."""
    found = _latest(store, f"reports/shadow/{usecase}/", "made_at_us")
    if found is None:
        return None
    key, fields = found
    mine, other = _mapping(fields.get("challenger")), _mapping(fields.get("champion"))
    return Challenger(
        key,
        _count(fields.get("made_at_us")) or 0,
        _text(mine.get("version")),
        _text(other.get("version")),
        _count(fields.get("windows")),
        _number(fields.get("agreement")),
        _count(fields.get("judged")),
        _text(fields.get("counted")),
        _text(fields.get("measure")),
        _number(fields.get("gain")),
        _interval(fields.get("gain_interval")),
        (_text(mine.get("headline")), _text(other.get("headline"))),
        _examples(_mappings(fields.get("examples"))),
    )


def _examples(windows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, float, float], ...]:
    """The first window of each device: those of one tell the same."""
    found: dict[str, tuple[str, float, float]] = {}
    for each in windows:
        device, ours, theirs = _text(each.get("device")), _number(each.get("champion")), _number(each.get("challenger"))
        found.setdefault(device, (device, ours or 0.0, theirs or 0.0))
    return tuple(found.values())[:_MOST_FEATURES]


def _beside(measure: Mapping[str, Any]) -> tuple[str, float | None, float | None]:
    title, unit = _text(measure.get("title")), _text(measure.get("unit"))
    named = f"{title}, {unit}" if unit and unit != "1" else title
    return named, _number(measure.get("live")), _number(measure.get("offline"))


def _latest(store: Store, prefix: str, made: str) -> tuple[str, Mapping[str, Any]] | None:
    """The file that says it was made last, of the two whose names are greatest or that were written last."""
    listed = sorted(store.list(prefix), key=lambda entry: entry.modified_us)[-2:]
    read = [(entry.key, fields) for entry in listed if (fields := _read(store, entry.key))]
    return max(read, key=lambda pair: (_count(pair[1].get(made)) or 0, pair[0]), default=None)


def _read(store: Store, key: str) -> Mapping[str, Any]:
    try:
        return _mapping(json.loads(store.get(key)))
    except (DamagedObjectError, MissingObjectError, ValueError):
        return {}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, Sequence) else []


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return ()
    return tuple(each for each in value if isinstance(each, str))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _interval(value: object) -> tuple[float, float] | None:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:  # noqa: PLR2004 - low and high
        return None
    low, high = _number(value[0]), _number(value[1])
    return None if low is None or high is None else (low, high)
