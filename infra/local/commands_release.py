"""Commands about promotion: release, approve, and the ledger of what was promoted."""

import dataclasses
import json
from typing import TYPE_CHECKING

import click

from infra.local.command import Outcome, Run, command
from infra.local.console import table
from infra.local.parameters import SINGLE_WRITER, iso

if TYPE_CHECKING:
    from serving.policy import Rollout
    from serving.ports import Outcome as Step
    from serving.promotion import Promotion

MOST = 20
"""Questions and rollouts that are told at once: a task of Airflow hands on no longer lists. The others come later."""
HEADER = ("nr", "seen", "outcome", "release", "stage", "from", "to", "promoted by", "approved by", "reason")


@command(
    "Make the promoted versions available to placements.",
    example="tidemill release",
    also="Compares the alias champion of every model with what is published and takes the next step: releases, goes "
    "on to the next stage, rolls back, withdraws, or refuses with a reason, which is also a tag of the version. "
    "Running it twice changes nothing.",
)
@click.option("--verify", is_flag=True, help="Look into the bundles of versions that serve already as well.")
@SINGLE_WRITER
def release(run: Run, *, verify: bool, single_writer: bool) -> Outcome:
    """Reconcile once; exit code 1 when a version is refused."""
    from pipelines.registry import Registry  # noqa: PLC0415 - `--help` must not pay for it
    from serving.reconcile import reconcile  # noqa: PLC0415 - see above
    from serving.trust.publisher import Publisher  # noqa: PLC0415 - see above

    store = run.open_store()
    run.admit_writers(store, single=single_writer)
    publisher = Publisher(store, run.settings.keys)
    registry = Registry(run.settings.tracking)
    steps = reconcile(registry, store, publisher, run.now_us, policy=_policy, verify=verify)
    lines = [_told(step) for step in steps] or ["no model is registered yet: tidemill train pump_failure"]
    refused = [step for step in steps if step.action == "refused"]
    payload = {
        "outcomes": [_plain(step) for step in steps],
        "questions": [_question(step) for step in steps if step.asks][:MOST],
        "spreading": [f"{step.usecase} {step.spreading}" for step in steps if step.spreading][:MOST],
    }
    return Outcome(payload, lines, ok=not refused)


@command(
    "Approve or decline the next stage of a release.",
    example="tidemill approve pump_failure --by ben --reason 'figures are fine'",
    also="Where a use case asks for approvals, Airflow asks by its DAG approve; this does the same by hand. The answer "
    "is signed and counts with the next release run; the newest one counts. Exit code 1 when nothing waits.",
)
@click.argument("usecase")
@click.option("--by", required=True, metavar="NAME", help="Who answers.")
@click.option("--reason", default="", show_default=False, metavar="TEXT", help="Why; goes into the ledger.")
@click.option("--decline", is_flag=True, help="Say no.")
@click.option("--question", default="", show_default=False, metavar="N-S", help="Only if this release and stage wait.")
@click.option("--version", default="", show_default=False, metavar="NUMBER", help="Only if this version waits.")
def approve(run: Run, usecase: str, *, by: str, reason: str, decline: bool, question: str, version: str) -> Outcome:
    """Answer what the last release run asked."""
    from serving.asking import open_question  # noqa: PLC0415 - `--help` must not pay for it
    from serving.consent import Consent, write  # noqa: PLC0415 - see above
    from serving.trust.publisher import Publisher  # noqa: PLC0415 - see above

    store = run.open_store()
    asked = open_question(store, usecase, question, version)
    write(store, Consent(asked, not decline, by, reason, run.now_us), Publisher(store, run.settings.keys).seal)
    said = "declined" if decline else "approved"
    line = f"{usecase}, release {asked.number}, stage {asked.stage}: {said} by {by}"
    return Outcome(
        {"usecase": usecase, "question": dataclasses.asdict(asked), "approved": not decline, "by": by}, [line]
    )


@click.group(help="Show and verify the ledger of promotions.")
def ledger() -> None:
    """Group of the ledger."""


@command(
    "Show what was promoted: when, from what to what, by whom, and what came of it.",
    example="tidemill ledger show pump_failure",
    also="Newest last. Without USECASE, of all use cases.",
)
@click.argument("usecase", required=False)
@click.option("--limit", type=click.IntRange(min=1), default=50, metavar="NUMBER", help="Newest entries of each.")
def show(run: Run, usecase: str | None, limit: int) -> Outcome:
    """Show entries; the chain is checked, signatures are not."""
    from serving.promotion import PromotionLedger, usecases  # noqa: PLC0415 - `--help` must not pay for it

    store = run.open_store()
    lines, payload = [], {}
    for name in [usecase] if usecase else usecases(store):
        entries = PromotionLedger(store, name).entries()[-limit:]
        payload[name] = [json.loads(entry.to_bytes()) for entry in entries]
        lines += [name, *table(HEADER, [_row(entry) for entry in entries]), ""]
    return Outcome({"usecases": payload}, lines[:-1] or ["nothing was promoted yet"])


@command(
    "Check that nobody has changed the ledger of promotions.",
    example="tidemill ledger verify",
    also="Chain, signatures, and what is published beside it. A broken chain is named by the file that breaks it. Exit "
    "code 1 when something is wrong. Needs the folder of keys, of which the public halves are enough.",
)
def verify(run: Run) -> Outcome:
    """Verify all ledgers."""
    from serving.audit import verify as check  # noqa: PLC0415 - `--help` must not pay for it
    from serving.trust.publisher import Publisher  # noqa: PLC0415 - see above

    store = run.open_store()
    findings = check(store, Publisher(store, run.settings.keys))
    lines = [
        f"{found.usecase}: {found.problem or f'{len(found.entries)} entries, chained, signed and as published'}"
        for found in findings
    ]
    bad = [found for found in findings if found.problem]
    payload = [{"usecase": f.usecase, "entries": len(f.entries), "problem": f.problem} for f in findings]
    return Outcome({"ok": not bad, "usecases": payload}, lines or ["nothing was promoted yet"], ok=not bad)


ledger.add_command(show)
ledger.add_command(verify)


def _policy(usecase: str) -> "Rollout":
    """How the releases of a model spread: as its use case says, at once where it is none of ours."""
    from pipelines import usecases  # noqa: PLC0415 - `--help` must not pay for it
    from serving.policy import AT_ONCE  # noqa: PLC0415 - see above

    return usecases.load(usecase).rollout if usecase in usecases.names() else AT_ONCE


def _plain(step: "Step") -> dict[str, object]:
    return dataclasses.asdict(step)


def _question(step: "Step") -> dict[str, object]:
    """What somebody has to approve, flat, with what there is to know about it."""
    question = dataclasses.asdict(step.question) if step.question else {}
    return {**question, "version": step.version, "gateways": step.gateways, "reason": step.reason}


def _told(step: "Step") -> str:
    version = f" version {step.version}" if step.version else ""
    words = [f"{step.usecase}{version}: {step.action.replace('_', ' ')}", step.reason, step.gateways]
    return "; ".join(word for word in words if word)


def _row(entry: "Promotion") -> tuple[object, ...]:
    return (
        entry.sequence,
        iso(entry.observed_at_us),
        entry.outcome.replace("_", " "),
        entry.number,
        entry.stage,
        entry.from_version or "-",
        entry.to_version or "-",
        entry.promoted_by or "-",
        entry.approved_by or "-",
        entry.reason,
    )
