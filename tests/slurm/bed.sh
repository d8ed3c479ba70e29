# Sourced by up.sh, down.sh and node.sh: where the test-bed is, and the processes it owns.
# shellcheck shell=bash

BED=${BED:-/tmp/llmtrain-bed}      # all files of this test-bed
BED_NODES=${BED_NODES:-4}          # nodes that exist; 2400 more are only in the configuration
BED_GPUS=${BED_GPUS:-8}            # of each node, made of nothing
BED_NET=${BED_NET:-10.77.0}        # .254 is the controller
BED_PORT=${BED_PORT:-16817}        # controller; +1 node daemons, +2 accounting
BED_LINK=${BED_LINK:-llbed}        # begins the names of bridge, cables and network namespaces
export SLURM_CONF=$BED/etc/slurm.conf
export PATH=$PATH:/usr/sbin:/sbin

# A pid alone may by now be somebody else's; with its start time it is one process.
started() { awk '{ print $(NF - 30) }' "/proc/$1/stat" 2>/dev/null; }

remember() { # NAME PID
    echo "$2 $(started "$2")" >"$BED/pids/$1"
}

alive() { # NAME
    local pid start
    [[ -r $BED/pids/$1 ]] || return 1
    read -r pid start <"$BED/pids/$1"
    [[ -n $start && $(started "$pid") == "$start" ]] &&
        ! grep -qs "^State:[[:space:]]*Z" "/proc/$pid/status"
}

pid_of() { # NAME
    local pid
    read -r pid _ <"$BED/pids/$1" && echo "$pid"
}

stop() { # NAME [SIGNAL]
    local try
    if alive "$1"; then
        kill -s "${2:-TERM}" "$(pid_of "$1")"
        for ((try = 0; try < 100; try++)); do
            alive "$1" || break
            sleep 0.05
        done
        ! alive "$1" || kill -s KILL "$(pid_of "$1")"
    fi
    rm -f "$BED/pids/$1"
}

run_daemon() { # NAME COMMAND…
    setsid "${@:2}" >>"$BED/log/$1.out" 2>&1 </dev/null &
    remember "$1" $!
}

wait_for() { # WHAT COMMAND…; 20 seconds
    local try
    for ((try = 0; try < 400; try++)); do
        if "${@:2}" &>/dev/null; then return; fi
        sleep 0.05
    done
    echo >&2 "test-bed: $1 does not come up"
    tail -n 20 "$BED"/log/* >&2
    return 1
}

nodes_ready() { # how many nodes can take a job
    timeout 10 sinfo -h -N -p gpu -t idle,alloc,mix,comp -o %N | sort -u | wc -l
}
