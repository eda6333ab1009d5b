"""HTML from templates. Knows no Airflow, so that `tidemill fleet --html` makes the very same page."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from dags.fleet.control import TITLES, Wish, Woken, Word, consequence, hindrance
from serving.attention import code_in
from serving.fleet import Fleet, Overview
from serving.journal import iso
from serving.muster import STATES, Seen
from serving.roster import SORTS, TROUBLES, Query, page, troubled
from serving.words import age, gateways

TEMPLATES = Path(__file__).parent / "templates"
SCRIPT = (TEMPLATES / "fleet.js").read_text(encoding="utf-8")
SCRIPT_HASH = f"'sha256-{b64encode(sha256(SCRIPT.encode()).digest()).decode()}'"
"""How the policy of the page names the one script it may run. A file of its own would delay the first paint."""
MEANINGS = {
    "current": "runs the release that it should",
    "updating": "has not changed yet to what it should run",
    "failed": "cannot run what it should, and says why",
    "silent": "did not report for 10 minutes; what it runs is not known",
    "stopped": "said that it ends",
    "later": "its stage has not come; it runs the version before",
    "unreadable": "left a report that cannot be read",
    "clock": "its clock is not set",
    "updates": "does not get the releases",
    "pending": "keeps many predictions that the store does not have",
    "disk": "has hardly any room left on its disk",
}


@dataclass(frozen=True, slots=True)
class Site:
    """What a page needs to know of where it is.

    Attributes:
        base: What comes before each address of the page, without a slash at its end; empty for a file.
        airflow: Address of Airflow's own pages, with a slash at its end; empty for none.
        registry: Address of the page of models in MLflow; empty for none.
        user: Name of the login; empty for none.
        writes: Whether this user may press the buttons.
        now_us: The time, UTC microseconds.
        live: Whether the page is answered by a server, and can filter and refresh.
    """

    base: str
    airflow: str
    registry: str
    user: str
    writes: bool
    now_us: int
    live: bool = True


def list_of_usecases(site: Site, fleet: Fleet) -> str:
    """The first page: all use cases."""
    return _render("usecases.html.j2", site, fleet=fleet, title="Fleet")


def usecase(site: Site, fleet: Fleet, found: Overview, query: Query) -> str:
    """The page of a use case, with one page of its gateways."""
    buttons = [word for word in TITLES if not hindrance(word, found) and _fits(word, found)]
    return _render(
        "usecase.html.j2",
        site,
        title=found.usecase,
        fleet=fleet,
        found=found,
        query=query,
        shown=page(found.seen, query),
        buttons=buttons,
    )


def gateway(site: Site, found: Overview, seen: Seen, key: str, document: Mapping[str, object]) -> str:
    """The page of one gateway."""
    title = f"{seen.report.gateway}, {found.usecase}"
    return _render("gateway.html.j2", site, title=title, found=found, seen=seen, key=key, document=document)


def form(site: Site, found: Overview, word: Word, problem: str = "", reason: str = "") -> str:
    """The question before a button does something."""
    return _render(
        "form.html.j2",
        site,
        title=f"{TITLES[word]}, {found.usecase}",
        found=found,
        word=word,
        problem=problem or hindrance(word, found),
        possible=not hindrance(word, found),
        reason=reason,
        choices=found.served if word == "rollback" else (),
        consequence=consequence(word, found),
    )


def done(site: Site, found: Overview, wish: Wish, written: list[str], woken: Woken) -> str:
    """What a button has done."""
    title = f"{TITLES[wish.word]}, {found.usecase}"
    return _render("done.html.j2", site, title=title, found=found, wish=wish, written=written, woken=woken)


def problem(site: Site, title: str, text: str, login: str = "") -> str:
    """A page that says why there is no page."""
    return _render("problem.html.j2", site, title=title, text=text, login=login)


def _fits(word: Word, found: Overview) -> bool:
    """Of pause and resume only the one that would change something."""
    paused = found.told.text("reason").startswith("paused")
    return word not in ("pause", "resume") or (word == "resume") == paused


def _render(template: str, site: Site, **values: Any) -> str:
    return _environment().get_template(template).render(site=site, **values)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "age": age,
        "breakable": _breakable,
        "code_in": code_in,
        "gateways": gateways,
        "iso": iso,
        "when": _when,
        "short": _short,
        "share": _share,
        "rate": _rate,
        "measured": _measured,
    }
    made.globals |= {
        "STATES": STATES,
        "TROUBLES": TROUBLES,
        "SORTS": SORTS,
        "MEANINGS": MEANINGS,
        "TITLES": TITLES,
        "troubled": troubled,
        "SCRIPT": Markup(SCRIPT),  # noqa: S704 - our own file
        "address": _address,
        "version_page": _version_page,
        "with_query": _with_query,
        "segment": lambda text: quote(text, safe=""),
    }
    return made


def _address(query: Query) -> str:
    """A query as a part of an address; empty for the usual one.

    Example:
        >>> _address(Query(state="failed", page=2)), _address(Query())
        ('?state=failed&page=2', '')
    """
    usual = Query()
    said = {
        name: getattr(query, name)
        for name in Query.__dataclass_fields__
        if getattr(query, name) != getattr(usual, name)
    }
    return f"?{urlencode(said)}" if said else ""


def _with_query(query: Query, **changes: Any) -> str:
    return _address(replace(query, **{"page": 1, **changes})) or "?"


def _version_page(site: Site, name: str, version: str) -> str:
    """Where MLflow shows a version; empty where MLflow is not known."""
    return f"{site.registry}/{quote(name, safe='')}/versions/{quote(version, safe='')}" if site.registry else ""


def _when(time_us: int) -> str:
    """A time as people read it.

    Example:
        >>> _when(1_764_000_000_000_000)
        '2025-11-24 16:00:00 UTC'
    """
    return (iso(time_us) or "never").replace("T", " ").replace("Z", " UTC")


def _breakable(name: str) -> Markup:
    """A long name that a line may end within, after an underscore.

    Example:
        >>> str(_breakable("bearing_max<24h"))
        'bearing_<wbr>max&lt;24h'
    """
    return escape(name).replace("_", Markup("_<wbr>"))


def _short(digest: str) -> str:
    """Enough of a digest to tell it from others."""
    return digest.removeprefix("sha256:")[:12]


def _share(value: float | None) -> str:
    return "not known" if value is None else f"{value:.0%}"


def _measured(value: float | None) -> str:
    """A measure with three digits.

    Example:
        >>> _measured(0.93871), _measured(23.4), _measured(None)
        ('0.939', '23.4', 'not known')
    """
    return "not known" if value is None else f"{value:.3g}"


def _rate(value: float | None) -> str:
    """A number a minute, as a person reads it; a dash where it is not known yet.

    Example:
        >>> [_rate(value) for value in (None, 0.0, 0.042, 3.25, 41872.0)]
        ['-', '0', '0.04', '3.2', '41,872']
    """
    if value is None:
        return "-"
    if value in (0, round(value)) or value >= 100:  # noqa: PLR2004 - three digits are enough
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"
