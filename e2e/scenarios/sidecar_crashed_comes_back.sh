#!/usr/bin/env bash
# A sidecar that is killed comes back on the same path, alone; the app goes on, and its client connects again.
# shellcheck source=e2e/scenarios/lib.sh
source "$(dirname "$0")/lib.sh"
begin
start_redis
cache_on_redis tough
# One process namespace, and the sidecar's user: so that the app can kill its sidecar.
apply <<YAML
apiVersion: v1
kind: Pod
metadata:
  name: app
  annotations: {synapse.dev/inject: tough}
spec:
  shareProcessNamespace: true
  terminationGracePeriodSeconds: 1
  securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: app
      image: $registry/python:test
      command: [sleep, infinity]
      resources: {requests: {cpu: 5m, memory: 16Mi}}
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
YAML
k wait pod/app --for=condition=Ready --timeout=60s >/dev/null
# One client object throughout, as in an application: it must find the new socket by itself.
k exec -i app -c app -- python3 - <<'PYTHON' || fail "the client did not come back"
import os, signal, time
import redis

client = redis.Redis(unix_socket_path=os.environ["SYNAPSE_SOCKET"], decode_responses=True)
for _ in range(50):
    try:
        client.set("kept", "in redis")
        if redis.Redis(host="redis").keys("*tough:kept"):
            break
    except redis.RedisError:
        pass
    time.sleep(0.5)

def sidecar():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if b"synapse-sidecar" in open(f"/proc/{pid}/cmdline", "rb").read():
                return int(pid)
        except OSError:
            pass

os.kill(sidecar(), signal.SIGKILL)
killed = time.monotonic()
while True:
    try:
        assert client.get("kept") == "in redis"
        break
    except redis.ConnectionError:
        assert time.monotonic() - killed < 60, "no answer within 60 s"
        time.sleep(0.1)
print(f"answered again after {time.monotonic() - killed:.1f} s")
PYTHON
equal "restarts of the sidecar" 1 "$(field pod/app '.status.initContainerStatuses[0].restartCount')"
equal "restarts of the app" 0 "$(field pod/app '.status.containerStatuses[0].restartCount')"
eventually 60 "the pod is Ready" k wait pod/app --for=condition=Ready --timeout=1s
