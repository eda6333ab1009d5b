"""Who may read the page, who may write, and that a write was meant."""

from typing import Annotated
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user, requires_access_dag
from airflow.models.dag import DagModel
from fastapi import Depends, HTTPException, Request, status

RELEASE = "release"
"""The DAG whose rights count: who may see its runs may read the page, who may trigger it may press the buttons."""

User = Annotated[BaseUser, Depends(get_user)]
READS = Depends(requires_access_dag("GET", DagAccessEntity.RUN, RELEASE))
WRITES = Depends(requires_access_dag("POST", DagAccessEntity.RUN, RELEASE))


def may_write(user: User) -> bool:
    """Whether a user may press the buttons."""
    details = DagDetails(id=RELEASE, team_name=DagModel.get_team_name(RELEASE))
    asked = get_auth_manager().is_authorized_dag(
        method="POST", access_entity=DagAccessEntity.RUN, details=details, user=user
    )
    return bool(asked)


def meant(request: Request) -> None:
    """Refuse a write that another page made the browser send.

    Airflow's cookie is ``SameSite=Lax``: browsers keep it from other sites, but not from other ports of the same host.
    So the browser's own word about where the request comes from is asked for. Programs send a token in a header, which
    no page can make a browser do.

    Raises:
        HTTPException: 403, it comes from elsewhere, or nobody knows from where.
    """
    if request.headers.get("authorization", "").lower().startswith("bearer "):
        return
    site = request.headers.get("sec-fetch-site")
    if site == "same-origin":
        return
    # Browsers leave that out over plain HTTP to another machine; then the origin must be the host that was called.
    origin = request.headers.get("origin", "")
    if site is None and origin and urlsplit(origin).netloc == request.headers.get("host"):
        return
    raise HTTPException(status.HTTP_403_FORBIDDEN, "this was not sent from the Fleet page itself")


MEANT = Depends(meant)
