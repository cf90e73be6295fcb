"""Hit ratio at equal resident memory: what each server makes of the same memory."""

import page
import picture
from contestants import Contestant, Server

CONTESTANTS = [
    Contestant("redis LRU", "redis", "resp", "lru"),
    Contestant("redis LFU", "redis", "resp", "lfu"),
    Contestant("valkey LRU", "valkey", "resp", "lru"),
    Contestant("valkey LFU", "valkey", "resp", "lfu"),
    Contestant("memcached", "memcached", "memcached"),
    Contestant("synapse", "synapse", "resp"),
]
WORKLOADS = [
    ("zipf 0.8", ["--popularity", "zipf:0.8"]),
    ("zipf 0.99", ["--popularity", "zipf:0.99"]),
    ("zipf 1.2", ["--popularity", "zipf:1.2"]),
    ("with scans", ["--popularity", "zipf:0.99", "--scan", "0.2"]),
    ("moving", ["--popularity", "zipf:0.99", "--drift", "20"]),
]
# Resident memory this close to the target is equal.
NEAR = 0.02
TRIES = 4


def hits(run):
    """Every workload, in every server, at each size of resident memory."""
    lines, names = [], [one.name for one in CONTESTANTS]
    shares = {name: 0.8 for name in names}
    for size in (32,) if run.short else run.sizes:
        keys = size * (10_000 if run.short else 25_000)
        prime, measured = 2 * keys, keys
        workloads = WORKLOADS[1:2] if run.short else WORKLOADS
        limits = {one.name: limit_for(run, one, size, shares[one.name], keys) for one in CONTESTANTS}
        # What is right for one size is nearly right for the next.
        shares = {name: limit / size for name, limit in limits.items()}
        rows, groups, resident = [], [], {name: [] for name in names}
        for label, words in workloads:
            ratios = {}
            for one in CONTESTANTS:
                with Server(run.programs, one, run.folder, limits[one.name]) as server:
                    load(run, server, one, keys, prime, words, 1)
                    report = load(run, server, one, keys, measured, words, 2)
                    ratios[one.name] = report["hit_ratio"]
                    if report["unstored"]:
                        run.say(f"{one.name} had no room for {report['unstored']:,} of {report['sets']:,} SETs")
                    resident[one.name].append(server.resident_mib())
            best = max(ratios.values())
            rows.append([label, *(f"**{ratio:.4f}**" if ratio == best else f"{ratio:.4f}" for ratio in ratios.values())])
            groups.append((label, {name: (ratio, None) for name, ratio in ratios.items()}))
            run.say(f"hit ratio at {size} MiB, {label}: " + ", ".join(f"{name} {ratio:.4f}" for name, ratio in ratios.items()))
        rows.append(["resident, MiB", *(f"{min(resident[name]):.1f}-{max(resident[name]):.1f}" for name in names)])
        run.draw(f"hits-{size}", picture.bars(f"Hit ratio at {size} MiB of resident memory", "share of GETs; higher is better", groups, names, top=1.0, shown="{:.4f}"))
        lines += ["", f"{size} MiB; {keys:,} keys, {measured:,} requests after {prime:,} to warm up:", "",
                  f"![Hit ratio at {size} MiB](benchmarks/hits-{size}.svg)", "", *page.table(["workload", *names], rows)]
    run.write("hits", [
        "## Hit ratio at equal resident memory", "",
        "All keys are stored once, so that memory is full; then a key that is missed is stored, as an application behind a cache does. 16 B keys, 64 B values. Each server's limit is set so that its resident memory,",
        "as the system tells it, is the same. With scans, a fifth of the requests ask for keys that nobody asks for again soon; moving, the",
        "favourites move on by one key after every 20 requests. One run each: the draws are the same for all, and the ratio hardly varies.", *lines])


def load(run, server, one, keys, requests, words, seed):
    """Requests after the first ones find a full memory: with the first seed all keys are stored beforehand."""
    fill = [] if seed == 1 else ["--no-fill"]
    return run.generator.run(server, one, "--keys", keys, "--misses", "store", "--pipeline", 64, "--connections", 8,
                             "--requests", requests, "--seed", seed, *fill, *words, seconds=900, warmup=0)


def limit_for(run, one, target_mib, share, keys):
    """The limit (MiB) with which the server's resident memory is the target when it is full; first the share of it is tried."""
    limit = target_mib * share
    for _ in range(TRIES):
        with Server(run.programs, one, run.folder, limit) as server:
            empty = server.resident_mib()
            load(run, server, one, keys, keys // 4, WORKLOADS[1][1], 1)
            full = server.resident_mib()
        if abs(full - target_mib) <= NEAR * target_mib:
            break
        limit = max(1.0, limit * (target_mib - empty) / max(full - empty, 1.0))
    run.say(f"{one.name}: full at {full:.1f} MiB resident; {target_mib} were wanted, the limit is now {limit:.1f}")
    return limit
