"""The servers under measurement: how each is started, limited and spoken to."""

import glob
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field

SERVER_CORE, GENERATOR_CORE = "0", "1"
# More than any load but those of the hit ratio needs.
ROOMY_MIB = 2048


@dataclass
class Contestant:
    """A server as it is compared: two languages of one server are two contestants of one process."""

    name: str
    kind: str
    wire: str
    policy: str = ""


@dataclass
class Programs:
    """Where the programs are."""

    load: str
    sidecar: str
    redis: str = field(default_factory=lambda: found("redis-server"))
    memcached: str = field(default_factory=lambda: found("memcached"))
    valkey: str = field(default_factory=lambda: valkey())

    def versions(self):
        """What each says of itself."""
        said = {}
        for name in ("redis", "valkey"):
            said[name] = re.search(r" v=(\S+)", output(getattr(self, name), "--version")).group(1)
        said["memcached"] = output(self.memcached, "--version").split()[-1]
        said["synapse"] = output(self.sidecar, "--version").split()[-1]
        return said


class Server:
    """A running server, pinned to its core; a context in which it runs. `ahead` are words before its command, see precedence()."""

    def __init__(self, programs, contestant, folder, limit_mib=ROOMY_MIB, ahead=(), clients=0):
        self.kind = contestant.kind
        self.path = f"{folder}/{contestant.kind}{contestant.policy}.sock"
        self.command = command(programs, contestant, self.path, folder, limit_mib, clients)
        self.log = open(f"{self.path}.log", "wb")
        pinned = [*ahead, "taskset", "-c", SERVER_CORE, *self.command]
        self.process = subprocess.Popen(pinned, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 20
        while not self.listens():
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.__exit__()
                sys.exit(f"bench/cache: {' '.join(self.command)} does not listen: {self.said()}")
            time.sleep(0.02)

    def listens(self):
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(self.path)
                return True
            except OSError:
                return False

    def said(self):
        with open(f"{self.path}.log", encoding="utf-8", errors="replace") as log:
            return log.read()[-500:]

    def resident_mib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        if os.path.exists(self.path):
            os.unlink(self.path)


def command(programs, contestant, path, folder, limit_mib, clients=0):
    """How a server is started: no persistence, one thread for its clients, so much memory; so many clients, or as many as it allows anyway."""
    if contestant.kind in ("redis", "valkey"):
        words = [getattr(programs, contestant.kind), "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no", "--dir", folder]
        if clients:
            words += ["--maxclients", str(clients)]
        if contestant.policy:
            words += ["--maxmemory", str(int(limit_mib * 1024 * 1024)), "--maxmemory-policy", f"allkeys-{contestant.policy}"]
        return words
    if contestant.kind == "memcached":
        root = ["-u", "root"] if os.geteuid() == 0 else []
        return [programs.memcached, "-s", path, "-U", "0", "-t", "1", "-m", str(round(limit_mib)), "-I", "2m", "-c", "4096", *root]
    if contestant.kind == "synapse":
        return [programs.sidecar, "--socket", path, "--memory", f"{int(limit_mib * 1024)}Ki"]
    return [programs.load, "bare", "--unix", path]


def contestants(*kinds):
    """Those that these kinds of servers make, redis first: it is what the others are compared with."""
    known = [
        Contestant("redis", "redis", "resp"),
        Contestant("valkey", "valkey", "resp"),
        Contestant("memcached", "memcached", "memcached"),
        Contestant("synapse, RESP", "synapse", "resp"),
        Contestant("synapse, frames", "synapse", "frames"),
        Contestant("bare socket", "bare", "bare"),
    ]
    return [one for one in known if one.kind in kinds]


def precedence(words=("chrt", "--fifo", "1")):
    """Words before a command that give it its core before others, as soon as it wants it; none where the system does not allow that."""
    try:
        return words if subprocess.run([*words, "true"], capture_output=True, timeout=20).returncode == 0 else ()
    except OSError:
        return ()


def found(name):
    path = shutil.which(name)
    return path or sys.exit(f"bench/cache: no {name} here; bench/deps installs it")


def valkey():
    """The newest that is installed or was built."""
    cache = os.environ.get("SYNAPSE_CACHE") or os.path.expanduser("~/.cache/synapse")
    candidates = [shutil.which("valkey-server"), *glob.glob(f"{cache}/bench/valkey-*/valkey-server")]
    versions = {}
    for path in filter(None, candidates):
        said = re.search(r" v=(\d+)\.(\d+)\.(\d+)", output(path, "--version"))
        if said and int(said.group(1)) >= 8:
            versions[tuple(map(int, said.groups()))] = path
    return versions[max(versions)] if versions else sys.exit("bench/cache: no Valkey 8 or newer here; bench/deps builds it")


def output(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
