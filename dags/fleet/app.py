"""The routes. Every one asks for Airflow's login; those that write also for the right to trigger the DAG release."""

import json
import time
from typing import Annotated
from urllib.parse import quote

from airflow.api_fastapi.app import get_auth_manager
from fastapi import Depends, FastAPI, Form, HTTPException, Request, Response, status
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.exceptions import HTTPException as AnyHTTPException

from dags import tracking
from dags.fleet import access, control, exports, pages
from dags.fleet.control import Wish, Woken, Word
from dags.fleet.source import Source, Sources
from dags.fleet.waking import wake
from features.errors import TidemillError
from serving.errors import MissingObjectError
from serving.fleet import Fleet, Overview
from serving.muster import Seen
from serving.roster import Query, pick

PATIENCE_S = 0.25
"""How long a page waits for the store: with more, the first paint is late; after that it says what it is counting."""
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"default-src 'none'; style-src 'unsafe-inline'; script-src {pages.SCRIPT_HASH}; "
    "connect-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'self'; base-uri 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_LONGEST_REASON = 500
application = FastAPI(
    title="Tidemill Fleet", dependencies=[access.READS], docs_url=None, redoc_url=None, openapi_url=None
)
_SOURCES = Sources()


async def _source() -> Source:
    return await _SOURCES.current()


Found = Annotated[Source, Depends(_source)]


@application.get("/")
def first(request: Request, user: access.User, source: Found) -> Response:
    """All use cases; the only one at once, if there is one."""
    site, fleet = _look(request, user, source)
    if len(fleet.overviews) == 1 and not fleet.unreadable and "all" not in request.query_params:
        return RedirectResponse(f"{site.base}/{quote(next(iter(fleet.overviews)), safe='')}", status.HTTP_303_SEE_OTHER)
    return _html(pages.list_of_usecases(site, fleet))


@application.get("/icon.svg", include_in_schema=False)
def picture() -> Response:
    """The sign in Airflow's navigation."""
    return _file("icon.svg", "image/svg+xml")


@application.get("/{usecase}")
def show(request: Request, user: access.User, source: Found, usecase: str) -> Response:
    """The page of a use case; which gateways are listed, the query says."""
    site, fleet = _look(request, user, source)
    found = _of(fleet, usecase)
    return _html(pages.usecase(site, fleet, found, _query(request)))


@application.get("/{usecase}/overview.json")
def overview(request: Request, user: access.User, source: Found, usecase: str) -> Response:
    """Everything but the single gateways, for programs."""
    _, fleet = _look(request, user, source, patience_s=60)
    return _json(exports.overview(_of(fleet, usecase)))


@application.get("/{usecase}/gateways.json")
def gateways_json(request: Request, user: access.User, source: Found, usecase: str) -> Response:
    """The gateways that the query finds, for programs."""
    _, fleet = _look(request, user, source, patience_s=60)
    found = _of(fleet, usecase)
    listed = [exports.gateway(each) for each in pick(found.seen, _query(request))]
    return _json({"format": exports.FORMAT, "at": exports.iso(found.counted_us), "gateways": listed})


@application.get("/{usecase}/gateways.csv")
def gateways_csv(request: Request, user: access.User, source: Found, usecase: str) -> Response:
    """The gateways that the query finds, for spreadsheets."""
    _, fleet = _look(request, user, source, patience_s=60)
    text = exports.rows(pick(_of(fleet, usecase).seen, _query(request)))
    name = f"attachment; filename*=UTF-8''{quote(usecase, safe='')}-gateways.csv"
    return Response(text, media_type="text/csv; charset=utf-8", headers={**_HEADERS, "Content-Disposition": name})


@application.get("/{usecase}/gateway/{fleet_name}/{gateway}")
def one(request: Request, user: access.User, source: Found, *, usecase: str, fleet_name: str, gateway: str) -> Response:
    """All that a gateway said last."""
    site, fleet = _look(request, user, source, patience_s=60)
    found = _of(fleet, usecase)
    seen = _gateway(found, fleet_name, gateway)
    try:
        key, document = source.view.report(fleet_name, gateway, usecase)
    except MissingObjectError:
        key, document = "", {}
    return _html(pages.gateway(site, found, seen, key, document))


@application.get("/{usecase}/do/{word}", dependencies=[access.WRITES])
def ask(request: Request, user: access.User, source: Found, usecase: str, word: Word) -> Response:
    """What a button would do, and the question why."""
    site, fleet = _look(request, user, source)
    return _html(pages.form(site, _of(fleet, usecase), word))


