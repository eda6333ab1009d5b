import contextlib
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from serving.bundle import digest_of
from serving.gateway.errors import DamagedSlotError
from serving.gateway.slots import Installed, Slots
from serving.gateway.state import write_durably


def installed(data: bytes, version: str = "1", number: int = 1) -> Installed:
    return Installed("a", version, number, digest_of(data), 0)


def opened(folder: Path) -> Any:
    return Slots(folder)


def release(slots: Any, data: bytes, version: str = "1") -> None:
    slots.commit(slots.stage(data, installed(data, version)))


def test_a_staged_bundle_does_not_serve_until_it_is_committed(tmp_path):
    slots = opened(tmp_path)
    release(slots, b"one")
    staged = slots.stage(b"two", installed(b"two"))
    assert (slots.serving.bundle, staged.slot) == (digest_of(b"one"), "b")
    slots.commit(staged)
    assert slots.read(slots.serving) == b"two"


def test_what_serves_is_found_again_after_a_restart(tmp_path):
    release(opened(tmp_path), b"one", "7")
    again = opened(tmp_path)
    assert (again.serving.version, again.read(again.serving)) == ("7", b"one")


def test_the_last_good_bundle_is_pinned_while_the_new_one_is_on_probation(tmp_path):
    slots = opened(tmp_path)
    release(slots, b"good")
    slots.prove(slots.serving)
    release(slots, b"unproven")
    release(slots, b"third")
    assert slots.read(slots.fall_back(slots.serving)) == b"good"


def test_once_proven_there_is_nothing_to_fall_back_to(tmp_path):
    slots = opened(tmp_path)
    release(slots, b"one")
    release(slots, b"two")
    slots.prove(slots.serving)
    assert slots.fall_back(slots.serving) is None
    assert slots.serving is None


def test_what_failed_is_remembered_across_restarts_and_releases(tmp_path):
    slots = opened(tmp_path)
    release(slots, b"good")
    release(slots, b"bad")
    slots.fall_back(slots.serving)
    release(slots, b"third")
    slots.prove(slots.serving)
    assert opened(tmp_path).refused.bundle == digest_of(b"bad")


def test_a_failure_after_the_pointer_went_back_does_not_lose_the_good_bundle(tmp_path):
    slots = opened(tmp_path)
    release(slots, b"good")
    slots.prove(slots.serving)
    release(slots, b"unproven")
    unproven = slots.serving
    slots.stage(b"third", installed(b"third"))  # the pointer is at "good" again, memory still runs "unproven"
    assert slots.read(slots.fall_back(unproven)) == b"good"


def test_starts_are_counted_only_while_unproven(tmp_path):
    release(opened(tmp_path), b"one")
    assert [opened(tmp_path).began() for _ in range(3)] == [1, 2, 3]
    slots = opened(tmp_path)
    slots.prove(slots.serving)
    assert slots.began() == 0


def test_a_damaged_slot_is_told_and_not_served(tmp_path):
    slots = opened(tmp_path)
    release(slots, b"one")
    slots.path("a").write_bytes(b"onf")
    with pytest.raises(DamagedSlotError, match="damaged"):
        slots.read(slots.serving)
    slots.path("a").unlink()
    with pytest.raises(DamagedSlotError, match="cannot be read"):
        slots.read(slots.serving)


@pytest.mark.parametrize("pointer", [b"", b"[]", b'{"serving": {"slot": "a"}}', b'{"serving": null}'])
def test_a_pointer_that_cannot_be_read_is_told(tmp_path, pointer):
    (tmp_path / "pointer.json").write_bytes(pointer)
    with pytest.raises(DamagedSlotError, match="pointer"):
        opened(tmp_path)


def test_the_same_bundle_under_a_new_version_changes_only_the_label(tmp_path):
    slots = opened(tmp_path)
    release(slots, b"one", "1")
    slots.relabel(installed(b"one", "2", 9))
    assert (opened(tmp_path).serving.version, opened(tmp_path).serving.number) == ("2", 9)


class PowerCuts(RuleBasedStateMachine):
    """Whatever is done in whatever order, and wherever it is cut off: what the pointer names can be read whole."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.slots = opened(self.folder)
        self.count = 0

    @rule(cut=st.integers(0, 3))
    def take_a_release(self, cut):
        """Stage and commit, with the power failing at the ``cut``-th durable write (3: it does not fail)."""
        self.count += 1
        data = f"bundle {self.count}".encode()
        left = [cut]

        def failing(path: Path, content: bytes) -> None:
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            write_durably(path, content)

        with (
            patch("serving.gateway.slots.write_durably", failing if cut < 3 else write_durably),
            contextlib.suppress(KeyboardInterrupt),
        ):
            release(self.slots, data)
        self.restart()

    @rule()
    def prove(self):
        self.slots.prove(self.slots.serving)

    @precondition(lambda self: not self.slots.proven)
    @rule()
    def fall_back(self):
        self.slots.fall_back(self.slots.serving)

    @rule()
    def restart(self):
        self.slots = opened(self.folder)

    @invariant()
    def what_the_pointer_names_can_be_read(self):
        pointer = self.slots._pointer
        for named in (pointer.serving, pointer.good):
            if named is not None:
                self.slots.read(named)
        assert pointer.good is None or pointer.good.slot != pointer.serving.slot


TestPowerCuts = PowerCuts.TestCase
TestPowerCuts.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
