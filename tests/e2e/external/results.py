"""The results of Kubernetes' storage suites, from Ginkgo's JSON report: a table, and reasons."""

from __future__ import annotations

import collections
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

_FIRST_OF_NAMES = "External Storage"
_LONGEST_REASON = 400


class Outcome(Enum):
    """How a spec ended. The values are headings of the table."""

    PASSED = "passed"
    FAILED = "failed"
    KNOWN = "failed, known"
    SKIPPED = "skipped"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Known:
    """Specs whose failure is no fault of the driver.

    Attributes:
        name: a regular expression that is found in the names of these specs.
        reason: why they fail, for readers.
    """

    name: str
    reason: str


KNOWN: Sequence[Known] = (
    Known(
        r"\(filesystem volmode\)\] multiVolume .*concurrently access the single volume from pods on diff",
        "the spec mounts one filesystem on two nodes for writing. The driver refuses that, because it would "
        "destroy the filesystem. ReadWriteMany is for block volumes, and the suites have one switch for both",
    ),
)
"""What may fail. Each other failure is one of the driver, of the chart or of the cluster."""

GROWING: Sequence[Known] = tuple(
    Known(
        name,
        "the kernel lets only processes with CAP_SYS_RESOURCE grow a mounted ext4, which root lacks here",
    )
    for name in (
        r"\(default fs\).* should support expansion of pvcs created for ephemeral pvcs",
        r"\(default fs\).* should resize volume when PVC is edited while pod is using it",
    )
)
"""What cannot succeed on ext4 on a machine that does not give that capability."""


@dataclass(frozen=True, slots=True)
class Result:
    """One spec.

    Attributes:
        filesystem: the default filesystem in this run, or another name of the run.
        suite: the suite, such as ``subPath``.
        name: the whole name without the driver's.
        outcome: how it ended.
        reason: why it was skipped or failed; empty for one that passed.
        seconds: how long it took.
    """

    filesystem: str
    suite: str
    name: str
    outcome: Outcome
    reason: str
    seconds: float


def read(report: Path, filesystem: str) -> list[Result]:
    """The specs of a JSON report that were selected, in the order of their names.

    Raises:
        OSError, ValueError: there is no complete report.
    """
    suites = json.loads(report.read_text(encoding="utf-8"))
    specs = [spec for suite in suites for spec in suite["SpecReports"] or ()]
    return sorted(_results(specs, filesystem), key=lambda result: result.name)


def _results(specs: Iterable[Mapping[str, Any]], filesystem: str) -> Iterator[Result]:
    for spec in specs:
        texts = spec["ContainerHierarchyTexts"] or [""]
        if spec["LeafNodeType"] != "It" or not texts[0].startswith(_FIRST_OF_NAMES):
            continue
        failure = spec.get("Failure") or {}
        reason = " ".join(failure.get("Message", "").split())[:_LONGEST_REASON]
        if spec["State"] == "skipped" and not reason:
            continue  # it was not selected
        name = " ".join([*texts[1:], spec["LeafNodeText"]])
        outcome = _outcome(spec["State"], name)
        if outcome is Outcome.KNOWN:
            reason = next(known.reason for known in KNOWN if re.search(known.name, name))
        yield Result(filesystem, suite_of(texts[1]), name, outcome, reason, spec["RunTime"] / 10**9)


def _outcome(state: str, name: str) -> Outcome:
    if state == "passed":
        return Outcome.PASSED
    if state in ("skipped", "pending"):
        return Outcome.SKIPPED
    if state in ("interrupted", "aborted", "timedout"):
        return Outcome.INTERRUPTED
    return Outcome.KNOWN if any(re.search(known.name, name) for known in KNOWN) else Outcome.FAILED


def suite_of(text: str) -> str:
    """The name of the suite in the text of its container: the first word after the pattern and the labels."""
    words = re.sub(r"^(?:\[[^]]*\]\s*)+", "", text).split()
    return words[0] if words else text


def table(results: Sequence[Result]) -> str:
    """A table of Markdown: a row for each suite and filesystem, and their sum."""
    headings = ["suite", "filesystem", *(outcome.value for outcome in Outcome), "seconds"]
    rows = [headings, ["---"] * len(headings)]
    groups: dict[tuple[str, str], list[Result]] = collections.defaultdict(list)
    for result in results:
        groups[result.suite, result.filesystem].append(result)
    rows += [[*key, *_figures(group)] for key, group in sorted(groups.items())]
    rows.append(["all", "", *_figures(results)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _figures(results: Sequence[Result]) -> list[str]:
    counts = collections.Counter(result.outcome for result in results)
    seconds = sum(result.seconds for result in results)
    return [*(str(counts[outcome]) for outcome in Outcome), f"{seconds:.0f}"]


def reasons(results: Sequence[Result]) -> str:
    """Why specs were skipped, with numbers, and each spec that failed or was interrupted, in Markdown."""
    lines = []
    skipped = collections.Counter(
        result.reason.removesuffix(" - skipping").removesuffix(" -- skipping")
        for result in results
        if result.outcome is Outcome.SKIPPED
    )
    if skipped:
        lines += ["Skipped:", "", *(f"- {count}: {reason}" for reason, count in skipped.most_common()), ""]
    for outcome in (Outcome.KNOWN, Outcome.FAILED, Outcome.INTERRUPTED):
        of_it = [result for result in results if result.outcome is outcome]
        if of_it:
            lines += [f"{outcome.value.capitalize()}:", ""]
            lines += [f"- {each.filesystem}: {each.name}: {each.reason}" for each in of_it]
            lines.append("")
    return "\n".join(lines).rstrip()


def is_success(results: Sequence[Result]) -> bool:
    """Whether specs ran, and none failed for an unknown reason or was interrupted."""
    wrong = (Outcome.FAILED, Outcome.INTERRUPTED)
    return any(result.outcome is Outcome.PASSED for result in results) and not any(
        result.outcome in wrong for result in results
    )
