"""A demo that was killed goes on where it ended; a finished one begins anew."""

import pytest

from infra.local.demo.journal import Journal


def _said(result):
    return f"made {result['made']}"


def test_a_finished_step_is_not_run_again_after_a_stop(tmp_path):
    path = tmp_path / "journal.json"
    Journal.open(path, "pumps").run("ingest", _said, lambda: {"made": 3})

    continued = Journal.open(path, "pumps")
    continued.run("ingest", _said, lambda: pytest.fail("the step ran twice"))

    assert continued.continued
    assert continued.result("ingest") == {"made": 3}
    assert continued.steps["ingest"]["outcome"] == "made 3"


def test_a_step_that_failed_is_run_again(tmp_path):
    journal = Journal.open(tmp_path / "journal.json", "pumps")
    with pytest.raises(ZeroDivisionError):
        journal.run("ingest", _said, lambda: {"made": 1 // 0})

    again = Journal.open(tmp_path / "journal.json", "pumps")
    again.run("ingest", _said, lambda: {"made": 1})

    assert again.result("ingest") == {"made": 1}


@pytest.mark.parametrize("finish", [True, False])
def test_only_an_unfinished_demo_of_the_same_source_is_continued(tmp_path, finish):
    path = tmp_path / "journal.json"
    journal = Journal.open(path, "pumps")
    journal.run("ingest", _said, lambda: {"made": 3})
    if finish:
        journal.finish()

    assert Journal.open(path, "pumps").continued is not finish
    assert not Journal.open(path, "machines").continued
