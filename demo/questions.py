"""The end of the demo: a person asks, the layer answers, until the input ends."""

from __future__ import annotations

from rich.text import Text

from chatops.terminal.answers import render as answer_view
from chatops.terminal.prompt import Lines
from chatops.terminal.untrusted import shown
from demo.scenario import QUESTION, Api, LayerFailed
from demo.screen import console, progress


async def ask_more(layer: Api, lines: Lines) -> None:
    """Question after question until the input ends. Ctrl-C cancels it, also while it waits for a line."""
    console.rule("ask more; Ctrl-D or Ctrl-C ends it")
    while True:
        console.print(Text.assemble(("ask ", "bold"), (f"({QUESTION})", "dim"), ": "), end="")
        line = await lines.next()
        if line is None:
            console.print()
            return
        try:
            with progress("thinking"):
                answer = await layer.ask(line.strip() or QUESTION)
            console.print(answer_view(answer))
        except LayerFailed as failed:
            console.print(Text(shown(str(failed)), style="red"))
