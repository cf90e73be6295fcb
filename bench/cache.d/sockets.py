"""Throughput, latency and large values over a Unix socket."""

from contextlib import ExitStack

import page
import picture
from contestants import Server, contestants
from rounds import figures, take_turns

KINDS = ("redis", "valkey", "memcached", "synapse")


def per_cpu(report):
    return report["server"]["operations_per_cpu_second"] or float("nan")


def wall(report):
    return report["operations_per_second"]


def latency(which):
    return lambda report: report["latency_us"]["all"][which]


class Sockets:
    """All servers at once, idle but for the one whose turn it is."""

    def __init__(self, run, stack, *more):
        self.run = run
        self.contestants = contestants(*KINDS, *more)
        self.servers = {}
        for one in self.contestants:
            if one.kind not in self.servers:
                self.servers[one.kind] = stack.enter_context(Server(run.programs, one, run.folder))

    def load(self, *words):
        """The reports of every contestant and round."""
        return take_turns(self.run.rounds, self.contestants, lambda one: self.once(one, *words, "--no-fill"))

    def fill(self, *words):
        """Stores the keys in every server, once."""
        for kind, server in self.servers.items():
            one = next(one for one in self.contestants if one.kind == kind)
            self.run.generator.run(server, one, *words, seconds=0.05, warmup=0)

    def once(self, one, *words):
        return self.run.generator.run(self.servers[one.kind], one, *words)


def throughput(run):
    """GET and SET of 64 bytes on 50 connections."""
    key_counts = (10_000,) if run.short else (100_000, 1_000_000)
    cpu_rows, wall_rows, groups, names, saturated = [], [], [], [], False
    for keys in key_counts:
        with ExitStack() as stack:
            sockets = Sockets(run, stack)
            names = [one.name for one in sockets.contestants]
            sockets.fill("--keys", keys)
            for gets, operation in ((1, "GET"), (0, "SET")):
                for pipeline in (1, 16, 64):
                    results = sockets.load("--keys", keys, "--gets", gets, "--pipeline", pipeline)
                    cpu, real = figures(results, per_cpu), figures(results, wall)
                    load = f"{operation}, {pipeline} in flight, {keys:,} keys"
                    cpu_rows.append([load, *(page.cell(cpu[name], base=name == names[0]) for name in names)])
                    cells = []
                    for name in names:
                        limited = any(report["generator"]["saturated"] for report in results[name])
                        saturated |= limited
                        cells.append(page.cell(real[name], base=name == names[0]) + (" (g)" if limited else ""))
                    wall_rows.append([load, *cells])
                    if keys == key_counts[0] and pipeline > 1:
                        groups.append((f"{operation}, {pipeline} in flight", {name: (cpu[name].median, None) for name in names}))
                    run.say(f"{load}: " + ", ".join(f"{name} {cpu[name].ratio:.2f}" for name in names[1:]))
    run.draw("throughput", picture.bars(f"Operations per second of server CPU, 64 B, 50 connections, {key_counts[0]:,} keys",
                                        "operations per second of CPU; higher is better", groups, names))
    head = ["load", *names]
    note = ["", "(g): the generator was busy all the time and so the limit in at least one round; the server could do more."] if saturated else []
    run.write("throughput", [
        "## Throughput over a Unix socket", "",
        "64 B values, 16 B keys asked for alike, 50 connections, a closed loop. Behind a figure stands its ratio to redis-server, the median of the",
        "ratios within each round, and the least and the greatest of them.", "",
        "![Operations per second of server CPU](benchmarks/throughput.svg)", "",
        "Operations per second of server CPU:", "", *page.table(head, cpu_rows), "",
        "Operations per second on the wall clock:", "", *page.table(head, wall_rows), *note])


