# shellcheck shell=bash
# How a script speaks to a person: a line of progress, a reason to stop, a long job that shows it lives.

say() { printf '%s: %s\n' "${speaker:-cluster}" "$*" >&2; }

die() {
    say "$*"
    exit 1
}

# Runs a command with its output in LOG, says every 15 s that it still runs, and shows the end of LOG when it fails.
patiently() { # WHAT LOG COMMAND...
    local what=$1 log=$2 begun=$SECONDS job
    shift 2
    # A process group of its own, so that an interruption ends the job with all that it started.
    set -m
    "$@" >"$log" 2>&1 </dev/null &
    job=$!
    set +m
    # shellcheck disable=SC2064  # this job
    trap "kill -TERM -- -$job 2>/dev/null; exit 130" INT TERM
    while kill -0 "$job" 2>/dev/null; do
        # `wait -n` would hide the job's exit code from the `wait` below.
        if ((SECONDS - begun > 0 && (SECONDS - begun) % 15 == 0)); then
            say "$what ($((SECONDS - begun)) s)"
            sleep 1
        fi
        sleep 0.2
    done
    trap - INT TERM
    if ! wait "$job"; then
        say "$what: failed; the end of $log:"
        tail -n 20 "$log" >&2
        return 1
    fi
}
