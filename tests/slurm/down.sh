#!/usr/bin/env bash
# Takes the test-bed away: its own processes, namespaces and bridge, nothing else.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/bed.sh"
shopt -s nullglob

for file in "$BED"/pids/node*; do stop "${file##*/}" KILL; done
for name in slurmctld slurmdbd mariadbd munged; do stop "$name"; done
for path in /run/netns/"$BED_LINK"-node*; do ip netns delete "${path##*/}"; done
for link in /sys/class/net/"$BED_LINK"[0-9]*; do
    [[ ! -e $link ]] || ip link delete "${link##*/}" 2>/dev/null || :
done
! mountpoint -q "$BED/small" || umount -l "$BED/small"
rm -rf "$BED"
