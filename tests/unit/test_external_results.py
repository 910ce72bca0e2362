"""The table of Kubernetes' storage suites counts what Ginkgo reports, and fails for what is not known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.external import results
from tests.e2e.external.results import KNOWN, Outcome

EXT4 = "[Testpattern: Dynamic PV (default fs)] subPath"
ON_TWO_NODES = (
    "[Testpattern: Dynamic PV (filesystem volmode)] multiVolume [Slow]",
    "should concurrently access the single volume from pods on different node",
)


def spec(
    suite: str = EXT4, text: str = "should work", state: str = "passed", message: str = "", **more: Any
) -> dict[str, Any]:
    return {
        "ContainerHierarchyTexts": ["External Storage [Driver: csi.powerflex.dev]", suite],
        "LeafNodeText": text,
        "LeafNodeType": "It",
        "State": state,
        "RunTime": 1_500_000_000,
        **({"Failure": {"Message": message}} if message else {}),
        **more,
    }


@pytest.fixture
def report(tmp_path: Path) -> Any:
    def write(*specs: dict[str, Any]) -> list[results.Result]:
        path = tmp_path / "report.json"
        path.write_text(json.dumps([{"SpecReports": specs}]))
        return results.read(path, "ext4")

    return write


def test_a_spec_that_was_not_selected_is_no_result(report: Any) -> None:
    found = report(spec(), spec(text="should not run", state="skipped"))
    assert [result.name for result in found] == [f"{EXT4} should work"]


def test_a_spec_of_another_package_is_no_result(report: Any) -> None:
    assert report(spec(ContainerHierarchyTexts=["[sig-node] Pods", "work"])) == []


def test_a_node_that_is_no_spec_is_no_result(report: Any) -> None:
    assert report(spec(LeafNodeType="SynchronizedBeforeSuite", ContainerHierarchyTexts=None)) == []


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        ("passed", Outcome.PASSED),
        ("failed", Outcome.FAILED),
        ("panicked", Outcome.FAILED),
        ("skipped", Outcome.SKIPPED),
        ("interrupted", Outcome.INTERRUPTED),
        ("timedout", Outcome.INTERRUPTED),
    ],
)
def test_each_state_of_ginkgo_has_its_column(report: Any, state: str, outcome: Outcome) -> None:
    (result,) = report(spec(state=state, message="no" if state != "passed" else ""))
    assert result.outcome is outcome


def test_a_filesystem_on_two_nodes_is_a_known_failure_with_its_reason(report: Any) -> None:
    suite, text = ON_TWO_NODES
    (result,) = report(spec(suite, text, "failed", "timed out"))
    assert (result.outcome, result.reason) == (Outcome.KNOWN, KNOWN[0].reason)


def test_a_block_volume_on_two_nodes_must_work(report: Any) -> None:
    suite, text = ON_TWO_NODES
    (result,) = report(spec(suite.replace("filesystem", "block"), text, "failed", "timed out"))
    assert result.outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("text", "suite"),
    [
        ("[Testpattern: Dynamic PV (default fs)] subPath", "subPath"),
        ("[Testpattern: Dynamic PV (xfs)] [Slow] volumes", "volumes"),
        (
            "[Testpattern:  (delete policy)] volumegroupsnapshottable [Feature:x] Y",
            "volumegroupsnapshottable",
        ),
    ],
)
def test_a_suite_is_named_after_its_pattern_and_labels(text: str, suite: str) -> None:
    assert results.suite_of(text) == suite


def test_the_table_has_a_row_for_each_suite_and_a_sum(report: Any) -> None:
    found = report(
        spec(),
        spec(text="should not fit", state="skipped", message='Driver "x" does not support it - skipping'),
        spec("[Testpattern: Dynamic PV (default fs)] volumes", state="failed", message="it\n  broke"),
    )
    assert results.table(found).splitlines() == [
        "| suite | filesystem | passed | failed | failed, known | skipped | interrupted | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| subPath | ext4 | 1 | 0 | 0 | 1 | 0 | 3 |",
        "| volumes | ext4 | 0 | 1 | 0 | 0 | 0 | 2 |",
        "| all |  | 1 | 1 | 0 | 1 | 0 | 4 |",
    ]
    assert results.reasons(found).splitlines() == [
        "Skipped:",
        "",
        '- 1: Driver "x" does not support it',
        "",
        "Failed:",
        "",
        "- ext4: [Testpattern: Dynamic PV (default fs)] volumes should work: it broke",
    ]


@pytest.mark.parametrize(
    ("specs", "success"),
    [
        ([], False),
        ([spec(state="skipped", message="no")], False),
        ([spec()], True),
        ([spec(), spec(*ON_TWO_NODES, "failed", "no")], True),
        ([spec(), spec(text="b", state="failed", message="no")], False),
        ([spec(), spec(text="b", state="interrupted", message="no")], False),
    ],
)
def test_a_run_succeeds_if_something_passed_and_nothing_unknown_failed(
    report: Any, specs: list[dict[str, Any]], success: bool
) -> None:
    assert results.is_success(report(*specs)) is success
