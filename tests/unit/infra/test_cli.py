"""The command line as people and programs meet it: help, suggestions, exit codes, clean output."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from infra.local import cli, command
from infra.local.command import Outcome
from infra.local.errors import CommandError
from serving.errors import StoreUnreachableError

TIDEMILL = str(Path(sys.executable).with_name("tidemill"))
HEAVY = ("airflow", "boto3", "deltalake", "jinja2", "mlflow", "msgspec", "numpy", "onnxruntime", "optuna", "pandas",
         "pyarrow", "rich", "sklearn", "skl2onnx", "tuf", "uvicorn")  # fmt: skip


def leaves() -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with its words."""
    context = click.Context(cli.tidemill, info_name="tidemill")
    for name in cli.tidemill.list_commands(context):
        found = cli.tidemill.get_command(context, name)
        assert found is not None
        if isinstance(found, click.Group):
            for below, inner in found.commands.items():
                yield f"{name} {below}", inner
        else:
            yield name, found


ALL = dict(leaves())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, so that no project file and no store of the machine is met."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("TIDEMILL_")]:
        monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A command `rehearse` that does what the test puts here: an outcome to return or an exception to raise."""
    told: dict[str, Any] = {}

    @command.command("Do what a test says.", example="tidemill rehearse")
    @click.option("--kind", type=click.Choice(["alpha", "beta"]), default="alpha")
    def rehearse(run: command.Run, kind: str) -> Outcome:
        run.console.progress("look", 1, 2)
        print("a library prints")
        result = told.get("do", Outcome({"kind": kind}, [f"kind {kind}"]))
        if isinstance(result, BaseException):
            raise result
        assert isinstance(result, Outcome)
        return result

    monkeypatch.setattr(cli, "load", lambda row: rehearse if row.target == "rehearse" else None)
    monkeypatch.setitem(cli.COMMANDS, "Test", {"rehearse": cli.Row("rehearse", "Do what a test says.")})
    return told


def test_help_imports_nothing_heavy():
    code = (
        "import sys; sys.argv=['tidemill','--help']\n"
        "from infra.local.cli import main\n"
        "try: main()\n"
        "except SystemExit: print('LOADED', *sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stderr.partition("LOADED")[2].split()
    assert "click" in loaded
    assert not {name.partition(".")[0] for name in loaded} & set(HEAVY)
    assert not [name for name in loaded if name.startswith(("infra.local.commands", "pipelines", "serving"))]


@pytest.mark.parametrize("words", ["ingest", "train", "simulate pumps", "doctor", "explain"])
def test_help_of_a_command_imports_no_platform(words: str):
    code = (
        f"import sys; sys.argv=['tidemill',*{words.split()!r},'--help']\n"
        "from infra.local.cli import main\n"
        "try: main()\n"
        "except SystemExit: print('LOADED', *sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stderr.partition("LOADED")[2].split()}
    assert not loaded & set(HEAVY) - {"numpy"}


def test_the_list_of_commands_repeats_their_summaries():
    listed = {name: row.summary for rows in cli.COMMANDS.values() for name, row in rows.items()}
    context = click.Context(cli.tidemill)
    for name, summary in listed.items():
        found = cli.tidemill.get_command(context, name)
        assert found is not None
        assert (found.short_help or found.help) == summary


@pytest.mark.parametrize("words", ALL)
def test_every_command_says_one_sentence_and_one_example_that_parses(words: str):
    found = ALL[words]
    assert found.short_help
    assert re.fullmatch(r"[A-Z][^.]*[.;]?[^.]*\.", found.short_help)
    assert found.epilog
    example = found.epilog.split("Example:")[1].strip()
    assert example.startswith(f"tidemill {words}")
    arguments = shlex.split(example)[1 + len(words.split()) :]
    found.make_context(words, arguments, resilient_parsing=False)


@pytest.mark.parametrize("words", ALL)
def test_every_command_has_the_shared_options(words: str):
    options = {option for parameter in ALL[words].params for option in parameter.opts}
    assert {"--json", "--quiet", "--no-color", "--debug", "--store", "--tracking"} <= options


@pytest.mark.parametrize("words", ALL)
def test_every_option_has_help_and_numbers_have_a_unit(words: str):
    for option in ALL[words].params:
        if isinstance(option, click.Option):
            assert option.help, option.opts
            if option.type.name in ("integer", "float"):
                assert option.metavar, f"{option.opts} says no unit"


@pytest.mark.parametrize(
    ("line", "suggestion"),
    [
        ("ingst pumps", "Did you mean 'ingest'?"),
        ("--versoin", "Did you mean '--version'?"),
        ("simulate pumsp", "Did you mean 'pumps'?"),
        ("simulate pumps --device 3", "Did you mean '--devices'?"),
        ("ingest pump", "Did you mean 'pumps'?"),
        ("train pump_failur", "Did you mean 'pump_failure'?"),
        ("train pump_failure --estimator random_forrest", "Did you mean 'random_forest'?"),
        ("explain TM-4000", "did you mean TM-400"),
    ],
)
def test_a_misspelling_is_met_with_a_suggestion(line: str, suggestion: str, folder: Path, capsys):
    assert cli.run(line.split()) == 2
    out, err = capsys.readouterr()
    assert suggestion in err
    assert not out


def test_a_misspelt_choice_is_met_with_a_suggestion(told, folder: Path, capsys):
    assert cli.run(["rehearse", "--kind", "beat"]) == 2
    assert "Did you mean 'beta'?" in capsys.readouterr().err


def test_a_misspelt_setting_is_met_with_a_suggestion(folder: Path, capsys, monkeypatch):
    monkeypatch.setenv("TIDEMILL_STOER", "x")
    (folder / "tidemill.toml").write_text('trakcing = "http://mlflow"\n')
    assert cli.run(["config"]) == 2
    err = capsys.readouterr().err
    assert "did you mean TIDEMILL_STORE?" in err
    assert "tidemill.toml:1" in err
    assert "did you mean tracking?" in err


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (Outcome({}), 0),
        (Outcome({}, ok=False), 1),
        (CommandError("called wrongly"), 2),
        (StoreUnreachableError("no answer"), 3),
        (KeyboardInterrupt(), 130),
        (RuntimeError("a bug"), 1),
        (ModuleNotFoundError("no module", name="deltalake"), 3),
    ],
)
def test_exit_codes_say_who_must_act(told, folder: Path, capsys, result: object, code: int):
    told["do"] = result
    assert cli.run(["rehearse"]) == code


def test_no_trace_without_debug(told, folder: Path, capsys):
    told["do"] = ZeroDivisionError("a bug")
    cli.run(["rehearse"])
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert "error TM-499: ZeroDivisionError: a bug\n  where " in err
    cli.run(["rehearse", "--debug"])
    assert "Traceback" in capsys.readouterr().err


def test_an_error_has_four_parts_and_its_code(told, folder: Path, capsys):
    told["do"] = StoreUnreachableError(
        "no answer", where="s3://plant", why="timeout after 20 s", fix="check the network"
    )
    assert cli.run(["rehearse"]) == 3
    err = capsys.readouterr().err.splitlines()
    assert err[1:] == [
        "error TM-203: no answer",
        "  where s3://plant",
        "  why   timeout after 20 s",
        "  fix   check the network",
        "  more  tidemill explain TM-203",
    ]


def test_json_is_one_object_with_its_schema(told, folder: Path, capsys):
    assert cli.run(["rehearse", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"schema": "tidemill.rehearse/1", "kind": "alpha"}
    assert out.count("\n") == 1
    assert err.startswith("a library prints\nlook: 1 of 2 in ")


def test_an_error_is_an_object_too(told, folder: Path, capsys):
    told["do"] = CommandError("called wrongly", fix="call it rightly")
    assert cli.run(["rehearse", "--json"]) == 2
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["schema"], found["command"]) == ("tidemill.error/1", "rehearse")
    assert (found["error"]["code"], found["error"]["fix"]) == ("TM-400", "call it rightly")
    assert "error TM-400: called wrongly" in err


def test_quiet_leaves_the_result_alone(told, folder: Path, capsys):
    assert cli.run(["rehearse", "--quiet"]) == 0
    assert capsys.readouterr() == ("kind alpha\n", "a library prints\n")


def test_an_interrupt_says_that_nothing_is_half_written(told, folder: Path, capsys):
    told["do"] = KeyboardInterrupt()
    assert cli.run(["rehearse"]) == 130
    assert "nothing is half written" in capsys.readouterr().err


def test_a_program_gets_clean_streams(folder: Path):
    words = ["simulate", "pumps", "--devices", "1", "--days", "1", "--processes", "1", "--store", "store"]
    done = subprocess.run([TIDEMILL, *words], capture_output=True, check=True)
    assert done.stdout.count(b"\n") == 5
    assert b"\x1b" not in done.stdout + done.stderr
    assert done.stderr.startswith(b"simulate pumps: 2 of 2 in ")
    done = subprocess.run([TIDEMILL, *words, "--json", "-q"], capture_output=True, check=True)
    assert json.loads(done.stdout)["schema"] == "tidemill.simulate-pumps/1"
    assert done.stderr == b""


def test_a_reader_who_leaves_early_causes_no_noise(folder: Path):
    done = subprocess.run(
        f"'{TIDEMILL}' explain | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
        executable="/bin/bash",
    )
    assert done.stdout.startswith("code")
    assert done.stderr == ""


def lives(process: str) -> bool:
    """Whether a process runs; one that ended and waits to be fetched does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_children_too(folder: Path, sent: signal.Signals, code: int):
    words = ["simulate", "pumps", "--devices", "6", "--days", "200", "--store", "store"]
    with subprocess.Popen([TIDEMILL, *words], stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        deadline = time.monotonic() + 60
        while not list(folder.glob("store/raw/pumps/telemetry/*/*/*/*/*.gz")) and time.monotonic() < deadline:
            time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if sent == signal.SIGINT:
            os.killpg(process.pid, sent)  # as a terminal does
        else:
            process.send_signal(sent)
        err = process.communicate(timeout=30)[1]
    assert process.returncode == code
    assert "Traceback" not in err
    assert len(children) >= 2
    deadline = time.monotonic() + 10
    while any(map(lives, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [child for child in children if lives(child)]
    assert not list(folder.glob("store/**/.tidemill-*"))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_generated(folder: Path, shell: str):
    environment = {**os.environ, "_TIDEMILL_COMPLETE": f"{shell}_source"}
    done = subprocess.run([TIDEMILL], env=environment, capture_output=True, text=True, check=True)
    assert f"_TIDEMILL_COMPLETE={shell}_complete" in done.stdout


def test_fleets_and_use_cases_complete(folder: Path):
    environment = {
        **os.environ,
        "_TIDEMILL_COMPLETE": "bash_complete",
        "COMP_WORDS": "tidemill ingest p",
        "COMP_CWORD": "2",
    }
    done = subprocess.run([TIDEMILL], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["plain,pumps"]


def test_the_help_names_every_shell():
    done = subprocess.run([TIDEMILL, "--help"], capture_output=True, text=True, check=True)
    for shell in ("bash", "zsh", "fish"):
        assert f"_TIDEMILL_COMPLETE={shell}_source" in done.stdout


def test_the_help_fits_a_screen():
    done = subprocess.run([TIDEMILL, "--help"], capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) <= 50
