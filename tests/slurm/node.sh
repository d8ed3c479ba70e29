#!/usr/bin/env bash
# node.sh start|kill|stop-daemon|unplug|plug N, node.sh exec N COMMAND…: one node of the test-bed.
#   start: switch it on; kill: power loss; stop-daemon: slurmd dies, the ranks live on;
#   unplug, plug: its network cable
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/bed.sh"
what=$1 number=$2 node=node$2

# Process 1 of the node: its own files in place, then the daemons; it reaps what they leave.
# shellcheck disable=SC2016
boot='
    hostname "$1"
    mount --bind "$2/etc/hosts" /etc/hosts
    mount --bind "$2/etc" /etc/slurm
    mkdir -p /etc/ssh/ssh_config.d /run/sshd
    mount -t tmpfs none /etc/ssh/ssh_config.d
    cp "$2/ssh/ssh_config" /etc/ssh/ssh_config.d/bed.conf
    mount -t tmpfs none "$2/nvme"
    /usr/sbin/sshd -f "$2/ssh/sshd_config"
    slurmd -D -N "$1" &
    while :; do wait -n || sleep 0.2; done'

start() {
    local outer child=
    mkdir -p "$BED/spool/$node"
    # Not `ip netns exec`: it mounts another /sys, without which slurmd does not start.
    setsid nsenter --net="/run/netns/$BED_LINK-$node" \
        unshare --uts --ipc --pid --fork --kill-child --mount-proc \
        bash -c "$boot" _ "$node" "$BED" >>"$BED/log/$node.out" 2>&1 </dev/null &
    outer=$!
    until [[ $child ]]; do
        child=$(cat "/proc/$outer/task/$outer/children")
        child=${child%% *}
    done
    remember "$node" "$child"
}

inside() { nsenter --target "$(pid_of "$node")" --net --uts --ipc --pid --mount "$@"; }

case $what in
start) start ;;
kill) kill -s KILL "$(pid_of "$node")" ;;
stop-daemon) inside bash -c "kill -s KILL \$(cat $BED/spool/$node.pid)" ;;
unplug) ip link set "$BED_LINK$number" down ;;
plug) ip link set "$BED_LINK$number" up ;;
exec)
    # shellcheck disable=SC2016
    inside bash -c 'cd "$1" && exec "${@:2}"' _ "$PWD" "${@:3}"
    ;;
*) echo >&2 "node.sh: $what?" && exit 2 ;;
esac
