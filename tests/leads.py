"""Where the documentation leads from what an operator sees: messages, lines of the log, alerts, checks."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import yaml

from csi_powerflex.model.checks import Check, Level

ROOT = Path(__file__).parents[1]
_RULES = ROOT / "charts" / "csi-powerflex" / "files" / "rules.yaml"


def anchors(page: str) -> set[str]:
    """The anchors of the headings of a page, such as ``docs/doctor.md``."""
    text = (ROOT / page).read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@functools.cache
def _entries() -> dict[str, tuple[re.Pattern[str], ...]]:
    """The entries of the page about troubleshooting: what each quotes of messages and log lines."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    found = {}
    for heading, symptom in re.findall(r"^### (.+)\n\n> (.+)$", page, flags=re.MULTILINE):
        quotes = [quote for quote in re.findall(r"`([^`]+)`", symptom) if " " in quote]
        found[heading] = tuple(
            re.compile(".*".join(re.escape(part) for part in quote.split("…")), re.DOTALL) for quote in quotes
        )
    return found


def entries(text: str) -> set[str]:
    """The entries of docs/troubleshooting.md that one finds with ``text``, because they quote it."""
    return {heading for heading, quotes in _entries().items() if any(quote.search(text) for quote in quotes)}


def alert(name: str) -> str:
    """The expression of an alert of the chart. Its section in docs/monitoring.md must exist."""
    assert name.lower() in anchors("docs/monitoring.md")
    return str(_rule(name)["expr"])


def words_of(name: str) -> list[str]:
    """The words of the log that the alert tells to look for."""
    return re.findall(r'"([^"]+)"', _rule(name)["annotations"]["action"])


def _rule(name: str) -> dict[str, Any]:
    groups = yaml.safe_load(_RULES.read_text(encoding="utf-8"))["groups"]
    (found,) = (rule for group in groups for rule in group["rules"] if rule.get("alert") == name)
    return dict(found)


def problems(checks: list[Check]) -> dict[str, Check]:
    """The gravest check of each name that is not ok. Each says what to do; its section in the page exists."""
    gravest_last = sorted(checks, key=lambda check: check.level is Level.FAULT)
    found = {check.name: check for check in gravest_last if check.level is not Level.OK}
    for check in found.values():
        page, _, section = check.page.partition("#")
        assert section in anchors(page), check.page
        assert check.remedy
    return found
