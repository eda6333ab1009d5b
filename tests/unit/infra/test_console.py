"""What goes to which stream, with and without a terminal."""

import io
import json

import pytest

from features.errors import TidemillError
from infra.local import console
from infra.local.console import Console, table


class Terminal(io.StringIO):
    """Text that believes to be a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(console, "time", clock)
    return clock


def test_without_a_terminal_each_stage_leaves_one_line(clock: Clock):
    err = io.StringIO()
    speaker = Console(out=io.StringIO(), err=err)
    for done in range(1, 5):
        clock.now += 2
        speaker.progress("read", done, 4)
    clock.now += 1
    speaker.progress("write", 1, 0)
    clock.now += 1
    speaker.result({}, [])
    assert err.getvalue().splitlines() == ["read: 4 of 4 in 7.0 s (0.6/s)", "write: 1 in 1.0 s (1.0/s)"]


def test_what_is_noted_stands_beside_the_bar_and_at_the_end(clock: Clock):
    err = Terminal()
    speaker = Console(out=io.StringIO(), err=err)
    speaker.note("nobody is at work")
    speaker.progress("search", 0, 0)
    speaker.note("3 trials, best f1 0.5")
    clock.now += 1
    speaker.progress("search", 2, 4)
    speaker.end_stage()
    assert "2/4 2.0/s 1 s left · 3 trials, best f1 0.5" in err.getvalue()
    assert err.getvalue().endswith("search: 2 of 4 in 1.0 s (2.0/s), 3 trials, best f1 0.5\n")


def test_in_a_log_what_is_noted_is_a_line_now_and_then(clock: Clock):
    err = io.StringIO()
    speaker = Console(out=io.StringIO(), err=err)
    speaker.progress("search", 0, 0)
    for trials in range(1, 12):
        clock.now += 1
        speaker.note(f"{trials} trials")
    assert err.getvalue().splitlines() == ["search: 5 trials", "search: 10 trials"]


def test_a_stage_that_counts_nothing_says_how_long_it_took(clock: Clock):
    err = Terminal()
    speaker = Console(out=io.StringIO(), err=err)
    speaker.progress("fit", 0, 0)
    clock.now += 2.25
    speaker.end_stage()
    assert err.getvalue() == "\r\x1b[2Kfit …\r\x1b[2Kfit: 2.2 s\n"


def test_a_long_stage_gives_a_sign_of_life_every_half_minute(clock: Clock):
    err = io.StringIO()
    speaker = Console(out=io.StringIO(), err=err)
    for second in range(1, 101):
        clock.now += 1
        speaker.progress("train", second, 100)
    assert [line.split(" in ")[0] for line in err.getvalue().splitlines()] == [
        "train: 31 of 100",
        "train: 61 of 100",
        "train: 91 of 100",
    ]


def test_on_a_terminal_one_line_is_drawn_over_with_rate_and_time_left(clock: Clock):
    err = Terminal()
    speaker = Console(out=io.StringIO(), err=err)
    speaker.progress("read", 0, 40)
    clock.now += 4
    speaker.progress("read", 10, 40)
    clock.now += 0.01
    speaker.progress("read", 11, 40)
    drawn = err.getvalue().split("\r\x1b[2K")
    assert drawn[-1] == "read " + "█" * 6 + "·" * 18 + " 10/40 2.5/s 12 s left"
    assert "\n" not in err.getvalue()
    speaker.end_stage()
    assert err.getvalue().endswith("\r\x1b[2Kread: 11 of 40 in 4.0 s (2.7/s)\n")


def test_a_remark_does_not_glue_to_the_bar(clock: Clock):
    err = Terminal()
    speaker = Console(out=io.StringIO(), err=err)
    speaker.progress("read", 1, 2)
    speaker.say("by the way")
    assert err.getvalue().endswith("\r\x1b[2Kby the way\n")


def test_quiet_says_nothing_but_results_and_errors():
    out, err = io.StringIO(), io.StringIO()
    speaker = Console(quiet=True, out=out, err=err)
    speaker.progress("read", 1, 2)
    speaker.say("by the way")
    speaker.result({}, ["done"])
    assert (out.getvalue(), err.getvalue()) == ("done\n", "")
    speaker.error(TidemillError("broken"), "read")
    assert err.getvalue().startswith("error TM-000: broken")


@pytest.mark.parametrize(("colour", "kind", "expected"), [
    (True, Terminal, "\x1b[31mno\x1b[0m"),
    (False, Terminal, "no"),
    (True, io.StringIO, "no"),
])  # fmt: skip
def test_colour_needs_a_terminal_and_a_wish(colour, kind: type[io.StringIO], expected: str):
    assert Console(colour=colour, out=kind(), err=io.StringIO()).paint("no", "red") == expected


def test_rows_and_lines_give_way_to_json():
    out = io.StringIO()
    speaker = Console(as_json=True, out=out, err=io.StringIO())
    speaker.row("a", "b")
    speaker.result({"schema": "x", "share": 0.5}, ["for people"])
    assert json.loads(out.getvalue()) == {"schema": "x", "share": 0.5}


def test_json_never_holds_what_no_parser_reads():
    speaker = Console(as_json=True, out=io.StringIO(), err=io.StringIO())
    with pytest.raises(ValueError, match="not JSON compliant"):
        speaker.result({"share": float("nan")}, [])


def test_an_error_of_several_lines_stays_aligned():
    err = io.StringIO()
    Console(out=io.StringIO(), err=err).error(TidemillError("broken", why="first\nsecond"), "x")
    assert err.getvalue().splitlines()[1:3] == ["  why   first", "        second"]


def test_a_narrow_encoding_loses_letters_but_not_the_run():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    console.make_lossless(stream)
    Console(out=stream, err=stream).result({}, ["50 µm"])
    assert raw.getvalue() == b"50 ?m\n"


def test_an_empty_table_is_its_header():
    assert table(("a", "b"), []) == ["a  b"]
