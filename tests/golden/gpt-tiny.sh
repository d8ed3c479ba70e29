#!/usr/bin/env bash
# gpt-tiny: 1 × 2 ranks, by llmtrain
set -euo pipefail
CDPATH= cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
mkdir -p logs control
checkpoints_in=''

# Each start of the ranks is a life of the run and has a number. control/life holds that of the
# newest and who has it; what is left of an earlier one, on a node that was given up, finds a larger
# number there and ends. take_life WHO MORE…; `lives` says whether another holder is there still.
take_life() {
    local last=0 holder='' draft=control/.life-${HOSTNAME:-host}-$$
    mkdir -p control/lives
    [[ ! -s control/life ]] || read -r last holder _ <control/life
    life=$last
    while :; do
        [[ ! $holder || $holder == "$1" ]] || ! lives "$holder" || return 1
        life=$((life + 1))
        echo "$life $*" >"$draft"
        # Of two that begin at once one makes the link, also on a shared file system.
        ln -- "$draft" "control/lives/$life" 2>/dev/null && break
        [[ -s control/lives/$life ]] || { holder="control/lives cannot be written" && return 1; }
        read -r _ holder _ <"control/lives/$life"
    done
    mv -f -- "$draft" control/life
    export LLMTRAIN_LIFE=$life
}

# The folder of checkpoints, or a link to one of the run's name in the site's place for them; says
# why there is none. A link to what is not mounted is not an empty folder: the run would begin again.
make_checkpoints() {
    local there=${checkpoints_in:+$checkpoints_in/${PWD##*/}}
    if [[ -L checkpoints && ! -d checkpoints ]]; then
        echo "checkpoints is a link to $(readlink checkpoints), which is not there"
        return 1
    elif [[ -d checkpoints || ! $there ]]; then
        mkdir -p checkpoints
        return
    fi
    mkdir -p -- "$checkpoints_in" 2>/dev/null || :
    if ! mkdir -- "$there" 2>/dev/null && [[ ! -d $there || $(ls -A -- "$there") ]]; then
        echo "$there cannot be made for this run's checkpoints, or is another's (site.checkpoints)"
        return 1
    fi
    ln -s -- "$there" checkpoints
}

# A life that a process of this machine has: HOST:PID:START. Its neighbours see whether it is there;
# other machines see control/alive change while it is.
hold_run() {
    local me
    me=$(hostname):$$:$(started $$)
    if ! take_life "$me"; then
        echo >&2 "llmtrain: this run is running already, or cannot be begun: see control/life"
        exit 5
    fi
    rm -f control/stopping
    ! declare -F heed >/dev/null || echo >&2 "llmtrain: life $life begins"
    (while kill -0 $$; do
        echo "$life $SECONDS" >control/alive
        ! declare -F heed || heed 2>>logs/launcher.log
        sleep 5
    done) &>/dev/null </dev/null &
}

lives() {
    local host pid start seen
    IFS=: read -r host pid start <<<"$1"
    if [[ $host == "$(hostname)" ]]; then
        [[ $(started "$pid") == "$start" ]]
        return
    fi
    [[ -e control/alive ]] || return 1
    seen=$(<control/alive)
    sleep "${LLMTRAIN_SETTLE_SECONDS:-20}"
    [[ $(<control/alive) != "$seen" ]]
}

# When a process began, in the kernel's ticks; nothing if there is none.
started() {
    local line
    line=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
    read -ra line <<<"${line##*) }"
    [[ ${line[0]} == Z ]] || echo "${line[19]}"
}

# Before the life is taken: a run that would begin again is not begun.
require_checkpoints() {
    local says
    says=$(make_checkpoints) || { echo >&2 "llmtrain: $says" && exit 5; }
}

# The environment of every rank; env.json holds the sources.
# Hide GPUs.
export CUDA_VISIBLE_DEVICES=''
# Keeps test traffic local; exact names only.
export GLOO_SOCKET_IFNAME=lo
# Avoids oversubscription with several ranks.
export OMP_NUM_THREADS=1

[[ -n "${LLMTRAIN_PYTHON:-}" ]] || LLMTRAIN_PYTHON=python
require_checkpoints
hold_run
exec "$LLMTRAIN_PYTHON" -m torch.distributed.run --standalone --local-addr 127.0.0.1 --nproc-per-node 2 -m llmtrain.trainer .
