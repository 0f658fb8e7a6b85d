"""A door and a stream without Ray between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from actors.gateway.intake import Intake
from actors.stream.core import Stream
from agent.settings import GatewaySettings, StreamSettings
from agent.telemetry.batch import Signal
from agent.telemetry.remote_write import Packed
from agent.telemetry.remote_write_client import encode_write_request
from agent.windows.log import LogReader, LogWriter
from agent.windows.sampleintake import SampleIntake
from agent.windows.tenant import Applied, TenantWindow
from tests.otlp import NOW_NS
from tests.unit.windows.metrics.building import Samples


class Fed:
    """``send`` bodies, and the stream has them."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.settings = StreamSettings(**settings)
        self.intake = Intake(GatewaySettings(max_future_s=10**6), 1)
        self.written = SampleIntake(GatewaySettings(max_future_s=10**6), 1)
        self.writer = LogWriter(folder, self.settings.segment_bytes)
        self.stream = Stream(0, self.settings, LogReader(folder))

    def send(
        self, signal: Signal, body: bytes, tenant: str = "default", received_ns: int = NOW_NS
    ) -> list[tuple[TenantWindow, Applied]]:
        for _, buffers in self.intake.accept(signal, body, tenant, received_ns).writes:
            self.writer.append(buffers)
        return list(self.stream.follow(self.writer.position))

    def write(self, samples: Samples, tenant: str = "default", received_ns: int = NOW_NS) -> None:
        """As remote write does."""
        body = Packed(encode_write_request(samples.items()))
        for _, buffers in self.written.take(tenant, [body], received_ns, [self.writer.position]).writes:
            self.writer.append(buffers)
        list(self.stream.follow(self.writer.position))

    def restarted(self) -> Stream:
        again = Stream(0, self.settings, LogReader(self.folder))
        again.recover()
        return again

    @property
    def window(self) -> TenantWindow:
        return self.stream.window("default")
