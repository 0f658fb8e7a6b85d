"""Unit tests cannot start Ray: what needs it belongs to tests/integration."""

import pytest


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError(
            "a unit test started Ray; build the plain class, or move the test to tests/integration"
        )

    monkeypatch.setattr("ray.init", refuse)
