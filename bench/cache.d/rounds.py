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
        self.example = "synapse-load --help"

    def run(self, server, contestant, *words, seconds=None, warmup=None, ahead=()):
        """One load; a wrong answer ends the benchmark."""
        load = self.start(server, contestant, *words, seconds=seconds, warmup=warmup, ahead=ahead)
        self.example = " ".join(["synapse-load --unix SOCKET --wire", contestant.wire, "--server-pid PID", *load.command[9:]])
        return load.report()

    def start(self, server, contestant, *words, seconds=None, warmup=None, ahead=()):
        """A load that runs beside others until its report is asked for."""
        return Load(self.program, server, contestant, [
            "--seconds", str(self.seconds if seconds is None else seconds),
            "--warmup", str(self.warmup if warmup is None else warmup), *map(str, words)], ahead)


class Load:
    """A running generator."""

    def __init__(self, program, server, contestant, words, ahead):
        self.server, self.contestant = server, contestant
        self.json = tempfile.NamedTemporaryFile(suffix=".json")
        self.command = [program, "--unix", server.path, "--wire", contestant.wire,
                        "--server-pid", str(server.process.pid), "--json", self.json.name, *words]
        self.process = subprocess.Popen([*ahead, "taskset", "-c", GENERATOR_CORE, *self.command],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def runs(self):
        return self.process.poll() is None

    def report(self):
        """What it found, when it has ended."""
        _, complaint = self.process.communicate(timeout=1800)
        with self.json:
            if self.process.returncode:
                sys.exit(f"bench/cache: {self.contestant.name}: {complaint.strip()}\n  {' '.join(self.command)}\n{self.server.said()}")
            return json.load(self.json)


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
