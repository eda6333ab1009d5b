"""People at their browsers: Airflow and MLflow as they are clicked, and a picture of each step."""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Locator, Page

from tests.e2e.house import House, Office

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "build" / "screenshots"
README_PICTURES, WIDTH = ROOT / "infra" / "pictures", 800
PATIENCE_MS = 30_000
RUN_MS = 120_000
SETTLED = (
    "document.getAnimations().every(each => each.playState != 'running' || each.effect.getTiming().iterations > 9)"
)
"""Whether everything that moves into its place has arrived; what turns for ever is not waited for."""


class Album:
    """Numbered pictures of one journey, in ``build/screenshots/<journey>``.

    Args:
        journey: Its name.
    """

    def __init__(self, journey: str) -> None:
        self.folder = PICTURES / journey
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._taken = 0

    def take(self, page: Page, name: str, *, whole: bool = False, readme: str = "") -> None:
        """Picture what a page shows.

        Args:
            page: The page.
            name: What it shows, in a word or two.
            whole: All of it, not only what the window shows.
            readme: Its name among the README's pictures, which are made anew where ``PICTURES=1`` is set.
        """
        self._taken += 1
        page.wait_for_function(SETTLED)
        path = self.folder / f"{self._taken:02d}-{name}.png"
        page.screenshot(path=path, full_page=whole)
        if readme and os.environ.get("PICTURES"):
            image = Image.open(path).convert("RGB")
            small = image.resize((WIDTH, image.height * WIDTH // image.width), Image.Resampling.LANCZOS)
            # The usual method gives rare colours away: a dot of 'silent' became as red as one of 'failed'.
            few = small.quantize(224, method=Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
            few.save(README_PICTURES / f"{readme}.png", optimize=True)


@dataclass(frozen=True)
class Town:
    """Where people work: the house, Airflow over it, and windows of a browser.

    Attributes:
        house: MLflow, the cloud server and gateways.
        office: Airflow.
        browser: Opens windows.
    """

    house: House
    office: Office
    browser: Browser

    def window(self, width: int = 1280, height: int = 860) -> Page:
        """Open a window of somebody who was never here."""
        page = self.browser.new_context(viewport={"width": width, "height": height}).new_page()
        page.set_default_timeout(PATIENCE_MS)
        return page

    def desk(self) -> Page:
        """Open a window and log in to Airflow."""
        page = self.window()
        page.goto(f"{self.office.url}/auth/login")
        page.get_by_role("textbox", name=re.compile("username", re.IGNORECASE)).fill("admin")
        page.locator("input[name=password]").fill(self.office.password)
        page.get_by_role("button", name=re.compile("sign in|log in", re.IGNORECASE)).click()
        page.wait_for_url(f"{self.office.url}/")
        return page


def choose(form: Locator, field: str, text: str) -> None:
    """Pick a value of one of Airflow's lists by typing a part of it."""
    form.locator(f"input[name=element_{field}]").locator("xpath=..").get_by_role("combobox").fill(text)
    form.page.get_by_role("option", name=text).first.click()


def open_version(page: Page, mlflow: str, usecase: str, version: str) -> None:
    """Open the page of a version in MLflow, and put away what it shows to newcomers."""
    page.goto("about:blank")  # an address that differs behind the # alone loads nothing anew
    page.goto(f"{mlflow}/#/models/{usecase}/versions/{version}")
    page.get_by_role("heading", name=f"Version {version}", exact=True).wait_for()
    assistant = page.get_by_role("button", name="Close")
    if assistant.count():
        assistant.click()


def set_champion(page: Page, *before_save: Callable[[], None]) -> None:
    """Add the alias to the version whose page is open, by clicks.

    Args:
        page: The page.
        before_save: Called one after the other before the last click.
    """
    page.get_by_title(re.compile("^(Add|Edit) aliases$")).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("combobox").press_sequentially("champion")
    dialog.get_by_role("combobox").press("Enter")
    dialog.get_by_role("heading").click()  # closes the list, which lies over the button
    for call in before_save:
        call()
    dialog.get_by_role("button", name="Save aliases").click()
    dialog.wait_for(state="hidden")


def tags_of(page: Page) -> dict[str, str]:
    """Return the tags that the page of a version shows."""
    rows = page.get_by_role("row").all_inner_texts()
    cells = [[cell.strip() for cell in re.split(r"[\t\n]+", row) if cell.strip()] for row in rows]
    return {row[0]: row[1] for row in cells if len(row) > 1 and re.fullmatch(r"[a-z_.]+", row[0])}
