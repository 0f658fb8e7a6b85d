"""A language model server that speaks OpenAI's protocol and says sensible, canned things.

It is a stub of the model, not of the protocol: latency grows with the tokens written, as it would.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from demo.shop.service import Service

MODEL = "shop-small-1"
FIRST_TOKEN_S = 0.05
TOKEN_MEDIAN_S, TOKEN_SPREAD = 0.0025, 0.2
SENTENCES = (
    "It is made to last and easy to clean.",
    "Most customers who bought it are happy with it.",
    "It ships within two days.",
    "You can send it back within thirty days.",
    "It goes well with the other things in its category.",
    "The guarantee is two years.",
)


class Model(Service):
    """Knob: ``slowdown`` multiplies the time of each token by 1 + its value."""

    name = "model"

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.post("/v1/chat/completions", self.complete), web.get("/v1/models", self.models)]

    async def models(self, _: web.Request) -> web.Response:
        return web.json_response(
            {"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "shop"}]}
        )

    async def complete(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
            prompt = " ".join(str(message["content"]) for message in body["messages"])
        except (ValueError, KeyError, TypeError) as error:
            return _refusal(f"expected a JSON object with messages, each with content: {error!r}")
        if body.get("model") != MODEL:
            return _refusal(f"got model {body.get('model')!r}, expected {MODEL!r}")
        text = " ".join(random.sample(SENTENCES, 2))
        read, written = len(prompt) // 4, len(text) // 4
        pace_s = (
            TOKEN_MEDIAN_S * random.lognormvariate(0, TOKEN_SPREAD) * (1 + self.knobs.get("slowdown", 0.0))
        )
        await asyncio.sleep(FIRST_TOKEN_S + written * pace_s)
        completion = f"chatcmpl-{uuid.uuid4().hex[:16]}"
        self.log.info("completion %s: %d tokens read, %d written", completion, read, written)
        return web.json_response(_completion(completion, text, read, written))


def _completion(completion: str, text: str, read: int, written: int) -> dict[str, Any]:
    return {
        "id": completion,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": MODEL,
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
    }


def _refusal(message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "invalid_request_error"}}, status=400)
