"""Why a reading is not believed, as a word, a number and a sentence."""

import enum


class Reason(enum.StrEnum):
    """Why a reading was not accepted; ``check_readings`` answers with the position in this list, counted from one."""

    UNREADABLE = "unreadable"
    NO_DEVICE = "no_device"
    NO_TIME = "no_time"
    NO_SIGNALS = "no_signals"
    OUT_OF_RANGE = "out_of_range"
    IN_THE_FUTURE = "in_the_future"
    TOO_OLD = "too_old"
    WRONG_TYPE = "wrong_type"
    BURST_LENGTH = "burst_length"
    BURST_GAPS = "burst_gaps"
    UNKNOWN_DEVICE = "unknown_device"
    MISSING_SIGNAL = "missing_signal"
    UNKNOWN_FIELD = "unknown_field"

    @property
    def sentence(self) -> str:
        """The reason in words for the person who looks after the devices."""
        return _SENTENCES[self]

    @property
    def number(self) -> int:
        """The number ``check_readings`` gives this reason, one or more."""
        return list(Reason).index(self) + 1


_SENTENCES = {
    Reason.UNREADABLE: "The record is not a JSON object.",
    Reason.NO_DEVICE: "The record names no device.",
    Reason.NO_TIME: "The record has no usable event time.",
    Reason.NO_SIGNALS: "The record carries no value of any signal of the fleet.",
    Reason.OUT_OF_RANGE: "A value lies outside the valid range of its signal.",
    Reason.IN_THE_FUTURE: "The event time lies further ahead of the time of receipt than the fleet allows.",
    Reason.TOO_OLD: "The event time lies further behind the time of receipt than the fleet allows.",
    Reason.WRONG_TYPE: "A value is not a number.",
    Reason.BURST_LENGTH: "A burst holds fewer samples than a segment of its spectrum, or more than its limit.",
    Reason.BURST_GAPS: "A burst lacks samples, or holds infinite ones.",
    Reason.UNKNOWN_DEVICE: "The device is not enrolled in the fleet.",
    Reason.MISSING_SIGNAL: "The record lacks a signal that the fleet requires.",
    Reason.UNKNOWN_FIELD: "The record has a field that the mapping of the fleet names nowhere.",
}
