"""Fairness: what a connection that sends 10,000 requests at once does to one that sends one at a time."""

import statistics
import sys
import time
from contextlib import ExitStack

import page
from contestants import Server, contestants, precedence
from rounds import figures
from sockets import KINDS

HOG = 10_000
# Of the other's requests in bytes, at once: a longer write keeps the generators' core, where the kernel is never interrupted.
WRITE = 16 << 10
# Until the hog has the server busy, and as long as it goes on after the other has ended.
LEAD, TRAIL = 0.3, 0.7
GOAL = 2.0
ALONE = "nobody"
# Keys of another length have values of another size.
LARGE = ("--keys", 1000, "--key-size", 20, "--size", "1Ki")
HOGS = {"10,000 GETs at once": ("--gets", 1), "10,000 SETs at once": ("--gets", 0), "10,000 GETs of 1 KiB at once": ("--gets", 1, *LARGE)}


class Neighbours:
    """All servers, a connection that is measured, and another one that is not."""

    def __init__(self, run, stack):
        self.run, self.ahead, self.servers = run, precedence(), {}
        self.keys = ("--keys", 10_000 if run.short else 100_000)
        self.contestants = contestants(*KINDS)
        for one in self.contestants:
            if one.kind not in self.servers:
                self.servers[one.kind] = stack.enter_context(Server(run.programs, one, run.folder))
                for words in (self.keys, LARGE):
                    run.generator.run(self.servers[one.kind], one, *words, seconds=0.05, warmup=0)
        if self.ahead:
            [self.bare] = contestants("bare")
            self.servers["bare"] = stack.enter_context(Server(run.programs, self.bare, run.folder, ahead=self.ahead))

    def alone(self, one, **more):
        """GETs of one connection, one in flight."""
        words = (*self.keys, "--connections", 1, "--no-fill")
        return self.run.generator.run(self.servers[one.kind], one, *words, ahead=self.ahead, **more)

    def beside(self, other, words, one):
        """The same, while another connection does this at `other`'s server; its report is in the report."""
        length = self.run.generator.seconds + LEAD + TRAIL
        load = (*self.keys, "--connections", 1, "--pipeline", HOG, "--write", WRITE, "--no-fill", *words)
        hog = self.run.generator.start(self.servers[other.kind], other, *load, seconds=length, warmup=0)
        time.sleep(LEAD)
        found = self.alone(one, warmup=0)
        if not hog.runs():
            sys.exit(f"bench/cache: {other.name}: the hog ended before the other did")
        return found | {"hog": hog.report()}

    def measure(self, one):
        """The reports of all rounds: those of one's own server, and those of the control."""
        own, control = ({name: [] for name in (ALONE, *HOGS)} for _ in range(2))
        for _ in range(self.run.rounds):
            own[ALONE].append(self.alone(one))
            for name, words in HOGS.items():
                own[name].append(self.beside(one, words, one))
            if self.ahead:
                control[ALONE].append(self.alone(self.bare))
                for name, words in HOGS.items():
                    control[name].append(self.beside(one, words, self.bare))
        return own, control if self.ahead else None


def fairness(run):
    """The victim alone and beside a hog, at the same server; and, as a control, at another one on the same core."""
    rows, worst = [], {}
    with ExitStack() as stack:
        neighbours = Neighbours(run, stack)
        if not neighbours.ahead:
            run.say("fairness: no precedence to be had (chrt --fifo 1), so the hog delays the other's generator, too, and there is no control")
        for one in neighbours.contestants:
            own, control = neighbours.measure(one)
            p50, p99 = (figures(own, quantile(which)) for which in ("p50", "p99"))
            others = figures(control, quantile("p99")) if control else None
            for name in own:
                base = name == ALONE
                hogs = [f"{statistics.median(report['hog']['operations_per_second'] for report in own[name]):,.0f}"] if not base else [""]
                rows.append([one.name, name, *(page.cell(figure[name], "{:.0f}", base) for figure in (p50, p99)),
                             page.cell(others[name], "{:.0f}", base) if others else "", *hogs])
            worst[one.name] = max(p99[name].ratio for name in HOGS)
    run.say("p99 beside a connection with 10,000 in flight, to that alone: " + ", ".join(f"{name} {ratio:.1f}" for name, ratio in worst.items()))
    explained = [
        "Its generator has its core before the other one's. The control asks a bare server that has the core before the server under test, while that one is",
        "driven in the same way: what is left of the ratio there is the machine's and the generator's. So that the other one can be interrupted, it writes",
        f"{WRITE >> 10} KiB at a time: a longer write ends when the server has read it, and a kernel without preemption gives nobody else the core until then.", ""] if control else []
    head = ["server", "beside", "p50, us", "p99, us", "control: p99 of a bare server, us", "the other's requests per second"]
    run.write("fairness", [
        "## Fairness between connections", "",
        "One connection with one request in flight (GET, 64 B), alone and beside another one that sends 10,000 requests at once and then the next 10,000.",
        f"Ratios in bold are to the same connection alone in the same round; wanted is a p99 of at most {GOAL:g}.", "", *explained, *page.table(head, rows)])


def quantile(which):
    return lambda report: report["latency_us"]["all"][which]
