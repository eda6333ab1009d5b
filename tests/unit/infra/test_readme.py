"""The README stays true: its settings, its codes, its pictures and its links are those of the project."""

import re
from pathlib import Path

import pytest

from infra.local.cli import COMMANDS
from pipelines.settings import KNOWN
from serving.settings import GatewaySettings, ServerSettings, table

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text()
VARIABLES = sorted(
    {known.variable for known in KNOWN}
    | {setting.variable for kind in (ServerSettings, GatewaySettings) for setting in table(kind)}
)


@pytest.mark.parametrize("variable", VARIABLES)
def test_every_setting_stands_in_the_table(variable):
    assert f"`{variable}`" in README


def test_the_table_names_no_setting_that_nobody_reads():
    named = set(re.findall(r"^\| (.+?) \|", README, flags=re.MULTILINE))
    variables = {name for cell in named for name in re.findall(r"`(TIDEMILL_[A-Z_]+)`", cell)}
    assert variables <= set(VARIABLES)


def test_every_command_it_shows_exists():
    known = {name for rows in COMMANDS.values() for name in rows}
    shown = set(re.findall(r"(?:\.venv/bin/|`)tidemill ([a-z]+)", README))
    assert shown
    assert shown <= known


def test_every_make_target_it_shows_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", README, flags=re.MULTILINE)) <= targets


def test_every_picture_and_file_it_points_to_exists_and_has_words():
    pictures = re.findall(r"!\[(.*?)\]\((.*?)\)", README)
    assert len(pictures) >= 4
    for words, path in pictures:
        assert len(words) > 20
        assert (ROOT / path).is_file(), path
    for path in re.findall(r"`(tests/[a-z0-9_/.]+)`", README):
        assert (ROOT / path).exists(), path


def test_it_is_short_enough_to_be_read():
    assert len(README.splitlines()) <= 220
