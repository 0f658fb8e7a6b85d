"""``kubechat-obs replay``: a recorded day through the front door, and how well its faults are explained.

Everything goes the way of real telemetry: OTLP over HTTP to the gateway, questions to the API. Event time is
the recording's: what belongs to one step of it is sent together, the next step begins when all of it is
acknowledged, and a question is asked once event time has come to it, so that no answer knows the future.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import orjson
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from agent.errors import NotFound
from agent.settings import load
from agent.telemetry.nezha import Recording, files_of
from chatops.terminal import options
from chatops.terminal.ask import post_question
from chatops.terminal.cases import NS, Case, Question, case_of, questions, summary
from chatops.terminal.client import Client, Refused
from chatops.terminal.floor import largest_z
from chatops.terminal.sending import Sender

EPILOG = """
Examples:

  kubechat-obs replay nezha-2023-01-29.tar.zst

  kubechat-obs replay nezha-2023-01-29.tar.zst --ask-after 90,120,150 --json > scores.json

FILE is a day of the Nezha data set, as an archive (.tar, .tar.zst) or a folder. Each fault of its list is asked
about; pods and services are ranked by the answer, and AS@k is the share of faults whose injected pod (or its
service) is among the first k. Beside it stands the floor: the pod with the largest |z| of any metric.
"""

STEP_NS = NS  # of event time
QUESTION = "why is latency up?"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to replay and where to. ``at_s`` are times to ask at although nothing was injected."""

    file: Path
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
    return asyncio.run(_replay(plan, read(plan.file), client, on_progress))


def read(file: Path) -> Recording:
    return Recording(files_of(file))


async def _replay(
    plan: Plan, recording: Recording, client: Client, on_progress: OnProgress
) -> dict[str, Any]:
    from agent.telemetry.nezha_otlp import requests

    tenant = plan.tenant or default_tenant(recording)
    waiting = questions(recording.faults, plan.after_s, [round(s * NS) for s in plan.at_s])
    cases: list[Case] = []
    began = time.perf_counter()
    start_ns, length_ns = recording.start_ns, max(1, recording.end_ns - recording.start_ns)
    async with client, aiohttp.ClientSession() as session:
        await _check_unused(client, tenant)
        gateway_url = plan.gateway_url or await _gateway_url(client)
        sender = Sender(session, gateway_url, tenant, plan.gateway_token)
        for at_ns, step in steps(requests(recording)):
            while waiting and waiting[0].at_ns <= at_ns:
                cases.append(await _ask(client, plan.question, tenant, waiting.pop(0), recording))
                on_progress(Progressed((at_ns - start_ns) / length_ns, at_ns, cases[-1]))
            await sender.send(step)
            on_progress(Progressed((at_ns - start_ns) / length_ns, at_ns))
        for question in waiting:
            cases.append(await _ask(client, plan.question, tenant, question, recording))
            on_progress(Progressed(1.0, question.at_ns, cases[-1]))
    return {
        **summary(cases, 120.0 if 120.0 in plan.after_s else plan.after_s[0]),
        "file": plan.file.name,
        "tenant": tenant,
        "rows": {
            "spans": len(recording.spans),
            "logs": len(recording.logs),
            "metrics": len(recording.metrics),
        },
        "sent_bytes": sender.sent_bytes,
        "took_s": round(time.perf_counter() - began, 1),
    }


def default_tenant(recording: Recording) -> str:
    first = recording.faults[0].time_ns if recording.faults else recording.start_ns
    return f"nezha-{datetime.fromtimestamp(first / NS, UTC):%Y-%m-%d}"


def steps(of: Iterator[tuple[int, str, bytes]]) -> Iterator[tuple[int, list[tuple[str, bytes]]]]:
    """Requests of one step of event time together, with the time of its first."""
    at_ns, step = 0, list[tuple[str, bytes]]()
    for time_ns, signal, body in of:
        if step and time_ns // STEP_NS != at_ns // STEP_NS:
            yield at_ns, step
            step = []
        if not step:
            at_ns = time_ns
        step.append((signal, body))
    if step:
        yield at_ns, step


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


async def _ask(client: Client, text: str, tenant: str, question: Question, recording: Recording) -> Case:
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
    z = largest_z(recording.metrics, fault.time_ns, question.at_ns) if fault else {}
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
        file, tenant, _seconds(ask_after), (), question, gateway, settings.gateway.auth_token.reveal()
    )
    client = options.client(url, config, token)
    err = Console(stderr=True)
    with Live(console=err, refresh_per_second=4) as live:
        view = View(live)
        result = run_replay(plan, client, view.on_progress)
    if as_json:
        sys.stdout.write(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode() + "\n")
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
            self._table.add_row(*_row(progressed.case))
            self._draw()

    def _draw(self) -> None:
        self._live.update(Group(self._table, self._progress))


def _row(case: Case) -> list[str]:
    fault = case.question.fault
    causes = case.answer.get("causes", ())
    first = (causes[0]["instance"] or causes[0]["service"]) if causes else str(case.answer.get("verdict", ""))
    when = datetime.fromtimestamp((fault.time_ns if fault else case.question.at_ns) / NS, UTC)
    return [
        f"{when:%H:%M:%S}",
        fault.kind if fault else "(none)",
        fault.pod if fault else "",
        f"{case.question.after_s:g} s",
        *(_rank(rank) for rank in (case.pod_rank, case.service_rank, case.floor_pod_rank)),
        f"{case.ask_ms:.0f}",
        first,
    ]


def _rank(rank: int | None) -> str:
    return "-" if rank is None else f"[green]{rank}[/]" if rank == 1 else str(rank)


def result_table(result: Mapping[str, Any]) -> Table:
    title = f"{result['cases']} faults of {result['file']}, asked {result['after_s']:g} s after each"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in ("AS@1", "AS@3", "AS@5"):
        table.add_column(name, justify="right")
    rows = {"pods": result["pods"], "services": result["services"]}
    rows |= {f"floor, {kind}": scores for kind, scores in result["floor"].items()}
    rows |= {f"pods, {kind} ({of['cases']})": of["pods"] for kind, of in result["by_fault"].items()}
    for name, scores in rows.items():
        table.add_row(name, *(f"{scores[cut]:.1f}" for cut in ("AS@1", "AS@3", "AS@5")))
    return table
