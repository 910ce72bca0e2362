"""``python -m tests.soak``: the long form of the soak, with its figures; fails when anything went wrong."""

from __future__ import annotations

import argparse
import sys

from tests.soak.run import Plan, run


def main() -> int:
    """Run the plan that the command line gives; the exit status."""
    default = Plan()
    parser = argparse.ArgumentParser(prog="make soak")
    parser.add_argument("--volumes", type=int, default=default.volumes)
    parser.add_argument("--clients", type=int, default=default.clients)
    parser.add_argument("--version", default=default.version)
    parser.add_argument("--frozen-seconds", type=float, default=default.frozen_seconds)
    parser.add_argument("--seed", type=int, default=default.seed)
    asked = parser.parse_args()
    outcome = run(Plan(**vars(asked)))
    print("\n".join(outcome.lines()))  # noqa: T201 - what it is for
    faults = outcome.faults_found()
    for fault in faults:
        print(f"FAILED: {fault}")  # noqa: T201
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
