"""What `tidemill features` shows is read off the declaration, in any width, and nothing is cut off."""

import json

import pytest

from features import catalog
from features.description import describe
from infra.local.cli import run
from infra.local.pumps.plan import Plan, parse_start
from infra.local.pumps.run import write_fleet
from tests.fakes.mlflow_server import free_port

FLEETS = catalog.names()


def text(capsys) -> str:
    return str(capsys.readouterr().out)


@pytest.mark.parametrize("fleet", FLEETS)
@pytest.mark.parametrize("width", [40, 80, 500])
def test_every_word_of_the_declaration_is_shown_in_any_width(fleet, width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    assert run(["features", "show", fleet]) == 0
    shown = text(capsys)
    features = catalog.load(fleet).features
    assert features.digest in shown
    words = " ".join(shown.split())
    for described in describe(features):
        assert described.name in shown
        for said in (described.definition, described.source, described.unit, described.window):
            assert " ".join(said.split()) in words
    body = shown.splitlines()[4:]
    assert max(map(len, body)) <= width
    assert (len(body) == len(features.names) + 1) == (width == 500)


def test_what_is_no_terminal_gets_the_table(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert run(["features", "show", "pumps"]) == 0
    header, first = text(capsys).splitlines()[4:6]
    assert header.split() == ["feature", "unit", "window", "statistic", "definition", "source"]
    assert first.split()[:5] == ["vibration_mean_1h", "mm/s", "1h", "mean", "Arithmetic"]


def test_programs_get_the_descriptions_and_the_declaration(capsys):
    assert run(["features", "show", "pumps", "--json"]) == 0
    found, features = json.loads(text(capsys)), catalog.load("pumps").features
    assert found["schema"] == "tidemill.features-show/1"
    assert [each["name"] for each in found["features"]] == list(features.names)
    assert type(features).from_json(found["feature_set"]) == features
    assert (found["digest"], found["warm_up_s"]) == (features.digest, 86_400.0)


def test_markdown_is_a_table_of_the_same_cells(capsys):
    assert run(["features", "show", "pumps", "--markdown"]) == 0
    rows = [line.strip("| ").split(" | ") for line in text(capsys).splitlines() if line.startswith("|")]
    described = describe(catalog.load("pumps").features)
    assert len(rows) == len(described) + 2
    assert {len(row) for row in rows} == {6}
    assert rows[2] == [described[0].name, "mm/s", "1h", "mean", described[0].definition, described[0].source]


def test_the_list_names_every_fleet_and_its_digest(capsys):
    assert run(["features", "list"]) == 0
    lines = text(capsys).splitlines()[1:]
    assert [line.split()[0] for line in lines] == FLEETS
    assert [line.split()[-1] for line in lines] == [catalog.load(fleet).features.digest for fleet in FLEETS]


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Two pumps for two days, ingested; no registry answers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    (tmp_path / "store").mkdir()
    uri = str(tmp_path / "store")
    write_fleet(Plan(2, 2, 7, parse_start("2026-01-05"), corrupt_share=0.0), uri, processes=1)
    assert run(["ingest", "pumps", "--store", uri, "--quiet"]) == 0
    return uri


def test_a_dry_run_says_what_a_run_then_does_and_writes_nothing(store, tmp_path, capsys):
    files = sorted(tmp_path.rglob("*"))
    capsys.readouterr()
    assert run(["materialize", "pumps", "--store", store, "--dry-run", "--json"]) == 0
    foreseen = json.loads(text(capsys))
    assert sorted(tmp_path.rglob("*")) == files
    assert run(["materialize", "pumps", "--store", store, "--explain", "--json"]) == 0
    done = json.loads(text(capsys))
    assert (foreseen["dry_run"], done["dry_run"]) == (True, False)
    for name in ("panes", "rows", "dates"):
        assert foreseen[name] == done[name] == done["touched"].get(name, foreseen[name])
    assert done["rows"] > 0
    assert done["touched"]["training_sets"] is None
    assert done["touched"]["predictions"] == {}
    assert len(done["touched"]["devices"]) == 2


def test_an_explanation_says_unknown_where_no_registry_answers_and_nothing_where_nothing_changed(store, capsys):
    assert run(["materialize", "pumps", "--store", store, "--explain", "--quiet"]) == 0
    told = text(capsys)
    assert "training sets  unknown: the registry does not answer" in told
    assert "predictions    0 touched" in told
    assert run(["materialize", "pumps", "--store", store, "--explain", "--quiet"]) == 0
    told = text(capsys)
    assert "nothing has changed" in told
    assert "training sets  0 touched" in told


@pytest.mark.parametrize(
    "options",
    [
        ["--until", "2026-01-06"],
        ["--since", "2026-01-06", "--until", "2026-01-06"],
        ["--since", "2026-01-06", "--stage", "panes"],
        ["--since", "2026-01-06", "--engine", "spark"],
        ["--since", "2026-01-06", "--dry-run"],
        ["--since", "yesterday"],
    ],
)
def test_days_that_cannot_be_made_again_are_refused(options, capsys):
    assert run(["materialize", "pumps", *options]) == 2
    assert capsys.readouterr().err


def test_days_are_made_again_on_request(tmp_path, capsys):
    store = ["--store", str(tmp_path / "store")]
    assert run(["simulate", "pumps", "--devices", "1", "--days", "3", "--start", "2026-01-05", *store]) == 0
    assert run(["ingest", "pumps", *store]) == 0
    assert run(["materialize", "pumps", "--since", "2026-01-06", *store]) == 1
    assert "TM-317" in capsys.readouterr().err
    assert run(["materialize", "pumps", *store]) == 0
    capsys.readouterr()
    asked = ["--since", "2026-01-01", "--until", "2026-02-01"]
    assert run(["materialize", "pumps", *asked, "--json", *store]) == 0
    found = json.loads(text(capsys))
    assert found["dates"] == ["2026-01-06", "2026-01-07", "2026-01-08"]  # a row that ends at midnight is of the new day
    assert (found["since"], found["last"], found["rows"] > 0) == ("2026-01-01", "2026-01-31", True)
    assert run(["materialize", "pumps", "--since", "2024-01-01", *store]) == 0
    assert "nothing is stored from 2024-01-01 to 2024-01-01" in text(capsys)
