"""A collector of annotations that remembers where they pointed."""

from __future__ import annotations


class Heard:
    def __init__(self) -> None:
        self.warnings: list[tuple[str, int]] = []
        self.infos: list[tuple[str, int]] = []

    def warning(self, text: str, argument: int = 0) -> None:
        self.warnings.append((text, argument))

    def info(self, text: str, argument: int = 0) -> None:
        self.infos.append((text, argument))
