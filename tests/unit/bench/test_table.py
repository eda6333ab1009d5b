import io
import json

from rich.console import Console

from tests.bench import table
from tests.bench.table import Row, of_runs

ROWS = [
    of_runs("share", [0.8, 0.6, 0.7], "1", ">= 0.65", peers={"polars": 0.25}, note="one day"),
    Row("peak", 0.5, "GiB", "<= 0.4"),
    Row("tsfresh", 17_100.0, "1/s"),
]


def test_the_value_of_a_row_is_the_median_of_its_runs():
    assert (ROWS[0].value, ROWS[0].runs) == (0.7, [0.8, 0.6, 0.7])


def test_a_goal_is_reached_missed_or_not_there():
    assert [row.met for row in ROWS] == [True, False, None]


def test_a_value_at_its_goal_reaches_it():
    assert Row("share", 0.7, "1", ">= 0.7").met
    assert Row("peak", 0.4, "GiB", "<= 0.4").met


def test_the_stored_document_has_the_machine_and_a_row_each_with_every_field(tmp_path):
    table.write(ROWS, table.machine(), tmp_path / "bench" / "features.json")
    stored = json.loads((tmp_path / "bench" / "features.json").read_text())
    assert stored["machine"]["cores"] >= 1
    assert [row["id"] for row in stored["rows"]] == ["share", "peak", "tsfresh"]
    for row in stored["rows"]:
        assert set(row) == {"id", "value", "unit", "goal", "runs", "peers", "note"}
    assert stored["rows"][0]["peers"] == {"polars": 0.25}


def test_the_table_names_value_goal_verdict_spread_and_peers():
    shown = io.StringIO()
    table.show(ROWS, Console(file=shown, width=140), "Measured")
    for text in ("0.7", ">= 0.65", "reached", "0.6 to 0.8", "polars 0.25", "0.5 GiB", "missed", "17.1 k", "one day"):
        assert text in shown.getvalue(), text
