"""``kubechat-obs replay``: a recorded day through the front door, and how well its faults are explained.

Everything goes the way of real telemetry: OTLP over HTTP to the gateway, questions to the API. Event time is
the recording's: what became known in one step of it is sent together, the next step begins when all of that is
acknowledged, and a question is asked when all before it was sent and nothing after it, so that no answer knows
the future.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import orjson
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from agent.errors import NotFound
from agent.settings import load
from agent.telemetry.nezha import Recording, files_of
from agent.telemetry.nezha_otlp import chunks
from chatops.terminal import options
from chatops.terminal.ask import post_question
from chatops.terminal.cases import NS, Case, Question, case_of, questions, summary
from chatops.terminal.client import Client, Refused
from chatops.terminal.floor import largest_z
from chatops.terminal.sending import Sender
from chatops.terminal.untrusted import shown, shown_json

EPILOG = """
Examples:

  kubechat-obs replay nezha-2023-01-29.tar.zst

  kubechat-obs replay nezha-2023-01-29.tar.zst --ask-after 90,120,150 --json > scores.json

FILE is a day of the Nezha data set, as an archive (.tar, .tar.zst) or a folder. Each fault of its list is asked
about; pods and services are ranked by the answer, and AS@k is the share of faults whose injected pod (or its
service) is among the first k. Beside it stands the floor: the pod with the largest |z| of any metric.
"""

STEP_S = 2.0  # of event time
QUESTION = "why is latency up?"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to replay and where to. ``at_s`` are times to ask at although nothing was injected; ``warmup`` is a
    fault-free recording that is sent first, as if it had ended when the day begins."""

    file: Path
    warmup: Path | None = None
    tenant: str = ""
    after_s: tuple[float, ...] = (120.0,)
    at_s: tuple[float, ...] = ()
    question: str = QUESTION
    gateway_url: str = ""
    gateway_token: str = ""


@dataclass(frozen=True, slots=True)
class Progressed:
    """How far event time has come, 0 to 1, and the case that was just answered, if any."""

    share: float
    at_ns: int
    case: Case | None = None


OnProgress = Callable[[Progressed], None]


def run_replay(plan: Plan, client: Client, on_progress: OnProgress = lambda _: None) -> dict[str, Any]:
    """Sends the day, asks, scores; see ``cases.summary`` for the figures. Raises ``ObservabilityError``."""
    warmup = read(plan.warmup) if plan.warmup else None
    return asyncio.run(_replay(plan, read(plan.file), warmup, client, on_progress))


def read(file: Path) -> Recording:
    return Recording(files_of(file))


async def _replay(
    plan: Plan, day: Recording, warmup: Recording | None, client: Client, on_progress: OnProgress
) -> dict[str, Any]:
    tenant = plan.tenant or default_tenant(day)
    asked = questions(day.faults, plan.after_s, [round(s * NS) for s in plan.at_s])
    cases: list[Case] = []
    began = time.perf_counter()
    async with client, aiohttp.ClientSession() as session:
        await _check_unused(client, tenant)
        sender = Sender(session, plan.gateway_url or await _gateway_url(client), tenant, plan.gateway_token)
        if warmup is not None:
            end_ns = int(warmup.spans.end_ns.max(initial=warmup.start_ns)) + 1
            earlier = shifted(warmup, day.start_ns - end_ns)
            start_ns = int(earlier.spans.start_ns.min(initial=day.start_ns))
            await _send(sender, earlier, start_ns, day.start_ns, lambda at_ns: None)
        sent_ns, length_ns = day.start_ns, max(1, day.end_ns - day.start_ns)

        def told(at_ns: int, case: Case | None = None) -> None:
            on_progress(Progressed((at_ns - day.start_ns) / length_ns, at_ns, case))

        for question in asked:
            await _send(sender, day, sent_ns, question.at_ns, told)
            sent_ns = max(sent_ns, question.at_ns)
            cases.append(await _ask(client, plan.question, tenant, question, day))
            told(question.at_ns, cases[-1])
        await _send(sender, day, sent_ns, day.end_ns, told)
    return {
        **summary(cases, 120.0 if 120.0 in plan.after_s else plan.after_s[0]),
        "file": plan.file.name,
        "tenant": tenant,
        "rows": {"spans": len(day.spans), "logs": len(day.logs), "metrics": len(day.metrics)},
        "sent_bytes": sender.sent_bytes,
        "took_s": round(time.perf_counter() - began, 1),
    }


