"""What the person at the terminal sees: results on standard output, everything else on standard error.

- Standard output carries the result alone, as text or, with ``--json``, as one object on one line. It can be piped.
- Standard error carries progress, remarks and errors. On a terminal progress is one line that is drawn over; elsewhere
  (logs, CI) each stage leaves one line when it ends, and a sign of life every half minute.
- Colour only on a terminal, and never with ``--no-color`` or NO_COLOR.
"""

import io
import json
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from features.errors import TidemillError

REDRAW_S = 0.1
SIGN_OF_LIFE_S = 30.0
WORDS_S = 5.0
BAR_WIDTH = 24
_COLOURS = {"red": "31", "green": "32", "yellow": "33", "dim": "2", "bold": "1"}


class Console:
    """Speaks to one person or to one program.

    Args:
        as_json: The result is one JSON object; rows and tables are left out.
        quiet: No progress and no remarks; results and errors only.
        colour: Colours are allowed (they still need a terminal).
        out: Where results go; standard output when not given.
        err: Where everything else goes; standard error when not given.
    """

    def __init__(
        self,
        *,
        as_json: bool = False,
        quiet: bool = False,
        colour: bool = True,
        out: TextIO | None = None,
        err: TextIO | None = None,
    ) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self._colour = colour
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._stage: _Stage | None = None

    def say(self, text: str) -> None:
        """Remark on what goes on; left out when quiet."""
        if not self.quiet:
            self._clear()
            self._write(self._err, text)

    def progress(self, stage: str, done: int, total: int) -> None:
        """Tell how far a stage is.

        Args:
            stage: What is being done, a few words; another name ends the stage before it.
            done: Items done so far.
            total: Items in all, 0 when nobody knows; a stage that counts nothing says 0 of 0.
        """
        if self.quiet:
            return
        now = time.monotonic()
        if self._stage is None or self._stage.name != stage:
            self.end_stage()
            self._stage = _Stage(stage, began=now, told=now)
        self._stage.done, self._stage.total = done, total
        if self._err.isatty():
            if now - self._stage.drawn >= REDRAW_S or done == total:
                self._stage.drawn = now
                self._err.write("\r\x1b[2K" + self._stage.bar(now))
                self._err.flush()
        elif now - self._stage.told >= SIGN_OF_LIFE_S:
            self._stage.told = now
            self._write(self._err, self._stage.line(now))

    def note(self, text: str) -> None:
        """Say in a few words how the running stage goes on: beside its bar; elsewhere a line now and then.

        Args:
            text: Replaces what was said before.
        """
        if self.quiet or self._stage is None:
            return
        self._stage.note, now = text, time.monotonic()
        if not self._err.isatty() and now - self._stage.told >= WORDS_S:
            self._stage.told = now
            self._write(self._err, f"{self._stage.name}: {text}")

    def end_stage(self) -> None:
        """Close the running stage, if any: its bar becomes one line that says how long it took."""
        if self._stage is not None:
            stage, self._stage = self._stage, None
            if self._err.isatty():
                self._err.write("\r\x1b[2K")
            self._write(self._err, stage.line(time.monotonic()))

    def row(self, *cells: str) -> None:
        """Print one row of a result that grows while a long command runs; left out with ``--json``.

        The caller pads the cells: nobody else knows the rows to come.
        """
        self.end_stage()
        if not self.as_json:
            self._write(self._out, "  ".join(cells).rstrip())

    def result(self, payload: Mapping[str, Any], lines: Sequence[str]) -> None:
        """Print the result: ``payload`` as JSON, or ``lines`` for people."""
        self.end_stage()
        if self.as_json:
            self._write(self._out, json.dumps(payload, allow_nan=False, default=str))
        else:
            for line in lines:
                self._write(self._out, line)

    def error(self, error: TidemillError, command: str) -> None:
        """Print what went wrong in its four parts; with ``--json`` also as an object on standard output."""
        self._clear()
        self._stage = None
        self._write(self._err, f"{self.paint(f'error {error.code}', 'red', self._err)}: {error.what}")
        parts = (("where", error.where), ("why", error.why), ("fix", error.fix))
        for name, text in (*parts, ("more", f"tidemill explain {error.code}")):
            if text:
                label = self.paint(f"  {name:<6}", "dim", self._err)
                self._write(self._err, label + textwrap.indent(text, " " * 8).strip())
        if self.as_json:
            self._write(self._out, json.dumps(error_payload(error, command)))

    def paint(self, text: str, colour: str, stream: TextIO | None = None) -> str:
        """Colour ``text`` where the stream (standard output when not given) is a terminal and colour is wanted."""
        if self._colour and (stream or self._out).isatty():
            return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"
        return text

    def _clear(self) -> None:
        if self._stage is not None and self._err.isatty():
            self._err.write("\r\x1b[2K")

    @staticmethod
    def _write(stream: TextIO, text: str) -> None:
        stream.write(text + "\n")
        stream.flush()


