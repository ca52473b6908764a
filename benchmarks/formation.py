"""What the replica axis saves: n networks in one run against n runs of one.

Run with `python benchmarks/formation.py`. Both take the same steps on the same data in
one process, alternating, and the median of the ratios of their CPU times is printed.
"""

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
    torch.set_num_threads(1)
    task = RepeatedTokens()
    one = Experiment(
        network=NetworkConfig(symbols=32, outputs=32, symbol_std=0.5),
        task=task,
        training=TrainingConfig(steps=STEPS, evaluate_every=STEPS),
        seeds=(0,),
    )
    cpu_seconds(one)
    for count in REPLICAS:
        ratios, per_step = [], []
        for _ in range(ROUNDS):
            alone = sum(cpu_seconds(replace(one, seeds=(s,))) for s in range(count))
            together = cpu_seconds(replace(one, seeds=tuple(range(count))))
            ratios.append(alone / together)
            per_step.append(1000 * together / (count * STEPS))
        print(
            f"{count} replicas: {statistics.median(ratios):.2f} x as fast as one at a "
            f"time; {statistics.median(per_step):.1f} ms per replica and step"
        )


if __name__ == "__main__":
    main()
