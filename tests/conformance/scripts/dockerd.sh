#!/usr/bin/env bash
# A Docker Engine of our own in a network namespace of its own, so that neither the machine's links nor its packet filter are touched.
#
#   dockerd.sh up FOLDER NAME      installs the engine where it is missing, starts it; its socket is FOLDER/docker.sock
#   dockerd.sh in NAME COMMAND...  runs a command where the engine's published ports are
#   dockerd.sh down FOLDER NAME    ends it and removes what it made
#
# Needs root. Exits with 77 and one line on the first output when an engine cannot be had here.
set -euo pipefail

NETNS=/run/netns
case "$1" in
up)
    FOLDER=$2 NAME=$3
    if [ "$(id -u)" != 0 ]; then echo "a Docker Engine needs root"; exit 77; fi
    if ! command -v dockerd >/dev/null; then
        if ! { apt-get update && apt-get install -y --no-install-recommends docker.io containerd runc iptables iproute2; } >"$FOLDER/apt.log" 2>&1; then
            echo "docker.io cannot be installed: $(tail -n 1 "$FOLDER/apt.log")"; exit 77
        fi
    fi
    mkdir -p "$FOLDER/data" "$FOLDER/exec"
    ip netns add "$NAME"
    ip -n "$NAME" link set lo up
    # Not "ip netns exec": that mounts /sys anew and hides the control groups.
    nsenter --net="$NETNS/$NAME" setsid dockerd --data-root="$FOLDER/data" --exec-root="$FOLDER/exec" --pidfile="$FOLDER/dockerd.pid" \
        -H "unix://$FOLDER/docker.sock" </dev/null >"$FOLDER/dockerd.log" 2>&1 &
    for _ in $(seq 200); do
        if DOCKER_HOST="unix://$FOLDER/docker.sock" docker info >/dev/null 2>&1; then exit 0; fi
        sleep 0.1
    done
    echo "dockerd does not start: $(tail -n 3 "$FOLDER/dockerd.log")"
    exit 77
    ;;
in)
    NAME=$2
    shift 2
    exec nsenter --net="$NETNS/$NAME" "$@"
    ;;
down)
    FOLDER=$2 NAME=$3
    if [ -S "$FOLDER/docker.sock" ]; then
        export DOCKER_HOST="unix://$FOLDER/docker.sock"
        LEFT=$(docker ps -aq 2>/dev/null || true)
        # shellcheck disable=SC2086
        if [ -n "$LEFT" ]; then docker rm -f $LEFT >/dev/null 2>&1 || true; fi
    fi
    if [ -f "$FOLDER/dockerd.pid" ]; then
        PID=$(cat "$FOLDER/dockerd.pid")
        kill "$PID" 2>/dev/null || true
        for _ in $(seq 200); do kill -0 "$PID" 2>/dev/null || break; sleep 0.1; done
    fi
    # What an engine that ended in disorder leaves: helpers of containers, and mounts in its folder.
    for PID in $(grep -lsaF "$FOLDER/exec" /proc/[0-9]*/cmdline | cut -d/ -f3); do
        if [ "$PID" != $$ ] && grep -qsa containerd "/proc/$PID/comm"; then kill -9 "$PID" 2>/dev/null || true; fi
    done
    for MOUNT in $(awk -v folder="$FOLDER/" 'index($2, folder) == 1 { print $2 }' /proc/mounts | sort -r); do umount -l "$MOUNT" || true; done
    ip netns del "$NAME" 2>/dev/null || true
    ;;
*)
    echo "dockerd.sh up|in|down" >&2
    exit 2
    ;;
esac
