"""The routes of the Fleet page: who may read, who may write, what is written where."""

import csv
import io
import json
import re
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from airflow import settings as airflow_settings
from airflow.api_fastapi.app import create_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.models.base import Base

from dags.fleet import app, exports, pages
from dags.fleet.plugin import TidemillPlugin
from dags.fleet.source import Sources
from serving.evidence import Retraining
from serving.fleet import FleetView
from serving.retraining import Trained
from serving.roster import Query
from tests.fakes.gatherings import USECASE, Gathering, name, write_reports

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it asks for another HTTP client, which MLflow and Airflow do not have yet
    from starlette.testclient import TestClient

PAGE = f"/{USECASE}"
PAUSE = f"{PAGE}/do/pause"
OWN = {"Sec-Fetch-Site": "same-origin"}


class Registry:
    """The few calls of MLflow that the buttons make, over real HTTP."""

    def __init__(self):
        self.calls: list[tuple[str, str, dict[str, str]]] = []
        self.refuses = ""
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                path = self.path.removeprefix("/api/2.0/mlflow/")
                refused = bool(registry.refuses) and path.startswith(registry.refuses)
                if not refused:
                    registry.calls.append((self.command, path, body))
                answer = b'{"error_code": "PERMISSION_DENIED", "message": "not yours"}' if refused else b"{}"
                self.send_response(403 if refused else 200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def do_DELETE(self):
                self.do_POST()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture(scope="module")
def registry():
    made = Registry()
    threading.Thread(target=made.server.serve_forever, daemon=True).start()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    now_us = clock()
    made = Gathering(tmp_path_factory.mktemp("plant"), now_us)
    made.monitor(now_us)
    write_reports(made.folder, 600, made.release, now_us)
    return made


def clock():
    return time.time_ns() // 1000


@pytest.fixture(scope="module")
def tokens():
    """Tokens of people by role; Airflow looks in its database whether one was revoked."""
    Base.metadata.create_all(airflow_settings.engine)
    manager = create_auth_manager()
    return {role: manager.generate_jwt(SimpleAuthManagerUser(username=role, role=role)) for role in ("op", "viewer")}


@pytest.fixture
def client(plant, registry, tokens, monkeypatch):
    """Logged in as the browser of somebody who may trigger DAGs."""
    monkeypatch.setenv("TIDEMILL_STORE", str(plant.folder))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.url)
    for variable in ("AIRFLOW_CONN_MLFLOW_DEFAULT", "AIRFLOW_CONN_AWS_DEFAULT", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(app, "_SOURCES", Sources())
    registry.calls.clear()
    registry.refuses = ""
    with TestClient(app.application, headers={"Accept": "text/html"}) as client:
        client.cookies.set("_token", tokens["op"])
        client.get(f"{PAGE}/overview.json")  # waits until the gateways are counted
        yield client


@pytest.fixture
def anonymous(client):
    client.cookies.clear()
    return client


def test_nobody_reads_anything_without_a_login(anonymous):
    paths = [str(getattr(route, "path", "")) for route in app.application.routes]
    assert len(paths) > 8
    for path in paths:
        filled = path.format(usecase=USECASE, fleet_name="pumps", gateway=name(1), word="pause")
        assert anonymous.get(filled).status_code == 401, path


def test_nobody_writes_anything_without_a_login_or_the_right_to(anonymous, tokens, registry):
    assert anonymous.post(PAUSE, data={"reason": "x"}, headers=OWN).status_code == 401
    anonymous.cookies.set("_token", tokens["viewer"])
    assert anonymous.get(PAGE).status_code == 200
    assert anonymous.post(PAUSE, data={"reason": "x"}, headers=OWN).status_code == 403
    assert registry.calls == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-site"},  # another port of this host, such as MLflow's
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://testserver:5000"},
        {"Origin": "null"},
    ],
)
def test_a_write_that_another_page_had_the_browser_send_is_refused(client, registry, headers):
    assert client.post(PAUSE, data={"reason": "x"}, headers=headers).status_code == 403
    assert registry.calls == []


