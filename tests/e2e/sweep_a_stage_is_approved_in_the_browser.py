"""Two people: one promotes, another approves in Airflow, and both stand in the ledger; so do a no and a silence.

Runs with ``make sweep``.
"""

import pytest
from playwright.sync_api import expect

from pipelines.registry import Registry
from tests.e2e.browsing import Album, open_version, set_champion
from tests.e2e.house import USECASE, eventually
from tests.fakes.chromium import needs_chromium

pytestmark = [pytest.mark.slow, needs_chromium]
YES, NO = "the figures of last week are fine", "we are short of people tonight"
ROLLOUT = (
    'Rollout(stages=(0.5, 1.0), approval="first", two_people=True, soak=timedelta(0), answer_within=timedelta({}))'
)


@pytest.fixture
def declare(office):
    """Write into the use case how its releases spread, as a deployment of the sources would."""
    module = office.checkout / "pipelines" / "usecases" / f"{USECASE}.py"
    before = module.read_text()

    def declare(answer_within):
        text = before.replace("    placements=", f"    rollout={ROLLOUT.format(answer_within)},\n    placements=")
        head = "from serving.policy import Rollout\nfrom pipelines.usecases"
        module.write_text(text.replace("from pipelines.usecases", head))

    yield declare
    module.write_text(before)


@pytest.fixture(scope="module")
def third(house, trained):
    """A version that never served."""
    made = house.tidemill("train", USECASE, "--seed", "3", "--note", "to be approved")
    assert made["gate"] == "passed"
    return made["version"]


def test_a_yes_lets_a_release_go_and_a_no_or_a_silence_stops_it(town, trained, third, declare):
    house, office, desk = town.house, town.office, town.desk()
    registry, first = Registry(house.stack.mlflow_url), trained["version"]
    registry.set_alias(USECASE, "champion", first)
    eventually(lambda: set(house.serving(USECASE).values()) == {first})
    album, mlflow = Album("4-approval"), town.window(height=1100)

    declare("hours=1")
    promote(house, mlflow, third)
    eventually(lambda: registry.tags(USECASE, third).get("release.status") == "waiting")
    mlflow.reload()
    mlflow.get_by_text("waiting").first.wait_for()
    album.take(mlflow, "waiting")
    question = asked(desk, office.url, third)
    album.take(desk, "required-actions")
    answer(desk, album, question, "Approve", YES)
    eventually(lambda: third in house.serving(USECASE).values(), within_s=120)
    desk.goto(f"{office.url}/plugin/fleet")
    desk.frame_locator("iframe").get_by_text("stage 2").or_(
        desk.frame_locator("iframe").get_by_text("Complete")
    ).first.wait_for()
    album.take(desk, "first-stage", readme="fleet")
    eventually(lambda: set(house.serving(USECASE).values()) == {third}, within_s=120)
    eventually(
        lambda: registry.tags(USECASE, third)["release.gateways"] == "2 of 2 healthy, stage 2 of 2", within_s=120
    )
    desk.goto(f"{office.url}/tidemill/fleet/{USECASE}")
    desk.get_by_role("cell", name="advanced").first.wait_for()
    album.take(desk, "fleet", whole=True)

    registry.write_tags(USECASE, first, {"approved_by": "ada"})
    registry.set_alias(USECASE, "champion", first)
    answer(desk, album, asked(desk, office.url, first), "Reject", NO)
    said = eventually(lambda: registry.tags(USECASE, first).get("release.refused"))
    assert said.startswith("admin: declined stage 1 of 2 of release ")
    assert said.endswith(NO)

    declare("seconds=3")
    registry.set_alias(USECASE, "champion", third)
    eventually(lambda: registry.tags(USECASE, third)["release.status"] == "released")
    silent = house.tidemill("train", USECASE, "--seed", "4", "--note", "nobody will answer")["version"]
    registry.write_tags(USECASE, silent, {"approved_by": "ada"})
    registry.set_alias(USECASE, "champion", silent)
    said = eventually(lambda: registry.tags(USECASE, silent).get("release.refused"), within_s=120)
    assert said.startswith("nobody: declined stage 1 of 2")

    entries = house.tidemill("ledger", "show", USECASE)["usecases"][USECASE]
    said = [[each[name] for name in ("outcome", "to", "promoted_by", "approved_by", "reason")] for each in entries]
    assert ["released", third, "ada", "admin", YES] in said
    assert [each[:4] for each in said if NO in each[4]] == [["refused", first, "ada", ""]]
    assert ["refused", silent, "ada", ""] in [each[:4] for each in said]
    assert house.tidemill("ledger", "verify")["ok"]
    assert set(house.serving(USECASE).values()) == {third}


def promote(house, page, version):
    """Say who promotes, then set the alias, by clicks."""
    open_version(page, house.stack.mlflow_url, USECASE, version)
    page.get_by_placeholder("Name").fill("approved_by")
    page.get_by_placeholder("Value").fill("ada")
    page.get_by_placeholder("Value").press("Enter")
    page.get_by_role("cell", name="approved_by").wait_for()
    set_champion(page)


def asked(page, airflow, version):
    """Wait for the question about a version, as a person does who was told to look at Airflow."""
    question = page.get_by_role("link", name=f"version {version} to stage 1")

    def looked():
        page.goto(f"{airflow}/required_actions")  # the list does not look for what is new while it is empty
        page.get_by_text("Required Action").first.wait_for()
        page.wait_for_timeout(500)
        return question.count()

    eventually(looked)
    return question


def answer(page, album, question, button, reason):
    """Answer a question, with a reason."""
    question.click()
    field = page.locator("input[name=element_reason]")
    field.wait_for()
    assert field.input_value() == ""
    field.fill(reason)
    album.take(page, button.lower())
    page.get_by_role("button", name=button).click()
    expect(page.get_by_role("button", name=button)).to_be_disabled()
