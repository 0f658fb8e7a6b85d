"""Assistant: answers questions about a product with the help of a language model."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from typing import Any

from aiohttp import web
from opentelemetry import metrics, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from demo.shop.service import Service
from demo.shop.services.model import MODEL

PROMPT = "You answer questions of a shop's customers in two sentences. The product: {title}, {price} EUR, {stars} stars."
DURATION_BOUNDS_S = [0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8]
TOKEN_BOUNDS = [4, 16, 64, 256, 1024, 4096]


class Assistant(Service):
    name = "assistant"

    async def open(self) -> None:
        meter = metrics.get_meter("shop.assistant")
        self.tracer = trace.get_tracer("shop.assistant")
        self.durations = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            explicit_bucket_boundaries_advisory=DURATION_BOUNDS_S,
        )
        self.tokens = meter.create_histogram(
            "gen_ai.client.token.usage", unit="{token}", explicit_bucket_boundaries_advisory=TOKEN_BOUNDS
        )

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.post("/answers", self.answer)]

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        product = await self.call("catalogue", "GET", f"/products/{int(body['product'])}")
        question = f"q-{uuid.uuid4().hex[:10]}"
        self.log.info(
            "question %s about product %d from customer %s", question, product["id"], body["customer"]
        )
        system = PROMPT.format(
            title=product["title"], price=product["price_cents"] / 100, stars=product["stars"]
        )
        messages = [{"role": "system", "content": system}, {"role": "user", "content": str(body["question"])}]
        completion = await self._chat(messages)
        self.log.info(
            "question %s answered with %d tokens by %s",
            question, completion["usage"]["completion_tokens"], completion["model"],
        )  # fmt: skip
        return web.json_response(
            {"question": question, "answer": completion["choices"][0]["message"]["content"]}
        )

    async def _chat(self, messages: list[dict[str, str]]) -> Any:
        about = {"gen_ai.operation.name": "chat", "gen_ai.system": "openai", "gen_ai.request.model": MODEL}
        request = {"gen_ai.request.max_tokens": 200, "gen_ai.request.temperature": 0.2}
        began_s = time.perf_counter()
        with self.tracer.start_as_current_span(
            f"chat {MODEL}", kind=SpanKind.CLIENT, attributes={**about, **request}
        ) as span:
            body = {"model": MODEL, "messages": messages, "max_tokens": 200, "temperature": 0.2}
            completion = await self.call("model", "POST", "/v1/chat/completions", body=body)
            usage = completion["usage"]
            span.set_attribute("gen_ai.response.model", completion["model"])
            span.set_attribute("gen_ai.response.id", completion["id"])
            span.set_attribute("gen_ai.response.finish_reasons", [completion["choices"][0]["finish_reason"]])
            span.set_attribute("gen_ai.usage.input_tokens", usage["prompt_tokens"])
            span.set_attribute("gen_ai.usage.output_tokens", usage["completion_tokens"])
            span.set_status(Status(StatusCode.OK))
        self.durations.record(time.perf_counter() - began_s, about)
        self.tokens.record(usage["prompt_tokens"], {**about, "gen_ai.token.type": "input"})
        self.tokens.record(usage["completion_tokens"], {**about, "gen_ai.token.type": "output"})
        return completion
