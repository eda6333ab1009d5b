"""One table says when DAGs run; what people put in its place works, or stops the DAG it is meant for."""

from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag

from dags import defaults, options, schedules, settings
from dags.errors import ScheduleError
from pipelines.settings import TABLES, load

DAGS = Path(__file__).resolve().parents[3] / "dags"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a tidemill.toml, in which Airflow was started."""
    monkeypatch.chdir(tmp_path)

    def write(text):
        (tmp_path / "tidemill.toml").write_text(text)

    return write


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("*/15 * * * *", "*/15 * * * *"),
        ("@daily", "@daily"),
        ("10min", "*/10 * * * *"),
        ("60min", "0 */1 * * *"),
        ("6h", "0 */6 * * *"),
        ("1d", "0 0 * * *"),
        ("off", None),
    ],
)
def test_a_schedule_is_a_cron_expression_a_length_of_time_or_off(given, expected):
    assert schedules.cron("ingest", {"ingest": given}) == expected


@pytest.mark.parametrize("given", ["7 * * *", "61 * * * *", "soon", "* * * * * *", "7min", "30s", "0min", "5h", "2d"])
def test_what_is_no_schedule_is_refused_with_the_place_and_a_way_out(given):
    with pytest.raises(ScheduleError, match=r"\[schedules\] ingest") as caught:
        schedules.cron("ingest", {"ingest": given})
    assert caught.value.fix
    assert caught.value.code == "TM-505"


def test_every_line_of_the_table_is_a_schedule():
    assert schedules.problems({}, {}) == []
    assert schedules.cron("release") == "*/2 * * * *"  # much shorter than the three days a signature lives
    assert all(timing.why for timing in schedules.TIMINGS.values())


def test_a_misspelt_dag_stops_the_one_it_means_and_no_other(project):
    project('[schedules]\ningets = "2min"\n')
    bag = DagBag(str(DAGS))
    assert [Path(name).name for name in bag.import_errors] == ["ingest.py"]
    assert "there is no DAG 'ingets' ([schedules]). Fix: did you mean ingest?" in "".join(bag.import_errors.values())
    project('[schedules]\nquux = "2min"\n')
    assert len(schedules.problems(settings.options().schedules, {})) == 1
    for dag in schedules.TIMINGS:
        with pytest.raises(ScheduleError, match="there is no DAG 'quux'"):
            schedules.cron(dag, settings.options().schedules)


def test_the_environment_goes_before_the_file_and_the_file_before_the_table(project, monkeypatch):
    project('[schedules]\ningest = "10min"\nrelease = "off"\ntrain = "@weekly"\n')
    monkeypatch.setenv("TIDEMILL_SCHEDULE_INGEST", "@hourly")
    assert defaults.timer("ingest").expression == "0 * * * *"
    assert defaults.timer("upkeep").expression == "41 2 * * *"
    assert defaults.timer("release") is None
    assert defaults.timer("release", "an asset") == "an asset"
    assert defaults.timer("train", [defaults_asset()]).timetable.expression == "0 0 * * 0"


def defaults_asset():
    from dags.assets import CHAMPIONS  # noqa: PLC0415 - Airflow

    return CHAMPIONS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[schedules", "cannot be read as TOML"),
        ("[schedules]\ningest = 7\n", "every entry must be a text"),
        ('[notifications]\nslak = "http://x"\n', "did you mean slack"),
        ('[pools]\ntrian = "x"\n', "did you mean train"),
        ("[pods.trian]\n", "did you mean train"),
        ('[metrics]\nfiel = "x"\n', "did you mean file"),
    ],
)
def test_what_nobody_knows_in_the_file_is_refused(project, text, said):
    project(text)
    with pytest.raises(ScheduleError, match=said):
        settings.options()


def test_the_command_lets_the_tables_of_the_dags_be(project):
    project('store = "s"\n[schedules]\ningest = "off"\n[pods.train]\nmemory = "6Gi"\n')
    assert load({}, Path("tidemill.toml")).store == "s"
    assert set(TABLES) == set(options.TABLES)


def asked_for(dag):
    alert = defaults.deadline(dag)
    assert alert is not None
    return alert


def test_a_deadline_is_watched_only_where_somebody_is_told(project, monkeypatch):
    assert defaults.deadline("ingest") is None
    monkeypatch.setenv("TIDEMILL_NOTIFY_SLACK", "https://hooks.example/1")
    alert = defaults.deadline("ingest")
    assert alert is not None
    assert (alert.interval.total_seconds(), alert.callback.path) == (7200, "dags.notify.deadline_missed")
    assert defaults.deadline("train") is None
    project('[deadlines]\ntrain = "6h"\ningest = "soon"\n')
    assert asked_for("train").interval.total_seconds() == 21_600
    with pytest.raises(ScheduleError, match=r"'soon' is no length of time \(\[deadlines\] ingest\)"):
        defaults.deadline("ingest")


def test_tasks_wait_in_the_pool_that_was_named_and_else_in_the_default_one(monkeypatch):
    assert defaults.pool("train") == {}
    monkeypatch.setenv("TIDEMILL_POOL_TRAIN", "tidemill_train")
    assert defaults.pool("train") == {"pool": "tidemill_train"}
