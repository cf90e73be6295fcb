"""Runs the generator, lets the contestants take turns, and sums the rounds up."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

from contestants import GENERATOR_CORE


@dataclass
class Figure:
    """A figure of several rounds, and how it compares with the first contestant's in the same rounds."""

    median: float
    ratio: float
    least: float
    most: float


class Generator:
    """The load generator, pinned to its core."""

    def __init__(self, program, seconds, warmup):
        self.program, self.seconds, self.warmup = program, seconds, warmup
        self.example = ""

    def run(self, server, contestant, *words, seconds=None, warmup=None):
        """One load; a wrong answer ends the benchmark."""
        with tempfile.NamedTemporaryFile(suffix=".json") as report:
            command = [self.program, "--unix", server.path, "--wire", contestant.wire,
                       "--server-pid", str(server.process.pid), "--json", report.name,
                       "--seconds", str(self.seconds if seconds is None else seconds),
                       "--warmup", str(self.warmup if warmup is None else warmup), *map(str, words)]
            self.example = " ".join(["synapse-load --unix SOCKET --wire", contestant.wire, "--server-pid PID", *command[9:]])
            done = subprocess.run(["taskset", "-c", GENERATOR_CORE, *command], capture_output=True, text=True, timeout=1800)
            if done.returncode:
                sys.exit(f"bench/cache: {contestant.name}: {done.stderr.strip()}\n  {' '.join(command)}\n{server.said()}")
            return json.load(report)


def take_turns(rounds, contestants, measure):
    """`measure(contestant)` of each, so many rounds, every round beginning with another."""
    results = {one.name: [] for one in contestants}
    for turn in range(rounds):
        first = turn % len(contestants)
        for one in contestants[first:] + contestants[:first]:
            results[one.name].append(measure(one))
    return results


def figures(results, pick, against=None):
    """A figure of each contestant. `pick` finds it in a report; ratios are taken within a round, then their median."""
    picked = {name: [pick(report) for report in reports] for name, reports in results.items()}
    base = picked[against or next(iter(picked))]
    summed = {}
    for name, values in picked.items():
        ratios = [value / other if other else float("nan") for value, other in zip(values, base)]
        summed[name] = Figure(statistics.median(values), statistics.median(ratios), min(ratios), max(ratios))
    return summed


def others_busy(seconds=1.0):
    """The share of the machine's time that is not idle (0 to 1) while the benchmark itself rests."""
    def look():
        with open("/proc/stat", encoding="ascii") as stat:
            fields = [int(word) for word in stat.readline().split()[1:]]
        return sum(fields), fields[3] + fields[4]

    before = look()
    time.sleep(seconds)
    after = look()
    return 1 - (after[1] - before[1]) / max(after[0] - before[0], 1)


def cores():
    return os.sched_getaffinity(0)
