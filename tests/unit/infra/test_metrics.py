"""What `tidemill metrics` tells Prometheus, and that dashboard and rules ask for nothing that nobody tells."""

import json
import re
import shutil
import subprocess
import threading
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from infra.local import cli
from infra.local.metrics import families
from infra.local.pumps.plan import parse_start
from serving.approval import GateRecord, write_gate
from serving.promotion import PromotionLedger
from serving.status import write_status
from serving.store import FolderStore
from tests.fakes.releases import Releases
from tests.fakes.seal import SecretSeal
from tests.unit.infra.test_status import NOW_US, promotion, report

ROOT = Path(__file__).resolve().parents[3]
RULES = ROOT / "infra" / "prometheus" / "tidemill.rules.yml"
DASHBOARD = ROOT / "infra" / "grafana" / "tidemill.json"
NAME = re.compile(r"\btidemill_[a-z0-9_]+")
DAY_US = 86_400_000_000


def told(store, usecases=("pump_failure",), now_us=NOW_US):
    """The samples by name and labels."""
    return {
        (family.name.removeprefix("tidemill_"), *sorted(labels.values())): value
        for family in families(store, usecases, now_us)
        for labels, value in family.samples
    }


def test_an_empty_store_tells_its_time_and_nothing_it_does_not_know(tmp_path):
    assert told(FolderStore(tmp_path)) == {("metrics_timestamp_seconds",): NOW_US / 1e6}


def test_telemetry_and_features_tell_how_fresh_they_are(tmp_path, capsys):
    uri = str(tmp_path / "store")
    assert cli.run(["simulate", "pumps", "--devices", "2", "--days", "2", "--start", "2026-01-05", "--store", uri]) == 0
    assert cli.run(["ingest", "pumps", "--store", uri]) == 0
    store = FolderStore(Path(uri))
    found = told(store)
    assert found["telemetry_readings", "pumps"] > 0
    last = parse_start("2026-01-07") / 1e3
    assert last - 3600 < found["telemetry_newest_timestamp_seconds", "pumps"] < last
    assert found["features_behind_batches", "pumps"] > 0
    assert ("features_newest_timestamp_seconds", "pumps") not in found
    assert cli.run(["materialize", "pumps", "--store", uri]) == 0
    found = told(store)
    assert found["features_behind_batches", "pumps"] == 0
    assert last - 3600 < found["features_newest_timestamp_seconds", "pumps"] <= last
    capsys.readouterr()


def test_gates_decisions_and_promotions_are_told_by_use_case(tmp_path):
    store = FolderStore(tmp_path)
    for number, passed in ((1, True), (2, False)):
        write_gate(store, GateRecord("pump_failure", f"sha256:{number:064d}", passed, (), NOW_US - DAY_US + number))
    for day, retrain in (("2026-09-20", False), ("2026-09-20.2", False), ("2026-09-20.10", True)):
        document = {"decided_at_us": NOW_US - DAY_US, "retrain": retrain, "reasons": []}
        store.put(f"ledger/retraining/pump_failure/{day}.json", json.dumps(document).encode())
    ledger = PromotionLedger(store, "pump_failure", SecretSeal())
    ledger.append(None, promotion("released", "", "3", 1))
    found = told(store)
    assert (found["gate_results", "passed", "pump_failure"], found["gate_results", "failed", "pump_failure"]) == (1, 1)
    assert found["gate_last_passed", "pump_failure"] == 0
    assert (found["retraining_decisions", "pump_failure"], found["retraining_wanted", "pump_failure"]) == (3, 1)
    assert (found["release_number", "3", "pump_failure"], found["release_refused", "pump_failure"]) == (1, 0)
    ledger.append(ledger.last(), promotion("refused", "3", "4", 1, "its gate failed"))
    found = told(store)
    assert (found["release_number", "3", "pump_failure"], found["release_refused", "pump_failure"]) == (1, 1)
    store.put("ledger/promotions/pump_failure/00000002.json", b"{")
    assert told(store)["ledger_broken", "pump_failure"] == 1


def test_rollouts_tell_how_far_they_are_and_that_they_wait(tmp_path):
    store = FolderStore(tmp_path / "store")
    store.root.mkdir()
    releases = Releases(store, tmp_path / "keys")
    releases.release("3", b"bundle", usecase="pump_failure")
    write_status(store, {"usecase": "pump_failure", "action": "waiting", "reason": "stage 1 waits for an approval"})
    found = told(store)
    assert (found["rollout_stage", "3", "pump_failure"], found["rollout_share", "3", "pump_failure"]) == (1, 1.0)
    assert found["rollout_waiting", "pump_failure"] == 1
    ledger = PromotionLedger(store, "pump_failure", SecretSeal())
    ledger.append(None, promotion("aborted", "3", "2", 2))
    assert told(store)["release_aborted", "pump_failure"] == 1


