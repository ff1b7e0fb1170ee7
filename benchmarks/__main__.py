"""`python -m benchmarks` lists the benchmarks, `python -m benchmarks NAME` runs one."""

from __future__ import annotations

import argparse
import json
from functools import partial
from typing import Any

from benchmarks import (
    alignment,
    distilling,
    engines,
    ensemble_together,
    features,
    growth,
    peers,
    posterior_store,
    sequence,
    top_k,
    training_step,
)
from kd_asr.parallel import parallel_map

BENCHMARKS = {
    "alignment": (alignment.measure, alignment.SUMMARY),
    "distilling": (distilling.measure, distilling.SUMMARY),
    "engines": (engines.measure, engines.SUMMARY),
    "ensemble_together": (ensemble_together.measure, ensemble_together.SUMMARY),
    "features": (features.measure, features.SUMMARY),
    "growth": (growth.measure, growth.SUMMARY),
    "peers": (peers.measure, peers.SUMMARY),
    "posterior_store": (posterior_store.measure, posterior_store.SUMMARY),
    "sequence": (sequence.measure, sequence.SUMMARY),
    "top_k": (top_k.measure, top_k.SUMMARY),
    "training_step": (training_step.measure, training_step.SUMMARY),
}
# Measured where recipes train: in a worker, which has its own environment.
IN_WORKER = ("distilling", "ensemble_together", "training_step")


def measured(repeats: int, *, name: str) -> dict[str, Any]:
    """What the benchmark finds."""
    measure, _ = BENCHMARKS[name]
    return measure(repeats=repeats)


def main() -> None:
    """Parse, run, print JSON."""
    listed = "\n".join(f"  {name}: {summary}" for name, (_, summary) in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"Each compares two speeds within one run and gives medians over its repeats.\n\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", choices=sorted(BENCHMARKS), help="the one to run; none: list them")
    parser.add_argument("--repeats", type=int, default=9, help="measurements of which the median is taken (default: 9)")
    arguments = parser.parse_args()
    if arguments.name is None:
        print(listed)
        return
    run = partial(measured, name=arguments.name)
    if arguments.name in IN_WORKER:
        [found] = parallel_map(run, [arguments.repeats], description=arguments.name, unit="benchmarks", jobs=1)
    else:
        found = run(arguments.repeats)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
