"""What the buttons write into MLflow: the desired state that a person could write there by hand."""

from dataclasses import dataclass
from typing import Any, Literal

import httpx

from dags.errors import ControlError
from serving.fleet import Overview

API = "/api/2.0/mlflow"
ALIAS = "champion"
Word = Literal["pause", "resume", "abort", "rollback"]
TITLES: dict[Word, str] = {
    "pause": "Pause the rollout",
    "resume": "Resume the rollout",
    "abort": "Abort the rollout",
    "rollback": "Roll back",
}
_MISSING = 404


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants.

    Attributes:
        word: What.
        reason: Why, in their words.
        by: Name of their login.
        version: The version to go back to; empty for what is no roll back.
    """

    word: Word
    reason: str
    by: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Woken:
    """What became of the wish to have the DAG release look now.

    Attributes:
        run: Id of the run; empty where none could be made, and the schedule of the DAG has to do.
        paused: Whether the DAG is paused, so that nothing happens before somebody resumes it.
    """

    run: str = ""
    paused: bool = False


def hindrance(word: Word, found: Overview) -> str:
    """Why something cannot be wanted now, as a sentence; empty when it can."""
    if word == "rollback":
        return "" if found.served else "no other version has served before"
    return "" if found.spreading else "no rollout is under way"


def consequence(word: Word, found: Overview) -> str:
    """What will happen, as a sentence or two."""
    release = found.release
    if release is None:
        return ""
    before = f"version {release.before.version}" if release.before else "no version"
    stage = f"stage {release.stage} of {release.stages}"
    match word:
        case "pause":
            return f"The rollout stays in {stage}: gateways whose stage has not come keep {before}. Nothing is undone."
        case "resume":
            return f"The rollout goes on from {stage}, as soon as its conditions are met."
        case "abort":
            return (
                f"All gateways and the cloud server go back to {before}. Version {release.version} is not tried again "
                "until the alias is moved away and back."
            )
        case _:
            chosen = f"version {found.served[0]}" if len(found.served) == 1 else "the version you choose"
            return (
                f"The alias {ALIAS} moves from version {found.told.text('wanted') or release.version} to {chosen}, "
                "which is checked and released as any other, in stages where the use case has some."
            )


async def carry_out(client: httpx.AsyncClient, usecase: str, wish: Wish) -> list[str]:
    """Write a wish into MLflow.

    Returns:
        What was written, a line each.

    Raises:
        ControlError: MLflow does not answer, or refuses.
    """
    written: list[str] = []
    model = {"name": usecase}
    # Whoever reads in between must find the reason before the word.
    for name, value in (("rollout.reason", wish.reason), ("rollout.by", wish.by)):
        await _call(client, written, "POST", "registered-models/set-tag", {**model, "key": name, "value": value})
        written.append(f"{name} = {value}")
    match wish.word:
        case "resume":
            await _call(client, written, "DELETE", "registered-models/delete-tag", {**model, "key": "rollout"})
            written.append("rollout: removed")
        case "rollback":
            version = {**model, "version": wish.version}
            tag = {**version, "key": "approved_by", "value": wish.by}
            await _call(client, written, "POST", "model-versions/set-tag", tag)
            written.append(f"approved_by = {wish.by} on version {wish.version}")
            await _call(client, written, "POST", "registered-models/alias", {**version, "alias": ALIAS})
            written.append(f"{ALIAS} -> version {wish.version}")
        case word:
            await _call(
                client, written, "POST", "registered-models/set-tag", {**model, "key": "rollout", "value": word}
            )
            written.append(f"rollout = {word}")
    return written


async def _call(client: httpx.AsyncClient, written: list[str], method: str, path: str, body: dict[str, Any]) -> None:
    before = f"written was {'; '.join(written)}" if written else "nothing was written"
    try:
        answer = await client.request(method, f"{API}/{path}", json=body)
    except httpx.HTTPError as error:
        raise ControlError(
            f"MLflow does not answer; {before}", where=str(client.base_url), why=str(error), fix="try again"
        ) from error
    if answer.status_code == _MISSING and method == "DELETE":
        return  # it was not there
    if answer.is_error:
        raise ControlError(
            f"MLflow refuses with {answer.status_code}; {before}", where=str(answer.url), why=_said(answer)
        )


def _said(answer: httpx.Response) -> str:
    """MLflow's own sentence."""
    try:
        return str(answer.json()["message"])[:300]
    except (ValueError, KeyError, TypeError):
        return answer.text[:300]
