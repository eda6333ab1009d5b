"""However objects are written, written again, listed and cut into batches: the table is that of one reading of them."""

import os
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.schema import KEYS
from pipelines import batches as module
from pipelines.ingest import IngestSummary
from tests.fakes.copies import Row, believed, stored
from tests.fakes.fleets import DAY_US, FANS, HOUR_US, MINUTE_US, NOON_US, Plant, reading

EXAMPLES = int(os.environ.get("TIDEMILL_EXAMPLES", "8"))
quickly = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], print_blob=True
)


def message(device: str, step: int, values: Any, minutes: int, seq: int | None) -> Any:
    time = NOON_US + step * 7 * HOUR_US
    return reading(device, time, 0.0, time + minutes * MINUTE_US, values=values, seq=seq)


numbers = st.sampled_from([1.0, 2.0, 3.0])
values = st.one_of(
    st.fixed_dictionaries({"speed": numbers}, optional={"current": numbers}),
    st.fixed_dictionaries({"current": numbers}),
)
messages = st.builds(
    message, st.sampled_from(["a", "b"]), st.integers(0, 3), values, st.integers(0, 3), st.sampled_from([None, 1, 2])
)
deliveries = st.lists(
    st.dictionaries(st.sampled_from("pqrs"), st.lists(messages, max_size=4), min_size=1, max_size=3),
    min_size=1,
    max_size=5,
)


def balanced(plant: Plant, summary: IngestSummary, rows_before: int) -> None:
    """Nothing that was read is missing from the counts, and the counts tell the rows."""
    taken = summary.quarantined + summary.accepted + summary.duplicates + summary.superseded + summary.events
    assert summary.records == taken
    assert len(plant.rows()) == rows_before + summary.accepted + summary.restored - summary.replaced - summary.joined


fleets = st.builds(
    lambda believe, key: replace(FANS, believe=believe, key=key, mapping=replace(FANS.mapping, sequence="seq")),
    st.sampled_from(["first", "last"]),
    st.sampled_from(KEYS),
)


def held(plant: Plant) -> list[Row]:
    """Key and values of each row."""
    fleet = plant.fleet
    rows = plant.lake.telemetry(fleet).open().read([*fleet.key, *fleet.signal_names])
    return stored(fleet, rows.to_pylist())


@quickly
@given(deliveries, fleets, st.integers(1, 3), st.sampled_from([1, 4_000_000]))
def test_objects_that_are_written_again_leave_what_they_say_now(tmp_path_factory, given_objects, fleet, cut, most):
    plant = Plant(tmp_path_factory.mktemp("plant"), fleet=fleet)
    objects: dict[str, list[Any]] = {}
    rows = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BATCH_OBJECTS", cut)
        patch.setattr("pipelines.standing._MOST_ROWS", most)
        patch.setattr("pipelines.compose._MOST_CELLS", 4)
        for number, delivery in enumerate(given_objects):
            for name, said in delivery.items():
                plant.write(said or b"[]", name=name)
                objects[name] = said
            balanced(plant, plant.ingest(NOON_US + (number + 2) * DAY_US), rows)
            rows = len(plant.rows())
            assert held(plant) == believed(plant.fleet, objects)


def test_a_row_goes_with_the_record_that_made_it_believed(tmp_path):
    plant = Plant(tmp_path, fleet=replace(FANS, believe="last"))
    objects: dict[str, list[Any]] = {}
    first, later = {"speed": 2.0}, {"speed": 1.0}
    for number, (name, said) in enumerate(
        [
            ("r", [message("b", 1, first, 0, None)]),
            ("p", [message("b", 1, first, 1, None)]),  # says what r says, and is believed more
            ("q", [message("b", 1, later, 0, None)]),  # outranks r, but not p
            ("p", []),
        ]
    ):
        objects[name] = said
        plant.write(said or b"[]", name=name)
        plant.ingest(NOON_US + (number + 2) * DAY_US)
        assert held(plant) == believed(plant.fleet, objects), name


@quickly
@given(st.lists(messages, max_size=12), fleets, st.randoms(use_true_random=False))
def test_neither_order_nor_batches_decide_what_is_believed(tmp_path_factory, said, fleet, random):
    found = set()
    for cut in (1, 2, 20):
        random.shuffle(said)
        plant = Plant(tmp_path_factory.mktemp("plant"), fleet=fleet)
        for each in said:
            plant.write([each])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_BATCH_OBJECTS", cut)
            if said:
                plant.ingest()
                found.add(tuple(held(plant)))
    assert found in ({tuple(believed(fleet, {"all": said}))}, set())
