"""Idle connections: what 10,000 of them cost the server, held open by a client in a process of its own."""

import resource
import socket
import subprocess
import sys

import page
from contestants import Server, contestants

COUNT, SHORT = 10_000, 1_000
# Files of a process beside those connections.
OTHERS = 64
GOAL = 4096
GET = {"resp": b"*2\r\n$3\r\nGET\r\n$4\r\nnone\r\n", "frames": b"\0\0\0\x09\x01\x04\0\0\0none"}
MISS = {"resp": b"$-1\r\n", "frames": b"\0\0\0\x01\x02"}
# So many connections are told of at once, before their answers are waited for.
STEP = 100
# How each connection came to be idle.
WAYS = ("never asked", "asked once", "asked 64 at once")
LARGEST = 64


def idle(run):
    """Each server afresh for each way of being idle."""
    count = SHORT if run.short else COUNT
    allow_files()
    rows, worst = [], 0
    for one in contestants("redis", "synapse"):
        for way in WAYS:
            with Server(run.programs, one, run.folder, clients=count) as server:
                before = memory(server.process.pid)
                with Client(server.path, count, one.wire, way) as client:
                    after = memory(server.process.pid)
                    client.ask_all()
            each = (after - before) / count
            rows.append([one.name, way, f"{count:,}", f"{each:,.0f}"])
            run.say(f"{one.name}, {way}: {each:,.0f} bytes a connection; all of {count:,} answered, and one more")
            worst = max(worst, each) if one.kind == "synapse" else worst
    run.say(f"at most {worst:,.0f} bytes an idle connection of synapse; {GOAL:,} are allowed{'' if worst <= GOAL else ', so this is TOO MUCH'}")
    run.write("idle", [
        "## Idle connections", "",
        "What an open Unix connection without a request costs the server's process (anonymous memory, without the kernel's part, a few KiB in any server).",
        "The client is another process. Afterwards every connection, and one more, was asked and answered. Wanted are at most 4,096 bytes.", "",
        *page.table(["server", "connections were", "connections", "bytes for each"], rows)])


class Client:
    """The process that holds the connections."""

    def __init__(self, path, count, wire, way):
        self.process = subprocess.Popen([sys.executable, __file__, path, str(count), wire, way],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.hear("open")

    def hear(self, word):
        heard = self.process.stdout.readline().strip()
        if heard != word:
            sys.exit(f"bench/cache: the client of the idle connections said '{heard}' instead of '{word}'")

    def ask_all(self):
        self.process.stdin.write("ask\n")
        self.process.stdin.flush()
        self.hear("answered")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def allow_files():
    """Lets this process, and those it starts, have as many files as it takes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < COUNT + OTHERS:
        sys.exit(f"bench/cache: 10,000 connections need {COUNT + OTHERS} open files; the hard limit here is {hard} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def memory(pid):
    """Anonymous memory of a process, in bytes."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))


def ask(connections, wire, times=1):
    """Asks all of them so many times at once, some connections together, and takes every answer."""
    for first in range(0, len(connections), STEP):
        some = connections[first:first + STEP]
        for connection in some:
            connection.sendall(GET[wire] * times)
        for connection in some:
            wanted, got = MISS[wire] * times, b""
            while len(got) < len(wanted):
                more = connection.recv(len(wanted) - len(got))
                if not more:
                    sys.exit("idle: the server closed a connection")
                got += more
            if got != wanted:
                sys.exit(f"idle: answered {got!r} instead of {wanted!r}")


def connect(path):
    connection = socket.socket(socket.AF_UNIX)
    # First of all: a connection with a timeout would not wait for its turn to be accepted.
    connection.connect(path)
    connection.settimeout(20)
    return connection


def hold(path, count, wire, way):
    """The client: opens, tells so, and asks all when it is told to. One connection is left for one more."""
    connections = [connect(path) for _ in range(count - 1)]
    if way != WAYS[0]:
        ask(connections, wire, 1 if way == WAYS[1] else LARGEST)
    else:
        # Accepted, all of them: connections are served in the order in which they came.
        ask([connections[-1]], wire)
    print("open", flush=True)
    sys.stdin.readline()
    ask([connect(path)], wire)
    ask(connections, wire)
    print("answered", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    hold(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
