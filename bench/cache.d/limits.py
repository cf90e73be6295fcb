"""Where the CPU of a request goes: the kernel's share, the server's own, and what a server costs that keeps nothing."""

import os
from contextlib import ExitStack

import page
from rounds import figures, take_turns
from sockets import Sockets

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# How each is asked for, and which part of redis-server's CPU is wanted.
LOADS = [
    ("16 in flight", ["--pipeline", 16], 1 / 5),
    ("64 in flight", ["--pipeline", 64], 1 / 8),
    ("30,000 a second", ["--pipeline", 64, "--rate", 30_000], 0.85),
]


def used(process):
    """Seconds of CPU that a process has used so far: its own, and the kernel's for it."""
    with open(f"/proc/{process.pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return int(fields[11]) / TICKS_PER_SECOND, int(fields[12]) / TICKS_PER_SECOND


def limits(run):
    """GET of 64 bytes on 50 connections."""
    keys = 10_000 if run.short else 100_000
    rows = []
    with ExitStack() as stack:
        sockets = Sockets(run, stack, "bare")
        sockets.fill("--keys", keys)

        def once(one, *words):
            process = sockets.servers[one.kind].process
            before = used(process)
            report = run.generator.run(sockets.servers[one.kind], one, "--keys", keys, "--gets", 1, "--no-fill", *words, warmup=0)
            own, kernel = (after - at for after, at in zip(used(process), before))
            # The kernel counts both in ticks, and their sum more finely.
            each = report["server"]["cpu_seconds"] / report["operations"] * 1e6
            share = own / (own + kernel) if own + kernel else float("nan")
            return {"own": each * share, "kernel": each * (1 - share), "all": each}

        for label, words, wanted in LOADS:
            results = take_turns(run.rounds, sockets.contestants, lambda one: once(one, *words))
            parts = {part: figures(results, lambda report: report[part]) for part in ("own", "kernel", "all")}
            base = next(iter(results))
            for name in results:
                rows.append([f"{label}, {name}", *(f"{parts[part][name].median:.3f}" for part in ("own", "kernel")),
                             page.cell(parts["all"][name], "{:.3f}", name == base), f"{parts['all'][base].median * wanted:.3f}" if "synapse" in name else ""])
            run.say(f"CPU of a request, {label}: " + ", ".join(f"{name} {parts['all'][name].ratio:.2f}" for name in results))
    run.write("limits", [
        "## Where the CPU of a request goes", "",
        "GETs on 50 connections, 64 B values. The bare socket moves the same bytes and keeps nothing: nobody who reads and writes a socket for each batch can be",
        "cheaper. What a server costs above it is for finding values and speaking the language. Ratios in bold are to redis-server: lower is better.", "",
        *page.table(["load", "own, us", "kernel, us", "together, us", "wanted, us"], rows)])