@pytest.mark.parametrize("headers", [OWN, {"Origin": "http://testserver"}])
def test_a_write_from_the_page_itself_is_taken(client, registry, headers):
    assert client.post(PAUSE, data={"reason": "x"}, headers=headers).status_code == 200
    assert len(registry.calls) == 3


def test_a_program_writes_with_its_token(anonymous, tokens, registry):
    headers = {"Authorization": f"Bearer {tokens['op']}"}
    assert anonymous.post(PAUSE, data={"reason": "x"}, headers=headers).status_code == 200
    assert len(registry.calls) == 3


def test_a_pause_is_written_with_its_reason_first(client, registry):
    answer = client.post(PAUSE, data={"reason": " alarms\n look wrong "}, headers=OWN)
    assert answer.status_code == 200
    tag = "registered-models/set-tag"
    assert registry.calls == [
        ("POST", tag, {"name": USECASE, "key": "rollout.reason", "value": "alarms look wrong"}),
        ("POST", tag, {"name": USECASE, "key": "rollout.by", "value": "op"}),
        ("POST", tag, {"name": USECASE, "key": "rollout", "value": "pause"}),
    ]
    assert "could not be triggered" in answer.text  # this Airflow has no DAG release


def test_a_roll_back_names_who_did_it_before_the_alias_moves(client, registry):
    form = {"reason": "false alarms", "version": "1"}
    assert client.post(f"{PAGE}/do/rollback", data=form, headers=OWN).status_code == 200
    assert registry.calls[-2:] == [
        ("POST", "model-versions/set-tag", {"name": USECASE, "version": "1", "key": "approved_by", "value": "op"}),
        ("POST", "registered-models/alias", {"name": USECASE, "version": "1", "alias": "champion"}),
    ]


def test_resuming_removes_the_word(client, registry):
    assert client.post(f"{PAGE}/do/resume", data={"reason": "sensor was mended"}, headers=OWN).status_code == 200
    assert registry.calls[-1] == ("DELETE", "registered-models/delete-tag", {"name": USECASE, "key": "rollout"})


@pytest.mark.parametrize(
    ("word", "form", "said"),
    [
        ("pause", {"reason": "  "}, "Say why"),
        ("abort", {}, "Say why"),
        ("rollback", {"reason": "x", "version": "7"}, "version 7 has not served before"),
        ("rollback", {"reason": "x"}, "version none has not served before"),
    ],
)
def test_what_cannot_be_wanted_is_asked_again_and_nothing_is_written(client, registry, word, form, said):
    answer = client.post(f"{PAGE}/do/{word}", data=form, headers=OWN)
    assert (answer.status_code, registry.calls) == (422, [])
    assert said in answer.text


def test_where_mlflow_refuses_the_page_says_what_was_written(client, registry):
    registry.refuses = "registered-models/alias"
    answer = client.post(f"{PAGE}/do/rollback", data={"reason": "keep me", "version": "1"}, headers=OWN)
    assert answer.status_code == 502
    assert "MLflow refuses with 403; written was rollout.reason = keep me" in answer.text
    assert "not yours" in answer.text
    assert ">keep me</textarea>" in answer.text


