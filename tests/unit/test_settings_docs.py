"""``docs/settings.md`` against the code. ``UPDATE_DOCS=1 pytest tests/unit/test_settings_docs.py`` writes it anew."""

from __future__ import annotations

import os
from itertools import groupby
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from agent.secret import Secret
from agent.setting import Meta
from agent.settings import ENV_ALIASES, ENV_PREFIX, Settings, documented

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"
BEGIN, END = "<!-- settings -->\n", "<!-- end of settings -->\n"


def tables() -> str:
    parts = []
    for section, rows in groupby(documented(), key=lambda row: row[0]):
        parts.append(
            f"\n## {section}\n\n| key | default | range | meaning | environment |\n| --- | --- | --- | --- | --- |\n"
        )
        parts += [_row(section, key, default, meta) for _, key, default, meta in rows]
    return "".join(parts) + "\n"


def _row(section: str, key: str, default: Any, meta: Meta) -> str:
    section_class = get_type_hints(Settings)[section]
    kind = get_type_hints(section_class)[key]
    names = [f"`{ENV_PREFIX}{section.upper()}_{key.upper()}`"]
    names += [f"`{alias}`" for alias, at in ENV_ALIASES.items() if at == (section, key)]
    cells = [f"`{key}`", _shown(default), meta.expected(kind), meta.doc, ", ".join(names)]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _shown(default: Any) -> str:
    if isinstance(default, Secret) or default in ("", None):
        return "(empty)"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:g}`" if isinstance(default, float) and default < 1e6 else f"`{default}`"


def written() -> tuple[str, str, str]:
    """What stands before, between and after the marks."""
    before, _, rest = DOCS.read_text(encoding="utf-8").partition(BEGIN)
    between, _, after = rest.partition(END)
    return before, between, after


def test_every_setting_is_documented() -> None:
    before, between, after = written()
    if os.environ.get("UPDATE_DOCS"):
        DOCS.write_text(before + BEGIN + tables() + END + after, encoding="utf-8")
    elif between != tables():
        pytest.fail("docs/settings.md is not what the code says; UPDATE_DOCS=1 with this test writes it anew")


def test_settings_say_what_they_mean() -> None:
    for section, key, _, meta in documented():
        assert meta.doc.endswith("."), f"{section}.{key}: the meaning is a sentence"