async def _send(
    sender: Sender, day: Recording, start_ns: int, end_ns: int, told: Callable[[int], None]
) -> None:
    """What became known in ``[start_ns, end_ns)``, step by step; the requests of one step go together."""
    if start_ns >= end_ns:
        return
    for at_ns, step in groupby(chunks(day, start_ns, end_ns, STEP_S), key=lambda chunk: chunk.event_time_ns):
        await sender.send([(chunk.signal.value, chunk.body) for chunk in step])
        told(at_ns)


def shifted(day: Recording, by_ns: int) -> Recording:
    """The same recording at another time."""
    moved = copy(day)
    moved.spans = replace(day.spans, start_ns=day.spans.start_ns + by_ns, end_ns=day.spans.end_ns + by_ns)
    moved.logs = replace(day.logs, time_ns=day.logs.time_ns + by_ns)
    moved.metrics = replace(day.metrics, time_ns=day.metrics.time_ns + by_ns)
    return moved


def default_tenant(recording: Recording) -> str:
    first = recording.faults[0].time_ns if recording.faults else recording.start_ns
    return f"nezha-{datetime.fromtimestamp(first / NS, UTC):%Y-%m-%d}"


async def _check_unused(client: Client, tenant: str) -> None:
    """A day that is sent twice would be its own past."""
    found = await client.get("/api/v1/sources", tenant=tenant)
    if found["sources"]:
        raise Refused(
            409, "tenant_used", f"tenant {tenant} holds telemetry already", "name another with --tenant"
        )


async def _gateway_url(client: Client) -> str:
    status = await client.get("/api/v1/status")
    for actor in status["actors"]:
        if "otlp/http" in actor["listens"]:
            return str(actor["listens"]["otlp/http"]).replace("//0.0.0.0:", "//127.0.0.1:")
    raise NotFound("the layer does not say where its gateway listens; name it with --gateway")


async def _ask(client: Client, text: str, tenant: str, question: Question, day: Recording) -> Case:
    began = time.perf_counter()
    at = f"{question.at_ns // NS}.{question.at_ns % NS:09d}"
    try:
        answer: Mapping[str, Any] = await post_question(client, text, at=at, tenant=tenant)
    except Refused as error:
        if error.status != 404:
            raise
        answer = {"verdict": error.code, "summary": error.message}  # nothing was recorded by then
    ask_ms = round((time.perf_counter() - began) * 1e3, 1)
    fault = question.fault
    z = largest_z(day.metrics, fault.time_ns, question.at_ns) if fault else {}
    return case_of(question, answer, ask_ms, z)