def error_payload(error: TidemillError, command: str) -> dict[str, Any]:
    """Return an error as an object for programs.

    Example:
        >>> error_payload(TidemillError("no telemetry", fix="tidemill simulate pumps"), "ingest")["error"]["message"]
        'no telemetry. Fix: tidemill simulate pumps'
    """
    parts = {"what": error.what, "where": error.where, "why": error.why, "fix": error.fix}
    return {
        "schema": "tidemill.error/1",
        "command": command,
        "error": {"code": error.code, "exit_code": error.exit_code, "message": str(error), **parts},
    }


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Align rows into columns, numbers to the right.

    Example:
        >>> for line in table(("fleet", "rows"), [("pumps", 2000), ("azure_pdm", 43)]):
        ...     print(line)
        fleet       rows
        pumps      2,000
        azure_pdm     43
    """
    numbers = [all(isinstance(row[at], int | float) for row in rows) and bool(rows) for at in range(len(header))]
    texts = [[f"{cell:,}" if isinstance(cell, int | float) else str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[at]) for row in texts) for at in range(len(header))]
    sides = [">" if number else "<" for number in numbers]
    return ["  ".join(f"{c:{s}{w}}" for c, s, w in zip(row, sides, widths, strict=True)).rstrip() for row in texts]


class _Stage:
    __slots__ = ("began", "done", "drawn", "name", "note", "told", "total")

    def __init__(self, name: str, began: float, told: float) -> None:
        self.name, self.began, self.told = name, began, told
        self.done = self.total = 0
        self.drawn = 0.0
        self.note = ""

    def bar(self, now: float) -> str:
        """``materialize ██████······ 12/40 3.1/s 9 s left``, and what was noted."""
        return self._bar(now) + (f" · {self.note}" if self.note else "")

    def _bar(self, now: float) -> str:
        if not self.done and not self.total:
            return f"{self.name} …"
        if not self.total:
            return f"{self.name} {self.done:,} {self._rate(now)}"
        full = BAR_WIDTH * min(self.done, self.total) // self.total
        left = ""
        if 0 < self.done < self.total:
            left = f" {(now - self.began) * (self.total - self.done) / self.done:.0f} s left"
        return (
            f"{self.name} {'█' * full}{'·' * (BAR_WIDTH - full)} {self.done:,}/{self.total:,} {self._rate(now)}{left}"
        )

    def line(self, now: float) -> str:
        """``materialize: 40 of 40 in 13.0 s (3.1/s)``; a stage that counts nothing says how long it took."""
        noted = f", {self.note}" if self.note else ""
        if not self.done and not self.total:
            return f"{self.name}: {now - self.began:.1f} s{noted}"
        of = f" of {self.total:,}" if self.total else ""
        return f"{self.name}: {self.done:,}{of} in {now - self.began:.1f} s ({self._rate(now)}){noted}"

    def _rate(self, now: float) -> str:
        rate = self.done / max(now - self.began, 1e-3)
        return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"  # noqa: PLR2004 - below ten the decimal says something


def make_lossless(*streams: TextIO) -> None:
    """Let streams print every character somehow: a C locale must not turn a bar into an exception."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
