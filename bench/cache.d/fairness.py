"""Fairness: what a connection that sends 10,000 requests at once does to one that sends one at a time."""

import sys
import time
from contextlib import ExitStack

import page
from contestants import Server, contestants, precedence
from rounds import figures
from sockets import KINDS

HOG = 10_000
# Until the hog has the server busy, and as long as it goes on after the other has ended.
LEAD, TRAIL = 0.3, 0.7
GOAL = 2.0
QUANTILES = ("p50", "p99")
HOGS = (("GETs", 1), ("SETs", 0))


def fairness(run):
    """The victim alone and beside a hog, at the same server; and, as a control, at another one on the same core."""
    keys = 10_000 if run.short else 100_000
    ahead = precedence()
    if not ahead:
        run.say("fairness: no precedence to be had (chrt --fifo 1), so the hog delays the other's generator, too, and there is no control")
    with ExitStack() as stack:
        ones = contestants(*KINDS)
        servers = {}
        for one in ones:
            if one.kind not in servers:
                servers[one.kind] = stack.enter_context(Server(run.programs, one, run.folder))
                run.generator.run(servers[one.kind], one, "--keys", keys, seconds=0.05, warmup=0)
        [bare] = contestants("bare")
        control = stack.enter_context(Server(run.programs, bare, run.folder, ahead=ahead)) if ahead else None

        def victim(server, one, **more):
            return run.generator.run(server, one, "--keys", keys, "--connections", 1, "--no-fill", ahead=ahead, **more)

        def beside(one, gets, server, who):
            length = run.generator.seconds + LEAD + TRAIL
            hog = run.generator.start(servers[one.kind], one, "--keys", keys, "--connections", 1, "--pipeline", HOG,
                                      "--gets", gets, "--no-fill", seconds=length, warmup=0)
            time.sleep(LEAD)
            found = victim(server, who, warmup=0)
            if not hog.runs():
                sys.exit(f"bench/cache: {one.name}: the hog ended before the other did")
            found["hog"] = hog.report()
            return found

        rows, worst = [], {}
        for one in ones:
            results = {"alone": []} | {name: [] for name, _ in HOGS} | {f"control, {name}": [] for name, _ in HOGS if control}
            quiet = []
            for _ in range(run.rounds):
                results["alone"].append(victim(servers[one.kind], one))
                if control:
                    quiet.append(victim(control, bare))
                for name, gets in HOGS:
                    results[name].append(beside(one, gets, servers[one.kind], one))
                    if control:
                        results[f"control, {name}"].append(beside(one, gets, control, bare))
            summed = {which: figures(results, lambda report: report["latency_us"]["all"][which]) for which in QUANTILES}
            rows.append([one.name, "nobody", *(page.cell(summed[which]["alone"], "{:.0f}", base=True) for which in QUANTILES), "", ""])
            for name, _ in HOGS:
                hogs = figures({name: [report["hog"] for report in results[name]]}, lambda report: report["operations_per_second"])
                row = [one.name, f"10,000 {name} at once", *(page.cell(summed[which][name], "{:.0f}") for which in QUANTILES)]
                if control:
                    ratios = figures({"quiet": quiet, name: results[f"control, {name}"]}, lambda report: report["latency_us"]["all"]["p99"])
                    row.append(page.cell(ratios[name], "{:.0f}"))
                rows.append([*row, *([] if control else [""]), f"{hogs[name].median:,.0f}"])
                worst[one.name] = max(worst.get(one.name, 0), summed["p99"][name].ratio)
    run.say("p99 beside a connection with 10,000 in flight, to that alone: " + ", ".join(f"{name} {ratio:.1f}" for name, ratio in worst.items()))
    lines = [
        "## Fairness between connections", "",
        "One connection with one request in flight (GET, 64 B), alone and beside another one that sends 10,000 requests at once and then the next 10,000.",
        f"Ratios in bold are to the same connection alone in the same round; wanted is a p99 of at most {GOAL:g}.", ""]
    if control:
        lines += ["Its generator has its core before the other one's. The control asks a bare server that has the core before the server under test, while that one is",
                  "driven in the same way: what is left of the ratio there is the machine's and the generator's.", ""]
    head = ["server", "beside", "p50, us", "p99, us", "control: p99 of a bare server with precedence, us", "the other's requests per second"]
    run.write("fairness", [*lines, *page.table(head, rows)])