def test_gateways_are_counted_as_what_they_say(tmp_path):
    store = FolderStore(tmp_path)
    store.put("reports/pumps/a.json", report(id="a"))
    store.put("reports/pumps/b.json", report(id="b", version="4"))
    store.put("reports/pumps/c.json", report(id="c", at="2026-09-20T14:00:00Z"))
    found = told(store)
    assert (found["gateways", "pump_failure", "serving"], found["gateways", "pump_failure", "silent"]) == (2, 1)
    assert (found["gateways_running", "3", "pump_failure"], found["gateways_running", "4", "pump_failure"]) == (1, 1)
    assert found["gateways_waiting", "pump_failure"] == 1


def test_a_document_that_cannot_be_read_hides_nothing_else(tmp_path):
    store = FolderStore(tmp_path)
    write_gate(store, GateRecord("pump_failure", f"sha256:{1:064d}", True, (), NOW_US))
    store.put("ledger/gates/broken.json", b"{")
    store.put("ledger/gates/other.json", b'{"usecase": "x"}')
    store.put("ledger/retraining/pump_failure/2026-09-20.json", b"[]")
    store.put("updates/metadata/timestamp.json", b"{}")
    found = told(store)
    assert found["gate_results", "passed", "pump_failure"] == 1
    assert not [key for key in found if key[0].startswith(("retraining", "signatures"))]


def test_signatures_tell_when_they_run_out(tmp_path):
    store = FolderStore(tmp_path / "store")
    store.root.mkdir()
    Releases(store, tmp_path / "keys")
    until = told(store)["signatures_expire_timestamp_seconds", "timestamp"]
    stated = json.loads(store.get("updates/metadata/timestamp.json"))["signed"]["expires"]
    assert datetime.fromisoformat(stated).timestamp() == until


def test_the_file_for_a_collector_is_replaced_in_one_step_and_may_be_read(tmp_path, capsys):
    store = tmp_path / "store"
    store.mkdir()
    file = tmp_path / "node" / "tidemill.prom"
    assert cli.run(["metrics", "--store", str(store), "--write", str(file)]) == 0
    before = file.stat().st_ino
    assert cli.run(["metrics", "--store", str(store), "--write", str(file)]) == 0
    assert file.stat().st_ino != before
    assert oct(file.stat().st_mode & 0o777) == "0o644"
    assert [path.name for path in file.parent.iterdir()] == ["tidemill.prom"]
    assert "tidemill_metrics_timestamp_seconds 1" in file.read_text()
    capsys.readouterr()
    assert cli.run(["metrics", "--store", str(store)]) == 0
    assert "# TYPE tidemill_gateways gauge" in capsys.readouterr().out


def test_whoever_is_told_of_failures_is_told_of_a_test(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.run(["notify"]) == 2
    assert "nobody is told of failures" in capsys.readouterr().err
    posted = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response_only(200)
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.handle_request, daemon=True).start()
        address = f"http://127.0.0.1:{http.server_port}/secret"
        Path("tidemill.toml").write_text(f'[notifications]\nslack = "{address}"\n')
        assert cli.run(["notify"]) == 0
    assert "nothing has failed" in posted[0]["text"]
    assert "told slack" in capsys.readouterr().out
    assert cli.run(["notify"]) == 3  # nobody answers any more
    assert "TM-506" in capsys.readouterr().err
    assert cli.run(["config"]) == 0
    shown = capsys.readouterr().out
    assert "notifications.slack" in shown
    assert address not in shown


def exposed():
    """The names of all metrics that anything in the house tells."""
    sources = [path for package in ("serving", "pipelines", "infra/local") for path in (ROOT / package).rglob("*.py")]
    return {name for path in sources for name in re.findall(r'"(tidemill_[a-z0-9_]+)"', path.read_text())}


def expressions(node):
    """Every expression in a dashboard or a file of rules."""
    if isinstance(node, dict):
        own = [node["expr"]] if "expr" in node else []
        return own + [found for value in node.values() for found in expressions(value)]
    return [found for value in node for found in expressions(value)] if isinstance(node, list) else []


@pytest.mark.parametrize("file", [RULES, DASHBOARD], ids=lambda path: path.name)
def test_everything_that_is_asked_for_is_told(file):
    document = yaml.safe_load(file.read_text()) if file.suffix == ".yml" else json.loads(file.read_text())
    found = expressions(document)
    assert len(found) > 10
    assert {name for expression in found for name in NAME.findall(expression)} <= exposed()


def test_every_panel_has_a_place_of_its_own_and_asks_the_source_that_is_chosen():
    panels = json.loads(DASHBOARD.read_text())["panels"]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert {panel["datasource"]["uid"] for panel in panels} == {"${source}"}
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_every_alert_says_how_bad_it_is_and_what_to_do():
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["action"]


def test_the_rules_hold_what_they_promise():
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed: apt-get install prometheus")
    for command in (["check", "rules", RULES.name], ["test", "rules", "tidemill.test.yml"]):
        done = subprocess.run(["promtool", *command], cwd=RULES.parent, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