def one_in_flight(run):
    """One connection, one request at a time; and 30,000 requests a second on 50 connections."""
    keys = 10_000 if run.short else 100_000
    rows, cpu_rows, groups = [], [], []
    with ExitStack() as stack:
        sockets = Sockets(run, stack, "bare")
        names = [one.name for one in sockets.contestants]
        sockets.fill("--keys", keys)
        for gets, operation in ((1, "GET"), (0, "SET")):
            results = sockets.load("--keys", keys, "--gets", gets, "--connections", 1)
            quantiles = {which: figures(results, latency(which)) for which in ("p50", "p99", "p999")}
            bare = figures(results, latency("p50"), against="bare socket")
            for name in names:
                rows.append([f"{operation}, {name}", *(page.cell(quantiles[which][name], "{:.1f}", name == names[0]) for which in quantiles),
                             f"{bare[name].ratio:.2f} ({bare[name].least:.2f}-{bare[name].most:.2f})"])
            groups.append((operation, {name: (quantiles["p50"][name].median, quantiles["p99"][name].median) for name in names}))
            run.say(f"{operation}, one in flight, p50: " + ", ".join(f"{name} {quantiles['p50'][name].median:.1f} us" for name in names))
        results = sockets.load("--keys", keys, "--rate", 30_000, "--connections", 50, "--pipeline", 64)
        used = figures(results, lambda report: report["server"]["cpu_seconds"] / report["operations"] * 1e6)
        quantiles = {which: figures(results, latency(which)) for which in ("p50", "p99", "p999")}
        for name in names:
            cpu_rows.append([name, page.cell(used[name], "{:.2f}", name == names[0]),
                             *(page.cell(quantiles[which][name], "{:.1f}", name == names[0]) for which in quantiles)])
        run.say("CPU at 30,000 requests a second: " + ", ".join(f"{name} {used[name].ratio:.2f}" for name in names[1:]))
    # A tail that others caused would make all bars flat.
    top = min(max(max(pair) for _, values in groups for pair in values.values()), 6 * max(pair[0] for _, values in groups for pair in values.values()))
    run.draw("latency", picture.bars("Latency of one request in flight, 64 B: p50, and p99 as a line", "microseconds; lower is better; a line without a bar on top goes on",
                                     groups, names, top, shown="{:.1f}"))
    quantile_heads = ["p50, us", "p99, us", "p99.9, us"]
    run.write("latency", [
        "## Latency over a Unix socket", "",
        "One connection with one request in flight, 64 B values. The bare socket is a server of the same kind that keeps nothing and answers as many bytes.",
        "Ratios in bold are to redis-server.", "",
        "![Latency of one request in flight](benchmarks/latency.svg)", "",
        *page.table(["load", *quantile_heads, "p50 to the bare socket's"], rows), "",
        "30,000 GETs a second on 50 connections, at random moments that do not wait for answers (an open loop); latencies count from when a request was due:", "",
        *page.table(["server", "server CPU per request, us", *quantile_heads], cpu_rows)])


def large(run):
    """Values of 1 MiB."""
    rows = []
    with ExitStack() as stack:
        sockets = Sockets(run, stack, "bare")
        names = [one.name for one in sockets.contestants]
        words = ("--keys", 32, "--size", "1Mi", "--connections", 4)
        sockets.fill(*words)
        for gets, operation in ((0, "SET"), (1, "GET")):
            results = sockets.load(*words, "--gets", gets)
            real, cpu = figures(results, wall), figures(results, per_cpu)
            bare = figures(results, wall, against="bare socket")
            for name in names:
                rows.append([f"{operation}, {name}", page.cell(real[name], base=name == names[0]), page.cell(cpu[name], base=name == names[0]),
                             f"{bare[name].ratio:.2f} ({bare[name].least:.2f}-{bare[name].most:.2f})"])
            run.say(f"{operation} of 1 MiB: " + ", ".join(f"{name} {real[name].ratio:.2f}" for name in names[1:]))
    run.write("large", [
        "## Values of 1 MiB", "",
        "4 connections, one request in flight on each. Ratios in bold are to redis-server; the bare socket moves as many bytes and keeps none: it answers",
        "from the same warm bytes each time. The goal is more than redis-server, and 0.80 of the bare socket.", "",
        *page.table(["load", "MiB per second", "MiB per second of server CPU", "MiB per second to the bare socket's"], rows)])