def test_the_connection_of_airflow_says_where_mlflow_is(client, registry, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", f"http://me:secret@{registry.url.removeprefix('http://')}")
    assert client.post(PAUSE, data={"reason": "x"}, headers=OWN).status_code == 200
    assert len(registry.calls) == 3


def test_where_mlflow_is_away_nothing_is_claimed(client, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    answer = client.post(PAUSE, data={"reason": "x"}, headers=OWN)
    assert answer.status_code == 502
    assert "MLflow does not answer; nothing was written" in answer.text


def test_exports_hold_what_the_filters_find(client):
    found = client.get(f"{PAGE}/gateways.json?state=silent").json()["gateways"]
    assert {each["standing"] for each in found} == {"silent"}
    rows = list(csv.DictReader(io.StringIO(client.get(f"{PAGE}/gateways.csv?state=silent").text)))
    assert [row["gateway"] for row in rows] == [each["gateway"] for each in found]
    assert client.get(f"{PAGE}/gateways.csv?state=nothing").text == ""


def test_a_name_that_a_spreadsheet_would_run_is_made_harmless(plant):
    seen = FleetView(plant.store, clock).fleet(30).overviews[USECASE].seen[0]
    evil = replace(seen, report=replace(seen.report, gateway="=HYPERLINK(1)"))
    assert exports.rows([evil]).splitlines()[1].startswith("'=HYPERLINK(1)")


def test_what_gateways_say_is_text_and_no_markup(plant):
    overview = FleetView(plant.store, clock).fleet(30).overviews[USECASE]
    evil = replace(
        overview.seen[0], state="failed", report=replace(overview.seen[0].report, reason="<script>x</script>")
    )
    site = pages.Site("/f", "/", "http://m/#/models", "ada", writes=True, now_us=clock())
    fleet = FleetView(plant.store, clock).fleet(30)
    html = pages.usecase(site, fleet, replace(overview, seen=[evil]), Query())
    assert "<script>x" not in html
    assert "&lt;script&gt;x" in html


def test_the_page_holds_its_ten_elements_each_with_its_time(client):
    html = client.get(PAGE).text
    blocks = ("now", "attention", "rollout", "versions", "evidence", "history", "gateways")
    assert all(f'<section id="{block}"' in html for block in blocks)
    assert html.count('class="asof"') >= 8
    for words in (
        "Champion and challenger",
        "Outcomes known",
        "Most moved",
        "clock that is not set",
        "Predictions / min",
        "Features missing",
        "0.818 live, 0.9 in its test",
        "0.25 live, not known in its test",
    ):
        assert words in html
    assert "http://" not in html.replace("http://127.0.0.1", "")


def test_the_page_says_why_a_model_was_trained_anew_what_came_of_it_and_whose_turn_it_is(plant):
    site = pages.Site("/f", "/", "http://m/#/models", "ada", writes=True, now_us=clock())
    fleet = FleetView(plant.store, clock).fleet(30)
    found = fleet.overviews[USECASE]
    assert found.monitoring is not None
    asked = Retraining("k", clock(), retrain=True, sentence="s", reasons=("46 of 55 features moved far",), brakes=())
    seen = replace(
        found.monitoring,
        drifted=tuple(f"feature_{number}" for number in range(46)),
        features=55,
        score_distance=1.8,
        present_us=clock(),
        label_delay_hours=36.0,
        findings=("flow stands still on 3 of 9 devices",),
    )
    html = pages.usecase(site, fleet, replace(found, monitoring=seen, retraining=asked, challenger=None), Query())
    assert "46 of 55 features moved far" in html
    assert "feature_45" not in html, "a list of all of them hides the rest of the page"
    for words in (
        "moved by 1.80 of their scale",
        "36 h after their end",
        "the fleet was heard up to",
        "flow stands still",
    ):
        assert words in html
    assert "is woken by this" in html
    judged = Trained(USECASE, "4", f"sha256:{'7' * 64}", passed=True, reasons=(), decided_at_us=clock())
    followed = replace(asked, followed=judged)
    html = pages.usecase(site, fleet, replace(found, retraining=followed, challenger=None), Query())
    for words in (
        "Trained, and passed the gate",
        "It serves once it has the alias champion",
        "compares it with the champion",
    ):
        assert words in html
    refused = replace(asked, followed=replace(judged, passed=False))
    html = pages.usecase(site, fleet, replace(found, retraining=refused, challenger=None), Query())
    assert "Trained, and refused by the gate" in html
    assert "It serves once" not in html


def test_each_block_says_as_of_when_it_is(client):
    html = client.get(PAGE).text
    blocks = re.split('<section id="', html)[1:]
    assert len(blocks) == 7
    for block in blocks:
        assert re.search(r"as of <time datetime=\"2\d{3}-[^>]+>[^<]+ UTC</time>, \d+ s ago", block), block[:60]


def test_what_runs_is_not_claimed_of_gateways_that_are_silent_or_have_stopped(client):
    counts = client.get(f"{PAGE}/overview.json").json()["muster"]["counts"]
    assert counts["silent"]
    assert counts["stopped"]
    tile = client.get(PAGE).text.partition("Reported by gateways")[2].partition("newest report")[0]
    assert f"{counts['silent']} silent, what they run now is not known; {counts['stopped']} stopped" in tile


def test_a_look_at_a_version_that_is_no_longer_released_says_so(plant):
    site = pages.Site("/f", "/", "http://m/#/models", "ada", writes=True, now_us=clock())
    fleet = FleetView(plant.store, clock).fleet(30)
    found = fleet.overviews[USECASE]
    assert found.monitoring is not None
    told = "(version 2 is released by now)"
    assert pages.usecase(site, fleet, found, Query()).count(told) == 2
    fresh = replace(found, monitoring=replace(found.monitoring, version="2"), challenger=None)
    assert told not in pages.usecase(site, fleet, fresh, Query())


def test_a_refusal_names_the_version_and_what_stays(plant):
    site = pages.Site("/f", "/", "http://m/#/models", "ada", writes=True, now_us=clock())
    fleet = FleetView(plant.store, clock).fleet(30)
    found = fleet.overviews[USECASE]
    fields = {"wanted": "3", "action": "refused", "reason": "the gate refused it: too few"}
    html = pages.usecase(site, fleet, replace(found, told=replace(found.told, fields=fields)), Query())
    assert "Version 3 is not released: the gate refused it: too few. Release 2 (version 2) stays." in html


def test_a_page_that_is_not_there_says_so(client):
    assert client.get("/kiln_failure").status_code == 404
    assert client.get(f"{PAGE}/gateway/pumps/nobody").status_code == 404
    assert client.get(f"{PAGE}/do/explode").status_code == 404
    assert client.get(f"{PAGE}/gateway/pumps/{name(3)}").status_code == 200


def test_the_page_of_a_gateway_tells_of_its_machine_where_the_report_does(plant, client):
    html = client.get(f"{PAGE}/gateway/pumps/{name(4)}").text
    assert all(
        f"<dt>{title}</dt><dd>{text}" in html for title, text in (("Disk", "40% free"), ("Temperature", "42 °C"))
    )
    overview = FleetView(plant.store, clock).fleet(30).overviews[USECASE]
    silent = replace(overview.seen[0].report, disk_free_share=None, temperature_c=None, values=0)
    site = pages.Site("/f", "/", "http://m/#/models", "ada", writes=True, now_us=clock())
    old = pages.gateway(site, overview, replace(overview.seen[0], report=silent), "", {})
    assert not any(f"<dt>{title}</dt>" in old for title in ("Disk", "Temperature", "Features missing"))


def test_a_store_that_cannot_be_opened_is_a_sentence(client, monkeypatch):
    monkeypatch.setenv("TIDEMILL_STORE", "/nowhere/at/all")
    monkeypatch.setattr(app, "_SOURCES", Sources())
    answer = client.get(PAGE)
    assert answer.status_code == 503
    assert "/nowhere/at/all" in answer.text


def test_airflow_finds_the_page_and_loads_nothing_with_it():
    (view,) = TidemillPlugin.external_views
    assert (view["name"], view["url_route"]) == ("Fleet", "fleet")
    program = (
        "import sys; from airflow.plugins_manager import AirflowPlugin; before = set(sys.modules)\n"
        "import dags.fleet.plugin\n"
        "import json; print(json.dumps(sorted(name.split('.')[0] for name in set(sys.modules) - before)))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert set(json.loads(said.splitlines()[-1])) == {"dags"}
