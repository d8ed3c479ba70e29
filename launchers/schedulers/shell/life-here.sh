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
