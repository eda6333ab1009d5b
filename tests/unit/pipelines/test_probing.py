"""The draft of a mapping, tried on every shape that a reader knows."""

from dataclasses import replace

import pytest

from pipelines.formats import UnreadableError
from pipelines.probing.draft import catalog_text, draft
from pipelines.probing.guess import guess
from pipelines.probing.survey import survey
from pipelines.records import RawObject
from tests.fakes.shapes import SHAPES, Reading, Shape, lines

NOW = 1_764_000_000_000_000
READINGS = [
    Reading(f"press-{n % 2}", NOW + n * 60_000_000, 60 + n / 7, 1400.0 + n, n, NOW + n * 60_000_000 + 1_000_000)
    for n in range(20)
]
BEYOND = {
    "EMQX, device in metadata": "metadata is not looked at",
    "OPC Publisher, samples": "the device goes by a name that says nothing",
    "OpenTelemetry": "the time is a number in quotes",
    "SiteWise, bulk CSV": "columns without names say nothing",
    "Text, columns of blanks": "columns without names say nothing",
}


def written(shape: Shape) -> RawObject:
    return shape.write([replace(each, device="press-7") for each in READINGS] if shape.one_device else READINGS)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape.name not in BEYOND], ids=str)
def test_the_draft_reads_what_it_was_made_from(shape):
    raw = written(shape)
    proposed = guess(survey(raw.data), raw.key)
    fleet, trial = draft("presses", proposed, raw, NOW + 86_400_000_000)
    assert trial.rows == len(READINGS), (proposed, trial)
    assert not trial.rejected
    assert trial.devices[1] == (1 if shape.one_device else 2)
    scope: dict[str, object] = {}
    exec(catalog_text(fleet, proposed), scope)
    made = scope["FLEET"]
    assert made.lies == fleet.lies  # type: ignore[attr-defined]
    assert scope["FEATURES"].fleet is made  # type: ignore[attr-defined]


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape.name in BEYOND], ids=str)
def test_what_cannot_be_guessed_is_said(shape):
    raw = written(shape)
    assert guess(survey(raw.data), raw.key).remarks, BEYOND[shape.name]


def test_the_range_of_the_draft_is_what_was_seen_widened_and_the_unit_is_left_to_a_person():
    raw = RawObject("x", lines([{"device": "a", "ts": NOW // 1000 + n, "temp": 20 + n} for n in range(11)]))
    fleet, _ = draft("x", guess(survey(raw.data), "x"), raw, NOW)
    (signal,) = fleet.signals
    assert (signal.unit, signal.low, signal.high) == ("?", 0.0, 40.0)
    assert "seen 20 to 30" in catalog_text(fleet, guess(survey(raw.data), "x"))


@pytest.mark.parametrize("data", [b"", b"one line of prose", b"PAR1", b"Obj\x01"])
def test_what_is_no_telemetry_is_refused_with_a_sentence(data):
    with pytest.raises(UnreadableError):
        survey(data)
