"""``python -m tests.soak``: the long soak test. It prints its figures and fails if it found an error."""

from __future__ import annotations

import argparse
import sys

from tests.soak.run import Plan, run


def main() -> int:
    """Run the plan that the command line describes. Returns the exit status."""
    default = Plan()
    parser = argparse.ArgumentParser(prog="make soak")
    parser.add_argument("--volumes", type=int, default=default.volumes)
    parser.add_argument("--clients", type=int, default=default.clients)
    parser.add_argument("--version", default=default.version)
    parser.add_argument("--frozen-seconds", type=float, default=default.frozen_seconds)
    parser.add_argument("--seed", type=int, default=default.seed)
    outcome = run(Plan(**vars(parser.parse_args())))
    print("\n".join(outcome.lines()))  # noqa: T201 - a command prints
    errors = outcome.errors()
    for error in errors:
        print(f"FAILED: {error}")  # noqa: T201
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
