"""Resident memory against the configured capacity while the sizes of values shift, and what the arena promises of itself."""

import json
import os
import subprocess
import tempfile
import time

import page
from contestants import Contestant, Server

SYNAPSE = Contestant("synapse", "synapse", "resp")
CAPACITY_MIB = 256
CYCLES = 5
# Sizes, keys (several times what fits), SETs in one cycle (20 million together), and how many are in flight.
PHASES = [("10..100", 8_000_000, 14_000_000, 16), ("100..1Ki", 2_000_000, 5_000_000, 16),
          ("1Ki..32Ki", 100_000, 800_000, 4), ("10..1Mi", 20_000, 200_000, 1)]
# What connections needed goes back within so many seconds after their end.
SETTLING = 10


def residency(run):
    """All phases in turns, in one server, whose resident memory is asked for after each."""
    cycles, part = (1, 100) if run.short else (CYCLES, 1)
    capacity = 32 if run.short else CAPACITY_MIB
    found = {sizes: [] for sizes, *_ in PHASES}
    operations = 0
    with Server(run.programs, SYNAPSE, run.folder, capacity) as server:
        empty = server.resident_mib()
        for cycle in range(cycles):
            for sizes, keys, requests, depth in PHASES:
                report = run.generator.run(server, SYNAPSE, "--gets", 0, "--no-fill", "--size", sizes, "--generation", cycle, "--keys", keys,
                                           "--popularity", "zipf:0.8", "--pipeline", depth, "--connections", 8, "--requests", requests // part,
                                           "--seed", cycle, seconds=900, warmup=0)
                operations += report["operations"]
                found[sizes].append(settled(server))
                run.say(f"residency, cycle {cycle + 1}, {sizes}: {found[sizes][-1]:.1f} MiB")
    share = [[(mib - empty) / capacity for mib in mibs] for mibs in found.values()]
    rows = [[sizes.replace("..", " to "), *(f"{mib:.1f} ({one:.3f})" for mib, one in zip(mibs, shares))]
            for (sizes, mibs), shares in zip(found.items(), share)]
    most = max(max(shares) for shares in share)
    run.write("residency", [
        "## Resident memory against the configured capacity", "",
        f"`synapse-sidecar --memory {capacity}Mi`, {operations:,} SETs over the socket, zipf 0.8: the sizes of values (bytes, as many from 10 to 20 as from 100 to 200) shift again and again.",
        f"MiB that the system calls resident after each phase, and in brackets what of it is above the {empty:.1f} MiB of the empty process, as a share of the capacity: {most:.3f} at most.", "",
        *page.table(["sizes", *(f"cycle {number + 1}" for number in range(cycles))], rows), *bounds(run)])


def settled(server):
    """Resident memory (MiB) once it has not fallen for a second."""
    least = server.resident_mib()
    for _ in range(SETTLING):
        time.sleep(1)
        now = server.resident_mib()
        if now > least - 0.1:
            break
        least = now
    return now


def bounds(run):
    """What the arena's own example measured, if the tree has it."""
    program = f"{os.path.dirname(run.programs.sidecar)}/examples/bounds"
    if not os.path.exists(program):
        run.say("bookkeeping and work of the arena: left out, for there is no example bounds")
        return []
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        subprocess.run([program, "--json", report.name, *(["--short"] if run.short else [])], check=True, timeout=1800, stdout=subprocess.DEVNULL)
        found = json.load(report)
    rows = [[f"bookkeeping of an entry of 16 + 64 B, cache of {one['mib']} MiB full", f"{one['bytes']:.1f} B", "28 B, and 8 B for rounding"] for one in found["bookkeeping"]]
    rows += [["rounding of an entry, on average", f"{found['rounding']:.1f} B", "8 B"]]
    rows += [[f"most lines and entries touched by one SET, values of {one['least']:,} to {one['most']:,} B", f"{one['work']:,}",
              f"{one['bound']:,} (`MAX_WORK` and `WORK_PER_LINE` for each line)"] for one in found["work"]]
    return ["", *page.table(["the arena", "measured", "at most"], rows)]
