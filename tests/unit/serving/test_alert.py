"""The state machine behind alerts, first as a table of sentences, then as laws over random histories."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.alert import AlertPolicy, Alerts
from serving.errors import RecordError, SettingsError
from serving.record import Prediction


def window(
    end_us: int, alert: int, *, device: str = "pump-7", usecase: str = "pump_failure", version: str = "1"
) -> Prediction:
    score = 0.9 if alert else 0.1
    return Prediction(
        "id", usecase, "gateway", "gw", device, end_us, end_us + 5, version, "b", "f", score, bool(alert), ()
    )


def transitions(policy: AlertPolicy, history: Iterable[str]) -> list[tuple[int, str, int]]:
    """``history`` is a string, one window a letter: A alert, . none. The events as (index, kind, since index)."""
    alerts = Alerts(policy)
    found: list[tuple[int, str, int]] = []
    for index, letter in enumerate(history):
        event = alerts.observe(window(index, letter == "A"))
        if event:
            found.append((index, event.kind, event.since_us))
    return found


HISTORIES = {
    "one alert alone is no alarm": (AlertPolicy(2, 2), "A....", []),
    "two in a row raise": (AlertPolicy(2, 2), ".AA", [(2, "raised", 1)]),
    "two with a gap do not raise": (AlertPolicy(2, 2), "A.A.A", []),
    "more of the same raises once": (AlertPolicy(2, 2), "AAAAA", [(1, "raised", 0)]),
    "one quiet window does not clear": (AlertPolicy(2, 2), "AA.AA.A", [(1, "raised", 0)]),
    "two quiet windows clear and keep the beginning": (
        AlertPolicy(2, 2),
        ".AA..",
        [(2, "raised", 1), (4, "cleared", 1)],
    ),
    "after a clear it can raise again": (
        AlertPolicy(2, 1),
        "AA.AA",
        [(1, "raised", 0), (2, "cleared", 0), (4, "raised", 3)],
    ),
    "one and one follow the score": (
        AlertPolicy(1, 1),
        "A.A",
        [(0, "raised", 0), (1, "cleared", 0), (2, "raised", 2)],
    ),
    "three are needed when three are asked for": (AlertPolicy(3, 2), "AA.AAA", [(5, "raised", 3)]),
}


@pytest.mark.parametrize(("policy", "history", "expected"), HISTORIES.values(), ids=HISTORIES.keys())
def test_a_history_gives_these_events(policy, history, expected):
    assert transitions(policy, history) == expected


def test_an_event_says_who_when_and_by_which_version():
    alerts = Alerts(AlertPolicy(1, 1))
    event = alerts.observe(window(60, True, device="pump-3", version="12"))
    assert event is not None
    assert (event.device, event.usecase, event.score, event.window_end_us, event.version, event.since_us) == (
        "pump-3",
        "pump_failure",
        0.9,
        60,
        "12",
        60,
    )
    assert alerts.active() == [event]


def test_devices_and_use_cases_do_not_influence_each_other():
    alerts = Alerts(AlertPolicy(2, 2))
    assert alerts.observe(window(1, True, device="a")) is None
    assert alerts.observe(window(2, True, device="b")) is None
    assert alerts.observe(window(2, True, device="a", usecase="other")) is None
    assert alerts.observe(window(2, True, device="a")) is not None
    assert [alert.device for alert in alerts.active()] == ["a"]


def test_a_window_counts_once_and_an_older_one_not_at_all():
    alerts = Alerts(AlertPolicy(2, 2))
    assert alerts.observe(window(5, True)) is None
    assert alerts.observe(window(5, True)) is None
    assert alerts.observe(window(4, True)) is None
    assert alerts.observe(window(6, True)) is not None


def test_a_restart_neither_forgets_nor_repeats_an_alert():
    alerts = Alerts(AlertPolicy(2, 2))
    for end_us in (1, 2):
        alerts.observe(window(end_us, True))
    alerts.observe(window(2, True, device="half-way"))
    restored = Alerts.restore(AlertPolicy(2, 2), alerts.snapshot())
    assert restored.active() == alerts.active()
    assert restored.observe(window(2, True)) is None
    assert restored.observe(window(3, True)) is None
    event = restored.observe(window(3, True, device="half-way"))
    assert event is not None
    assert event.since_us == 2


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b'[["u","d",{}]]', b'[["u","d",{"raised":null,"x":1}]]'])
def test_a_damaged_memory_is_an_error_that_says_what_to_do(data):
    with pytest.raises(RecordError, match="start without it"):
        Alerts.restore(AlertPolicy(), data)


@pytest.mark.parametrize("policy", [(0, 1), (1, 0), (-1, 2)])
def test_a_policy_without_windows_is_refused(policy):
    with pytest.raises(SettingsError):
        AlertPolicy(*policy)


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 4), st.integers(1, 4))
def test_events_take_turns_and_are_backed_by_a_streak(history, consecutive, clear):
    events = transitions(AlertPolicy(consecutive, clear), ["A" if alert else "." for alert in history])
    assert [kind for _, kind, _ in events] == ["raised", "cleared"] * (len(events) // 2) + ["raised"] * (
        len(events) % 2
    )
    for index, kind, _ in events:
        length = consecutive if kind == "raised" else clear
        assert history[index - length + 1 : index + 1] == [kind == "raised"] * length


@given(st.lists(st.booleans(), max_size=40), st.integers(0, 40))
def test_a_snapshot_anywhere_changes_no_event(history, cut):
    policy = AlertPolicy(2, 3)
    alerts, events = Alerts(policy), []
    for index, alert in enumerate(history):
        if index == cut:
            alerts = Alerts.restore(policy, alerts.snapshot())
        event = alerts.observe(window(index, alert))
        if event:
            events.append((index, event.kind, event.since_us))
    assert events == transitions(policy, ["A" if alert else "." for alert in history])
