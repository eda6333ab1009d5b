"""``tidemill import``: what is said to people, what to programs, and that it teaches."""

import json
from pathlib import Path
from typing import Any

import pytest

from infra.local import cli
from infra.local.commands_import import import_
from pipelines.importers.sources import ORIGINS

CSV = "boiler,at,water\nb-1,2026-03-01T09:05:00Z,71.5\nb-1,2026-03-01T09:06:00Z,71.6\n"
MAPPING = 'fleet = "boilers"\ndevice = "boiler"\ntime = "at"\n[signals]\nwater = "water"\n'
ROOM = '"date","Temperature","Humidity","Light","CO2","HumidityRatio","Occupancy"\n'


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "export.csv").write_text(CSV)
    (tmp_path / "boilers.toml").write_text(MAPPING)
    return tmp_path


def result(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert cli.run(["import", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_set_has_a_command_and_an_origin():
    names = {name.replace("-", "_") for name in import_.commands} - {"csv", "parquet", "sets"}
    assert names == set(ORIGINS)


@pytest.mark.parametrize("name", sorted(import_.commands))
def test_help_teaches_with_an_example_and_the_shares(name, capsys):
    assert cli.run(["import", name, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"tidemill import {name}" in said
    assert ("--late-share" in said) == (name != "sets")


def test_a_set_is_written_and_its_terms_are_told(tmp_path, capsys):
    rows = "".join(f'"{n}","2015-02-02 14:0{n}:00",23.7,26.2,585.2,749.2,0.0047,1\n' for n in range(5))
    (tmp_path / "datatest.txt").write_text(ROOM + rows)
    words = ["occupancy", str(tmp_path), "--store", str(tmp_path / "store")]
    assert cli.run(["import", *words]) == 0
    said = capsys.readouterr().out
    for part in (
        "5 messages of 1 devices in 2 new objects",
        "1 occupied_begin, 1 occupied_end",
        "CC BY 4.0",
        "Candanedo",
    ):
        assert part in said
    again = result(capsys, *words)
    assert (again["schema"], again["objects"], again["unchanged"]) == ("tidemill.import-occupancy/1", 0, 2)
    assert again["origin"]["terms"] == ORIGINS["occupancy"].terms


def test_shares_and_seed_reach_the_messages(table, capsys):
    words = ["csv", str(table / "boilers.toml"), str(table / "*.csv"), "--duplicate-share", "0.5", "--seed"]
    counts = {
        result(capsys, *words, str(seed), "--store", str(table / f"store-{seed}"))["messages"] for seed in range(8)
    }
    assert counts == {2, 3, 4}


def test_a_table_can_be_copied_as_it_is_to_a_fleet_of_the_catalog(table, capsys):
    words = ["csv", "--as-is", "pumps", str(table / "export.csv"), "--store", str(table / "store")]
    (key,) = result(capsys, *words)["keys"]
    assert (table / "store" / key).read_text() == CSV
    assert result(capsys, *words)["unchanged"] == 1
    assert cli.run(["import", "csv", "--as-is", "pump", str(table / "export.csv"), "--store", str(table)]) == 2
    assert "Did you mean 'pumps'" in capsys.readouterr().err


def test_the_sets_are_listed_with_their_terms(capsys):
    assert cli.run(["import", "sets"]) == 0
    said = capsys.readouterr().out
    assert all(origin.terms in said for origin in ORIGINS.values())
    assert "azure-pdm" in said