def replay(
    file: Annotated[
        Path, typer.Argument(help="A recorded day: .tar.zst, .tar or a folder.", show_default=False)
    ],
    ask_after: Annotated[
        str,
        typer.Option(
            "--ask-after",
            metavar="SECONDS",
            help="When to ask, in seconds of event time after each fault; several joined by commas.",
        ),
    ] = "120",
    question: Annotated[str, typer.Option("--question", metavar="TEXT", help="What to ask.")] = QUESTION,
    warmup: Annotated[
        Path | None,
        typer.Option(
            "--warmup",
            metavar="FILE",
            show_default=False,
            help="A fault-free recording to send first, as if it had just ended.",
        ),
    ] = None,
    gateway: Annotated[
        str,
        typer.Option(
            "--gateway", metavar="URL", help="Where OTLP over HTTP goes. Default: as the layer's status says."
        ),
    ] = "",
    tenant: Annotated[
        str,
        typer.Option("--tenant", metavar="NAME", help="Whose telemetry it becomes. Default: nezha-<day>."),
    ] = "",
    as_json: options.AsJson = False,
    url: options.Url = "",
    token: options.Token = "",
    config: options.Config = None,
) -> None:
    """Send a recorded day through the front door, ask at each fault, and score the answers."""
    settings = load(config)
    plan = Plan(
        file=file,
        warmup=warmup,
        tenant=tenant,
        after_s=_seconds(ask_after),
        question=question,
        gateway_url=gateway,
        gateway_token=settings.gateway.auth_token.reveal(),
    )
    client = options.client(url, config, token)
    err = Console(stderr=True)
    with Live(console=err, refresh_per_second=4) as live:
        view = View(live)
        result = run_replay(plan, client, view.on_progress)
    if as_json:
        sys.stdout.write(shown_json(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode()) + "\n")
    else:
        Console().print(result_table(result))


def _seconds(text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or any(not 0 <= one <= 86_400 for one in found):
        raise typer.BadParameter(
            f"got {text!r}, expected seconds such as 90,120,150", param_hint="--ask-after"
        )
    return found


class View:
    """The answered cases and how far event time has come, in place."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._table = Table("fault (UTC)", "kind", "pod", box=None, header_style="bold")
        for name in ("after", "pod rank", "service rank", "floor", "ms"):
            self._table.add_column(name, justify="right")
        self._table.add_column("named first")
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:.0f} %"),
            TimeElapsedColumn(),
        )
        self._task = self._progress.add_task("reading", total=1.0)
        self._draw()

    def on_progress(self, progressed: Progressed) -> None:
        moment = datetime.fromtimestamp(progressed.at_ns / NS, UTC)
        self._progress.update(
            self._task, completed=min(1.0, progressed.share), description=f"{moment:%H:%M:%S}"
        )
        if progressed.case is not None:
            self.add(progressed.case)

    def add(self, case: Case) -> None:
        self._table.add_row(*_row(case))
        self._draw()

    def _draw(self) -> None:
        self._live.update(Group(self._table, self._progress))


def _row(case: Case) -> list[str | Text]:
    fault = case.question.fault
    causes = case.answer.get("causes", ())
    first = (causes[0]["instance"] or causes[0]["service"]) if causes else str(case.answer.get("verdict", ""))
    when = datetime.fromtimestamp((fault.time_ns if fault else case.question.at_ns) / NS, UTC)
    return [
        f"{when:%H:%M:%S}",
        Text(shown(fault.kind) if fault else "(none)"),
        Text(shown(fault.pod) if fault else ""),
        f"{case.question.after_s:g} s",
        *(_rank(rank) for rank in (case.pod_rank, case.service_rank, case.floor_pod_rank)),
        f"{case.ask_ms:.0f}",
        Text(shown(first)),
    ]


def _rank(rank: int | None) -> str:
    return "-" if rank is None else f"[green]{rank}[/]" if rank == 1 else str(rank)


def result_table(result: Mapping[str, Any]) -> Table:
    title = f"{result['cases']} faults of {result['file']}, asked {result['after_s']:g} s after each"
    table = Table(title=Text(shown(title)), title_justify="left")
    table.add_column("")
    for name in ("AS@1", "AS@3", "AS@5"):
        table.add_column(name, justify="right")
    rows = {"pods": result["pods"], "services": result["services"]}
    rows |= {f"floor, {kind}": scores for kind, scores in result["floor"].items()}
    rows |= {f"pods, {kind} ({of['cases']})": of["pods"] for kind, of in result["by_fault"].items()}
    for name, scores in rows.items():
        table.add_row(Text(shown(name)), *(f"{scores[cut]:.1f}" for cut in ("AS@1", "AS@3", "AS@5")))
    return table
