import io

from serving.journal import MINUTE_US, Journal


def lines_of(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def test_values_that_would_break_a_line_are_quoted():
    stream = io.StringIO()
    Journal(stream, lambda: 0).say("x", reason='a "b"\nc=d', empty="", plain="sha256:00")
    assert lines_of(stream) == [r'1970-01-01T00:00:00Z event=x reason="a \"b\"\nc=d" empty="" plain=sha256:00']


def test_a_state_is_said_when_it_changes_and_only_then():
    stream = io.StringIO()
    journal = Journal(stream, lambda: 0)
    for state in ("down", "down", "up", "down"):
        journal.change("store", "store", state=state)
    assert [line.split("state=")[1] for line in lines_of(stream)] == ["down", "up", "down"]


def test_another_reason_alone_is_no_change():
    stream = io.StringIO()
    journal = Journal(stream, lambda: 0)
    journal.change("store", "store", state="down", reason="try 1")
    journal.change("store", "store", state="down", reason="try 2")
    assert len(lines_of(stream)) == 1


def test_a_flood_is_cut_and_counted_in_the_next_minute():
    stream, now = io.StringIO(), [0]
    journal = Journal(stream, lambda: now[0], per_minute=3)
    for number in range(10):
        journal.say("fault", number=number)
    assert len(lines_of(stream)) == 3
    now[0] = MINUTE_US
    journal.say("fault", number=10)
    assert lines_of(stream)[3].endswith("number=10 swallowed=7")
