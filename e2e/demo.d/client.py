"""The recommender's program: an unmodified Redis client on the pod's socket."""

import os
import sys
import time

import redis

cache = redis.Redis(unix_socket_path=os.environ["SYNAPSE_SOCKET"], decode_responses=True)


def latency(client, key, rounds=3000):
    client.set(key, "x" * 64)
    client.get(key)
    samples = []
    for _ in range(rounds):
        begun = time.perf_counter_ns()
        client.get(key)
        samples.append(time.perf_counter_ns() - begun)
    samples.sort()
    return samples[rounds // 2] / 1000, samples[rounds * 99 // 100] / 1000


match sys.argv[1:]:
    case ["get", key]:
        print(cache.get(key))
    case ["latency"]:
        for name, client in [
            ("the pod's socket (in memory)", cache),
            ("Redis over the network     ", redis.Redis(host="redis", decode_responses=True)),
        ]:
            p50, p99 = latency(client, "latency-probe")
            print(f"{name}  GET 64 B   p50 {p50:6.0f} us   p99 {p99:6.0f} us")
    case other:
        sys.exit(f"client.py: unknown arguments {other}")
