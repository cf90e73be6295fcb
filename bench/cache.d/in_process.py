"""Reads in the process itself: what the arena's own example measured, if the tree has one."""

import json
import os
import subprocess
import tempfile

import page


def in_process(run):
    """Runs `examples/in_process --json FILE [--short]`: a list of {"load", "map", "ns_per_get"} of the median round, with
    "least" and "most"."""
    program = f"{os.path.dirname(run.programs.sidecar)}/examples/in_process"
    if not os.path.exists(program):
        run.say("in-process reads: left out, for there is no example in_process")
        return
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        short = ["--short"] if run.short else []
        subprocess.run(["taskset", "-c", "0", program, "--json", report.name, *short], check=True, timeout=1800)
        found = json.load(report)
    rows = [[one["load"], one["map"], f"{one['ns_per_get']:.1f}", f"{one['least']:.1f}-{one['most']:.1f}"] for one in found]
    run.write("in-process", [
        "## Reads without a socket", "",
        "16 B keys, 64 B values, one key at a time where it does not say otherwise, processor time of the thread that reads; median of the rounds, the maps taking turns. Every map's answer",
        "is copied into a buffer of the caller. From another process the arena is read as `SharedReader` does it, with its clock; together by `Reader::get_many`.", "", *page.table(["load", "map", "ns per GET", "rounds"], rows)])
