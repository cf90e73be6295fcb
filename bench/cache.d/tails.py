"""Tails: how late GETs are answered by a server that evicts all the time, beside how late the machine itself is."""

import itertools
import json
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass

import page
from contestants import GENERATOR_CORE, SERVER_CORE, Contestant, Server
from rounds import figures, take_turns

LIMIT_MIB = 64
RATE = 30_000
CONTESTANTS = [
    Contestant("redis LFU", "redis", "resp", "lfu"),
    Contestant("valkey LFU", "valkey", "resp", "lfu"),
    Contestant("memcached", "memcached", "memcached"),
    Contestant("synapse, RESP", "synapse", "resp"),
    Contestant("synapse, frames", "synapse", "frames"),
    Contestant("bare socket", "bare", "bare"),
]
QUANTILES = ("p50", "p99", "p999", "max")


@dataclass
class Idle:
    """A thread that asks nobody, on one core."""

    name: str
    core: str


IDLE = [Idle("idle thread, the server's core", SERVER_CORE), Idle("idle thread, the generator's core", GENERATOR_CORE)]


def tails(run):
    """GETs among as many SETs of keys that are mostly not held, at moments that do not wait for answers."""
    limit = 8 if run.short else LIMIT_MIB
    # Of the first more than any of them holds are stored beforehand, and of all several times as many.
    first, keys, seeds = limit * 15_000, limit * 60_000, itertools.count(1)
    words = ("--keys", keys, "--rate", RATE, "--gets", 0.5, "--connections", 50, "--pipeline", 64, "--misses", "count")
    with ExitStack() as stack:
        servers = {}
        for one in CONTESTANTS:
            if one.kind not in servers:
                servers[one.kind] = stack.enter_context(Server(run.programs, one, run.folder, limit))
                if one.kind != "bare":
                    run.generator.run(servers[one.kind], one, "--keys", first, "--misses", "count", seconds=0.05, warmup=0)

        def measure(one):
            if isinstance(one, Idle):
                return idle(run, one.core)
            server, before = servers[one.kind], evicted(servers[one.kind])
            # The same draws again would find what they have stored themselves.
            report = run.generator.run(server, one, *words, "--no-fill", "--seed", next(seeds))
            length = report["seconds"] + run.generator.warmup
            report["evictions"] = (evicted(server) - before) / length if one.kind != "bare" else 0
            if one.kind != "bare" and not report["evictions"]:
                sys.exit(f"bench/cache: {one.name} evicted nothing")
            return report

        results = take_turns(run.rounds, [*CONTESTANTS, *IDLE], measure)
    summed = {which: figures(results, lambda report: gets(report)[which]) for which in QUANTILES}
    evictions = figures({one.name: results[one.name] for one in CONTESTANTS}, lambda report: report["evictions"])
    rows = []
    for one in [*CONTESTANTS, *IDLE]:
        count = f"{evictions[one.name].median:,.0f}" if isinstance(one, Contestant) and one.kind != "bare" else ""
        rows.append([one.name, *(page.cell(summed[which][one.name], "{:,.1f}", base=one is CONTESTANTS[0] or isinstance(one, Idle)) for which in QUANTILES), count])
    run.say("p99.9 of GETs while evicting: " + ", ".join(f"{name} {figure.median:,.0f} us" for name, figure in summed["p999"].items()))
    run.write("tails", [
        "## Tails while evicting", "",
        f"{RATE:,} requests a second on 50 connections at random moments, half of them SETs; {keys:,} keys asked for alike, of which {limit} MiB hold a part: nearly",
        "every SET drives something out. GETs, 64 B; latencies count from when a request was due. The bare socket keeps nothing. The idle thread asks",
        "nobody: it has the same moments, and tells how late it notices them. Ratios in bold are to redis-server.", "",
        *page.table(["server", "p50, us", "p99, us", "p99.9, us", "longest, us", "evictions per second"], rows)])


def gets(report):
    return report["latency_us"].get("get") or report["latency_us"]["all"]


def idle(run, core):
    """The delays of a thread that does nothing else, on this core."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        seconds = str(run.generator.seconds)
        command = [run.programs.load, "idle", "--rate", str(RATE), "--seconds", seconds, "--json", report.name]
        subprocess.run(["taskset", "-c", core, *command], check=True, stdout=subprocess.DEVNULL, timeout=600)
        return json.load(report)


def evicted(server):
    """How many entries a server says that it has driven out."""
    if server.kind == "bare":
        return 0
    question, name = (b"stats\r\n", b"STAT evictions ") if server.kind == "memcached" else (b"INFO stats\r\n", b"evicted_keys:")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(server.path)
        connection.sendall(question)
        said = b""
        while name not in said or b"\n" not in said.partition(name)[2]:
            more = connection.recv(65536)
            if not more:
                sys.exit(f"bench/cache: {server.kind} does not tell its evictions: {said!r}")
            said += more
    return int(said.partition(name)[2].split()[0])
