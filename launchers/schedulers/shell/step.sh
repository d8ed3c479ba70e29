# Starts the ranks and waits for them; the status is in $status.
start_step() {
    local -a step wrap
    ((!signalled)) || return 0
    compose_step
    ((!placed_by_us)) || place_ranks
    # Every rank sees all GPUs of its node: with one each they cannot share memory (CUDA IPC).
    unset SLURM_GPU_BIND SLURM_GPUS_PER_TASK
    srun "${step[@]}" "${wrap[@]}" bash task.sh &
    step_id=$!
    while :; do
        interrupted=0 status=0
        wait "$step_id" || status=$?
        ((interrupted)) || break
    done
    step_id=
}

# Slurm signals only this script before the time limit (--signal=B:). srun hands the signal to the
# nodes without asking the controller, and task.sh to the ranks, not to their launcher.
# shellcheck disable=SC2317,SC2329  # the trap calls it
tell_ranks() {
    signalled=1 interrupted=1
    say "the time limit is near: asking the ranks for a checkpoint"
    [[ -z $step_id ]] || kill -s USR1 "$step_id" || say "the step has just ended"
}
trap tell_ranks USR1

# What became of the ranks: finished, stopped (asked by a user), interrupted (by the time limit) or
# failed. The trainer says it in its last event; other programs only by their status.
outcome() {
    local last
    last=$(tail -n 1 events.jsonl)
    if ((status)); then
        echo failed
    elif [[ $last == *'"event": "finished"'* ]]; then
        echo finished
    elif ((signalled)); then
        echo interrupted
    elif [[ $last == *'"event": "stopped"'* || -e control/stop ]]; then
        echo stopped
    else
        echo finished
    fi
}

end() {
    local how
    how=$(outcome)
    # Only llmtrain's trainer writes how it ended.
    if [[ $(tail -n 1 events.jsonl) =~ \"event\":\ \"(launched|preflight)\" ]]; then
        case $how in
        failed) event failed "\"error\": \"the ranks ended with status $status\"" ;;
        interrupted) event stopped '"reason": "time limit"' ;;
        *) event "$how" '"reason": null' ;;
        esac
    fi
    ((!sent)) || drop_software
    event job_ended "\"outcome\": \"$how\", \"status\": $status"
    say "the ranks have ended with status $status: $how"
    case $how in
    failed) exit "$status" ;;
    interrupted) go_on ;;
    finished) touch control/finished ;;
    stopped) rm -f control/stop ;;
    esac
}
