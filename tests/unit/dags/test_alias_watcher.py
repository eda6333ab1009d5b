import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from dags.alias_watcher import AliasWatcher, champions


def pairs(tags):
    return [{"key": key, "value": value} for key, value in tags.items()]


class Registry:
    """MLflow's search of registered models over real HTTP, two models a page."""

    def __init__(self):
        self.models: dict[str, dict[str, str]] = {}
        self.tags: dict[str, dict[str, str]] = {}
        self.newest: dict[str, tuple[str, dict[str, str]]] = {}
        self.down = False
        self.paths: list[tuple[str, str | None]] = []
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                registry.paths.append((self.path, self.headers.get("Authorization")))
                start = int(dict(httpx.URL(self.path).params).get("page_token", 0))
                names = sorted(registry.models)[start : start + 2]
                more = {"next_page_token": str(start + 2)} if start + 2 < len(registry.models) else {}
                models = [
                    {
                        "name": name,
                        "aliases": [{"alias": a, "version": v} for a, v in registry.models[name].items()],
                        "tags": pairs(registry.tags.get(name, {})),
                        "latest_versions": [
                            {"version": version, "tags": pairs(tags)}
                            for version, tags in [registry.newest.get(name, ("1", {}))]
                        ],
                    }
                    for name in names
                ]
                body = json.dumps({"registered_models": models, **more}).encode()
                self.send_response(500 if registry.down else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


class State:
    """An asset state store in memory."""

    def __init__(self):
        self.values = {}

    async def aget(self, key, default=None):
        return self.values.get(key, default)

    async def aset(self, key, value):
        self.values[key] = json.loads(json.dumps(value))


@pytest.fixture
def registry(monkeypatch):
    registry = Registry()
    thread = threading.Thread(target=registry.server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.url)
    for name in ("AIRFLOW_CONN_MLFLOW_DEFAULT", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    yield registry
    registry.server.shutdown()
    registry.server.server_close()


def watcher(state=None):
    made = AliasWatcher(every_s=0.01)
    made.asset_state_store = state
    return made


def watch(made, *steps):
    """Run the watcher through steps; each changes something and says whether an event must follow."""

    async def play():
        events = made.run()
        seen = []
        for change, expected in steps:
            change()
            waiting = asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait([waiting], timeout=5 if expected else 0.15)
            if not done:
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
                events = made.run()
            assert bool(done) == expected
            seen.append(waiting.result().payload["champions"] if done else None)
        await events.aclose()
        return seen

    return asyncio.run(play())


def test_an_event_follows_each_change_of_a_champion_and_nothing_else(registry):
    def alias(name, **aliases):
        return lambda: registry.models.__setitem__(name, aliases)

    seen = watch(
        watcher(State()),
        (alias("pump_failure"), False),
        (alias("pump_failure", challenger="1"), False),
        (alias("pump_failure", champion="1"), True),
        (alias("pump_failure", champion="1", challenger="2"), False),
        (alias("pump_failure", champion="2"), True),
        (alias("pump_failure", champion="1"), True),
        (alias("pump_failure"), True),
    )
    assert [event for event in seen if event is not None] == [
        {"pump_failure": "1"},
        {"pump_failure": "2"},
        {"pump_failure": "1"},
        {},
    ]


def test_an_event_follows_who_promoted_the_newest_version(registry):
    def newest(version, **tags):
        return lambda: registry.newest.__setitem__("pump_failure", (version, tags))

    registry.models["pump_failure"] = {"champion": "2"}
    seen = watch(
        watcher(State()),
        (newest("2", gate="passed"), True),
        (newest("2", gate="passed", approved_by="ada"), True),
        (newest("2", **{"gate": "passed", "release.status": "released", "approved_by": "ada"}), False),
        (newest("2", gate="passed", approved_by="ben"), True),
    )
    assert [event["pump_failure"] for event in seen if event is not None] == ["2", "2 ada", "2 ben"]


def test_who_promoted_a_version_that_has_not_the_alias_is_nothing_to_look_at(registry):
    registry.models["pump_failure"] = {"champion": "1"}
    registry.newest["pump_failure"] = ("2", {"approved_by": "ada"})
    assert watch(watcher(State()), (lambda: None, True)) == [{"pump_failure": "1"}]


def test_an_event_follows_what_people_want_of_a_rollout(registry):
    def tag(**tags):
        return lambda: registry.tags.__setitem__("pump_failure", tags)

    registry.models["pump_failure"] = {"champion": "1"}
    seen = watch(
        watcher(State()),
        (lambda: None, True),
        (tag(owner="ada"), False),
        (tag(owner="ada", rollout="pause"), True),
        (tag(rollout="abort"), True),
        (tag(), True),
    )
    assert [event["pump_failure"] for event in seen if event is not None] == ["1", "1 pause", "1 abort", "1"]


def test_a_watcher_that_is_restarted_remembers_what_it_announced(registry):
    state = State()
    registry.models["pump_failure"] = {"champion": "1"}
    assert watch(watcher(state), (lambda: None, True)) == [{"pump_failure": "1"}]
    state.values["champions"] = {"pump_failure": "1"}
    assert watch(watcher(state), (lambda: None, False)) == [None]


def test_a_change_that_was_not_remembered_is_announced_again(registry):
    registry.models["pump_failure"] = {"champion": "1"}
    state = State()
    for _ in range(2):  # each time it is stopped right after the event, before the state is written
        assert watch(watcher(state), (lambda: None, True)) == [{"pump_failure": "1"}]
    assert state.values == {}


def test_it_outlives_an_mlflow_that_is_down_and_state_that_cannot_be_read(registry):
    state = State()
    registry.models["pump_failure"] = {"champion": "1"}
    registry.down = True

    def recover():
        registry.down = False

    assert watch(watcher(state), (lambda: None, False), (recover, True)) == [None, {"pump_failure": "1"}]


def test_all_pages_of_the_registry_are_read(registry):
    registry.models = {f"usecase_{number}": {"champion": str(number)} for number in range(5)}

    async def read():
        async with httpx.AsyncClient(base_url=registry.url) as client:
            return await champions(client, "champion")

    assert asyncio.run(read()) == {f"usecase_{number}": str(number) for number in range(5)}
    assert len(registry.paths) == 3


def test_credentials_come_from_the_connection(registry, monkeypatch):
    port = registry.server.server_port
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", f"http://me:secret@127.0.0.1:{port}")
    registry.models["pump_failure"] = {"champion": "1"}
    assert watch(watcher(State()), (lambda: None, True)) == [{"pump_failure": "1"}]
    assert registry.paths[0][1].startswith("Basic ")


def test_it_can_be_built_again_from_what_it_serializes():
    classpath, arguments = AliasWatcher("champion", 3.0).serialize()
    assert classpath == f"{AliasWatcher.__module__}.{AliasWatcher.__name__}"
    assert AliasWatcher(**arguments).serialize() == (classpath, arguments)
