"""`tidemill probe` as a person meets it."""

import gzip
import json

from infra.local import cli
from serving.store import FolderStore

LINES = b"\n".join(
    json.dumps({"machine": f"m-{n % 3}", "ts": 1_764_000_000_000 + n * 1000, "temp": n / 2}).encode() for n in range(30)
)


def test_a_file_is_told_and_its_draft_written_but_never_over_another(tmp_path, capsys):
    there = tmp_path / "export.json.gz"
    there.write_bytes(gzip.compress(LINES))
    target = tmp_path / "presses.py"
    assert cli.run(["probe", str(there), "--fleet", "presses", "--write", str(target)]) == 0
    said = capsys.readouterr().out
    assert "gzip, JSON lines" in said
    assert "30 readings of 3 devices" in said
    assert 'device="machine"' in target.read_text()
    assert cli.run(["probe", str(there), "--write", str(target)]) == 2


def test_an_object_of_the_store_as_json(tmp_path, capsys):
    FolderStore(tmp_path).put("raw/mills/telemetry/x", LINES)
    assert cli.run(["probe", "raw/mills/telemetry/x", "--store", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["signals"], found["mapping"]["device"]) == (30, ["temp"], "machine")
    assert 'name="mills"' in found["draft"]


def test_what_has_no_time_fails_and_says_why(tmp_path, capsys):
    there = tmp_path / "x.csv"
    there.write_text("a,b\n1,2\n3,4\n")
    assert cli.run(["probe", str(there)]) == 1
    assert "No field looks like a time" in capsys.readouterr().out


def test_a_picture_is_refused(tmp_path, capsys):
    there = tmp_path / "x.png"
    there.write_bytes(b"\x89PNG\r\n\x1a\n")
    assert cli.run(["probe", str(there)]) == 2
    assert "neither JSON" in capsys.readouterr().err
