r"""Line protocol as Telegraf and InfluxDB write it; each line becomes the object that Telegraf's JSON would hold.

>>> line = rb'press,device=p\ 7 temp=61.4,rpm=1450i,msg="a, b=c" 1764000000123000000'
>>> next(iter(LineText(line).values()))
{'name': 'press', 'tags': {'device': 'p 7'}, 'fields': {'temp': 61.4, 'rpm': 1450, 'msg': 'a, b=c'},
 'timestamp': 1764000000123000000}
"""

import re
from collections.abc import Iterator, Sequence

from pipelines.formats.columns import Refused
from pipelines.formats.plan import Plan
from pipelines.formats.sources import Columns, ObjectColumns
from pipelines.records import chosen
from pipelines.salvage import UNREADABLE

_KEY = r"(?:[^,= \\]|\\.)+"
_VALUE = r'"(?:[^"\\]|\\.)*"|[^,\s"]+'
_LINE = re.compile(
    rf"((?:[^, \\]|\\.)+)((?:,{_KEY}={_KEY})*) +({_KEY}=(?:{_VALUE})(?:,{_KEY}=(?:{_VALUE}))*)(?: +(-?\d{{1,19}}))?\s*",
    re.DOTALL,
)
_TAG = re.compile(rf",({_KEY})=({_KEY})")
_FIELD = re.compile(rf"({_KEY})=({_VALUE})(?:,|$)")
_ESCAPED = re.compile(r"\\([,= \\\"])")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_TRUTH = {
    **dict.fromkeys(("t", "T", "true", "True", "TRUE"), True),
    **dict.fromkeys(("f", "F", "false", "False", "FALSE"), False),
}
_MOST_BYTES = 1024 * 1024


class LineText:
    """Lines of line protocol; a line break inside a text value is not looked for."""

    quoted = False
    broken = "The line is no line protocol."

    def __init__(self, body: bytes) -> None:
        self._body = body.removeprefix(b"\xef\xbb\xbf")
        self._shift = len(body) - len(self._body)

    def columns(self, plan: Plan) -> Columns:  # noqa: ARG002 - the port's
        """See `Container`."""
        records = []
        for value in self.values():
            if not isinstance(value, dict):
                raise Refused
            records.append(value)
        return ObjectColumns(records)

    def values(self) -> Iterator[object]:
        """See `Container`."""
        for _, line in self._lines():
            yield parse_line(line)

    def locate(self, records: Sequence[int], count: int) -> Iterator[tuple[int, bytes]]:  # noqa: ARG002 - the port's
        """See `rejects.Container`."""
        return ((begin + self._shift, line) for begin, line in chosen(self._lines(), records))

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        begin = 0
        while begin < len(self._body):
            end = self._body.find(b"\n", begin)
            end = len(self._body) if end < 0 else end
            line = self._body[begin:end].strip()
            if line and not line.startswith(b"#"):
                yield begin, line
            begin = end + 1


def parse_line(line: bytes) -> object:
    """One line as an object, or `UNREADABLE`."""
    if len(line) > _MOST_BYTES:
        return UNREADABLE
    found = _LINE.fullmatch(line.decode("utf-8", "surrogateescape"))
    if found is None:
        return UNREADABLE
    name, tags, fields, timestamp = found.groups()
    values = {_plain(key): _value(text) for key, text in _FIELD.findall(fields)}
    if UNREADABLE in values.values():
        return UNREADABLE
    return {
        "name": _plain(name),
        "tags": {_plain(key): _plain(text) for key, text in _TAG.findall(tags)},
        "fields": values,
        "timestamp": int(timestamp) if timestamp else None,
    }


def _plain(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)


def _value(text: str) -> object:
    if text[0] == '"':
        return _plain(text[1:-1])
    if text in _TRUTH:
        return _TRUTH[text]
    if text[-1] in "iu" and text[:-1].lstrip("-").isdecimal() and len(text) < 22:  # noqa: PLR2004 - 64 bits
        return int(text[:-1])
    return float(text) if _NUMBER.fullmatch(text) else UNREADABLE
