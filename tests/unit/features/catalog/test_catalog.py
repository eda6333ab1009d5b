import sys
from pathlib import Path

import pytest

from features import catalog
from features.errors import UnknownEntryError


@pytest.mark.parametrize("name", catalog.names())
def test_an_entry_is_called_like_its_fleet_and_computes_from_it(name: str) -> None:
    entry = catalog.load(name)
    assert entry.fleet.name == name
    assert entry.features.fleet == entry.fleet


def test_pumps_send_six_signals_a_minute_and_are_judged_every_hour() -> None:
    entry = catalog.load("pumps")
    assert entry.fleet.signal_names == (
        "vibration",
        "bearing_temperature",
        "pressure",
        "flow",
        "motor_current",
        "speed",
    )
    assert (entry.features.pane_us, entry.features.every_us, entry.features.longest_us) == (6e8, 3.6e9, 8.64e10)
    assert "vibration_mean_6h" in entry.features.names


def test_machines_count_their_errors_over_a_day_and_three() -> None:
    names = catalog.load("azure_pdm").features.names
    assert {"error1_count_24h", "error5_count_72h", "volt_std_3h", "error2_since_last_72h"} <= set(names)
    assert {"time_since_maintenance", "volt_mean_24h_difference_8"} <= set(names)


@pytest.mark.parametrize(("wrong", "meant"), [("pump", "pumps"), ("azure-pdm", "azure_pdm")])
def test_a_misspelt_name_is_answered_with_the_one_that_was_meant(wrong: str, meant: str) -> None:
    with pytest.raises(UnknownEntryError, match=f"did you mean '{meant}'"):
        catalog.load(wrong)


def test_an_unknown_name_is_answered_with_the_names_there_are() -> None:
    with pytest.raises(UnknownEntryError, match=f"use one of {', '.join(catalog.names())}"):
        catalog.load("zzz")


def test_a_module_put_into_the_folder_is_found_and_one_without_features_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "__path__", [*catalog.__path__, str(tmp_path)])
    (tmp_path / "own_pumps.py").write_text("from features.catalog.pumps import FEATURES, FLEET\n")
    (tmp_path / "unfinished.py").write_text("FLEET = None\n")
    try:
        assert "own_pumps" in catalog.names()
        assert catalog.load("own_pumps").fleet.name == "pumps"
        with pytest.raises(UnknownEntryError, match="declares no fleet"):
            catalog.load("unfinished")
    finally:
        sys.modules.pop("features.catalog.own_pumps", None)
        sys.modules.pop("features.catalog.unfinished", None)
