"""`tidemill explain` knows every code there is, and each is explained."""

import re
from collections import Counter
from pathlib import Path

import pytest

from infra.local import cli
from infra.local.codes import all_codes, code
from infra.local.errors import ExplainError

ROOT = Path(__file__).parents[3]
CODES = all_codes()


def test_every_code_in_the_source_is_known():
    written: list[str] = []
    for package in ("features", "serving", "pipelines", "dags", "infra/local"):
        for path in (ROOT / package).rglob("*.py"):
            written += re.findall(r'^\s+code(?:: ClassVar\[str\])? = "(TM-\d{3})"', path.read_text(), re.MULTILINE)
    assert sorted(set(written) - {"TM-000"}) == [found.code for found in CODES]


def test_no_code_has_two_meanings():
    assert [name for name, count in Counter(found.code for found in CODES).items() if count > 1] == []


@pytest.mark.parametrize("found", CODES, ids=lambda found: found.code)
def test_every_code_is_explained_in_sentences(found):
    assert found.text.rstrip().endswith((".", ")")), found.text
    assert len(found.text.split()) >= 6
    assert found.exit_code in (1, 2, 3)


@pytest.mark.parametrize("text", ["TM-302", "tm-302", "302"])
def test_a_code_is_found_however_it_is_written(text: str):
    assert code(text).name == "NothingStoredError"


def test_a_code_that_is_not_there_is_said_so():
    with pytest.raises(ExplainError, match="there is no code TM-398"):
        code("TM-398")


def test_the_command_explains(capsys):
    assert cli.run(["explain", "TM-302"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("TM-302 NothingStoredError\n\n")
    assert "exit code 1" in out


def test_without_a_thing_all_codes_are_listed(capsys):
    assert cli.run(["explain"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == len(CODES) + 1