@application.post("/{usecase}/do/{word}", dependencies=[access.WRITES, access.MEANT])
async def act(
    request: Request,
    user: access.User,
    source: Found,
    *,
    usecase: str,
    word: Word,
    reason: Annotated[str, Form()] = "",
    version: Annotated[str, Form()] = "",
) -> Response:
    """Write what is wanted into MLflow, and have the DAG release look."""
    site, fleet = await run_in_threadpool(_look, request, user, source)
    found = _of(fleet, usecase)
    said = " ".join(reason.split())[:_LONGEST_REASON]
    problem = control.hindrance(word, found)
    if not said:
        problem = problem or "Say why: the reason goes into MLflow and stays with the model."
    elif word == "rollback" and version not in found.served:
        problem = problem or f"version {version or 'none'} has not served before: choose one of the list"
    if problem:
        return _html(pages.form(site, found, word, problem, said), status.HTTP_422_UNPROCESSABLE_CONTENT)
    wish = Wish(word, said, user.get_name(), version if word == "rollback" else "")
    try:
        async with await tracking.connect() as client:
            written = await control.carry_out(client, usecase, wish)
    except TidemillError as error:
        return _html(pages.form(site, found, word, str(error), said), status.HTTP_502_BAD_GATEWAY)
    woken: Woken = await run_in_threadpool(wake, request, user, f"{word} {usecase}, {wish.by}: {said}")
    return _html(pages.done(site, found, wish, written, woken))


@application.exception_handler(AnyHTTPException)
async def refuse(request: Request, error: AnyHTTPException) -> Response:
    """Say in HTML to people, and in JSON to programs, why there is nothing to see."""
    if "text/html" not in request.headers.get("accept", ""):
        return _json({"detail": error.detail}, error.status_code)
    login = ""
    if error.status_code == status.HTTP_401_UNAUTHORIZED:
        login = get_auth_manager().get_url_login(next_url=str(request.url))
    site = _site(request, "", writes=False, registry="")
    return _html(pages.problem(site, str(error.status_code), str(error.detail), login), error.status_code)


@application.exception_handler(RequestValidationError)
async def unknown(request: Request, error: RequestValidationError) -> Response:  # noqa: ARG001 - FastAPI's signature
    """A word that no button has."""
    return await refuse(request, AnyHTTPException(status.HTTP_404_NOT_FOUND, "there is no such page"))


@application.exception_handler(TidemillError)
async def explain(request: Request, error: TidemillError) -> Response:
    """Settings that contradict each other, a store that cannot be opened."""
    return await refuse(request, AnyHTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, f"{error.code} {error}"))


def _look(
    request: Request, user: access.User, source: Source, patience_s: float = PATIENCE_S
) -> tuple[pages.Site, Fleet]:
    fleet = source.view.fleet(patience_s)
    return _site(request, user.get_name(), writes=access.may_write(user), registry=source.registry), fleet


def _site(request: Request, user: str, *, writes: bool, registry: str) -> pages.Site:
    base = str(request.scope.get("root_path", "")).rstrip("/")
    airflow = base.removesuffix("/tidemill/fleet") + "/"
    return pages.Site(base, airflow, registry, user, writes, time.time_ns() // 1000)


def _of(fleet: Fleet, usecase: str) -> Overview:
    found = fleet.overviews.get(usecase)
    if found is None:
        why = fleet.problem or "nothing was ever released for it, wanted of it or reported by it"
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"there is nothing about {usecase}: {why}")
    return found


def _gateway(found: Overview, fleet: str, gateway: str) -> Seen:
    for each in found.seen:
        if (each.report.fleet, each.report.gateway) == (fleet, gateway):
            return each
    raise HTTPException(status.HTTP_404_NOT_FOUND, f"no gateway {gateway} of the fleet {fleet} reports")


def _query(request: Request) -> Query:
    """What an address asks for; what it asks in vain is left out."""
    asked = request.query_params
    page = asked.get("page", "1")
    return Query(
        state=asked.get("state", ""),
        version=asked.get("version", ""),
        text=asked.get("text", "").strip()[:100],
        sort=asked.get("sort", "worst"),
        page=int(page) if page.isdecimal() and len(page) < 7 else 1,  # noqa: PLR2004 - of a million
    )


def _html(text: str, code: int = status.HTTP_200_OK) -> HTMLResponse:
    return HTMLResponse(text, code, headers=_HEADERS)


def _json(content: object, code: int = status.HTTP_200_OK) -> Response:
    return Response(json.dumps(content), code, media_type="application/json", headers=_HEADERS)


def _file(name: str, kind: str) -> Response:
    text = (pages.TEMPLATES / name).read_text(encoding="utf-8")
    return Response(text, media_type=kind, headers={**_HEADERS, "Cache-Control": "private, max-age=300"})
