"""What the replica axis saves: n networks in one run against n runs of one.

    python benchmarks/formation.py [--quick] [--json]

Both take the same steps on the same data in one process, alternating, and the median of
the ratios of their CPU times is printed. `--quick` leaves out the largest number.
"""

import argparse
import json
import statistics
import time
from dataclasses import replace

import torch

from interp.formation import Experiment, NetworkConfig, RepeatedTokens, TrainingConfig
from interp.formation.training import train


REPLICAS = (2, 4, 8)
ROUNDS = 5
STEPS = 10


def cpu_seconds(experiment: Experiment) -> float:
    """CPU time of training without evaluations."""
    start = time.process_time()
    train(experiment)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="What the replica axis saves.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    task = RepeatedTokens()
    one = Experiment(
        network=NetworkConfig(symbols=32, outputs=32, symbol_std=0.5),
        task=task,
        training=TrainingConfig(steps=STEPS, evaluate_every=STEPS),
        seeds=(0,),
    )
    cpu_seconds(one)
    for count in REPLICAS[:2] if options.quick else REPLICAS:
        ratios, per_step = [], []
        for _ in range(ROUNDS):
            alone = sum(cpu_seconds(replace(one, seeds=(s,))) for s in range(count))
            together = cpu_seconds(replace(one, seeds=tuple(range(count))))
            ratios.append(alone / together)
            per_step.append(1000 * together / (count * STEPS))
        ratio = statistics.median(ratios)
        found.append({"name": f"{count} replicas", "value": ratio, "better": "higher"})
        if not options.json:
            print(
                f"{count} replicas: {ratio:.2f} x as fast as one at a time;"
                f" {statistics.median(per_step):.1f} ms per replica and step"
            )
    if options.json:
        print(json.dumps({"steps": STEPS, "rounds": ROUNDS, "ratios": found}))


if __name__ == "__main__":
    main()
