import os

import pytest

from serving.gateway.errors import StateBusyError, StateFolderError
from serving.gateway.state import StateFolder, write_durably


def test_the_folder_is_made_and_the_probe_leaves_nothing_behind(tmp_path):
    state = StateFolder(tmp_path / "a" / "b")
    assert [path.name for path in state.path.iterdir()] == ["lock"]
    state.close()


def test_a_second_agent_in_the_same_folder_is_refused_until_the_first_leaves(tmp_path):
    first = StateFolder(tmp_path)
    with pytest.raises(StateBusyError):
        StateFolder(tmp_path)
    first.close()
    StateFolder(tmp_path).close()


def test_a_folder_that_cannot_be_made_is_told_loudly(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StateFolderError, match="TIDEMILL_GATEWAY_STATE"):
        StateFolder(tmp_path / "file" / "state")


def test_a_disk_that_does_not_sync_is_told_loudly(tmp_path, monkeypatch):
    def fail(handle):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StateFolderError, match="Input/output error"):
        StateFolder(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_durably(path, b"old")

    def fail(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StateFolderError, match="No space left"):
        write_durably(path, b"new")
    assert [(found.name, found.read_bytes()) for found in tmp_path.iterdir()] == [("file", b"old")]
