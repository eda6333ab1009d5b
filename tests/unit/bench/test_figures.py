from xml.etree import ElementTree as ET

from tests.bench import figures
from tests.bench.table import Row

RATES = Row("messages_per_cpu_second", 7e6, "1/s", peers={"polars": 3e6, "scan_polars": 9e6, "scan_duckdb": 7e6})
DAYS = [
    Row(f"cpu_seconds_{days}d", 1.2 * days, "s", peers={"scan_polars": 0.9 * days, "polars_1": 3.0 * days})
    for days in (1, 2, 6)
]


def texts(path) -> list[str]:
    root = ET.fromstring(path.read_text())
    return [node.text or "" for node in root.iter("{http://www.w3.org/2000/svg}text")]


def test_both_pictures_are_drawn_and_say_what_they_show(tmp_path):
    figures.draw([RATES, *DAYS], tmp_path)
    shown = texts(tmp_path / "features.svg")
    assert "plain scan, polars: 9 M" in shown
    assert "7 M  (78% of the scan)" in shown
    assert {"tidemill 7.2 s", "polars 18 s", "plain scan 5.4 s", "6 d"} <= set(texts(tmp_path / "history.svg"))


def test_what_was_not_measured_is_not_drawn(tmp_path):
    figures.draw([DAYS[0]], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_labels_do_not_lie_on_each_other():
    assert figures._apart({"a": 100.0, "b": 104.0, "c": 200.0}, 17) == {"a": 100.0, "b": 117.0, "c": 200.0}
