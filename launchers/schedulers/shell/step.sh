# Starts the ranks and waits for them; the status is in $status.
start_step() {
    local -a step wrap
    ((!signalled)) || return 0
    compose_step
    ((!placed_by_us)) || place_ranks
    # Every rank sees all GPUs of its node: with one each they cannot share memory (CUDA IPC).
    unset SLURM_GPU_BIND SLURM_GPUS_PER_TASK
    rm -rf control/transport
    srun "${step[@]}" "${wrap[@]}" bash task.sh &
    step_id=$!
    while :; do
        interrupted=0 status=0
        wait "$step_id" || status=$?
        ((interrupted)) || break
    done
    step_id=
    # Of tasks on a lost node srun says nothing, and ends with 0.
    ((status)) || [[ -e control/ended-$life ]] || status=1
    rm -f "control/ended-$life"
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

# What became of the ranks: finished, stopped (asked by a user), interrupted (by the time limit or a
# preemption) or failed. The trainer says it in its last event; other programs only by their status.
outcome() {
    local last
    last=$(tail -n 1 events.jsonl)
    # Also where a process crashed in its very end: nothing is left to do.
    if [[ $last == *'"event": "finished"'* ]]; then
        echo finished
    elif [[ $last == *'"event": "stopped"'* && -e control/terminated && ! -e control/stop ]]; then
        # By Slurm's own SIGTERM, with which torchrun ends badly.
        say "Slurm wants the nodes for another job: the ranks have saved"
        echo interrupted
    elif ((status)); then
        echo failed
    elif ((signalled)); then
        echo interrupted
    elif [[ -e control/stop ]]; then
        echo stopped
    elif [[ -e control/terminated ]]; then
        say "Slurm wants the nodes for another job: the ranks have saved"
        echo interrupted
    elif [[ $last == *'"event": "stopped"'* ]]; then
        echo stopped
    else
        echo finished
    fi
}

# Writes how the ranks ended, where they have not: only llmtrain's trainer does, while it lives.
record() {
    local last way first=" with status $status"
    last=$(tail -n 1 events.jsonl)
    if [[ $1 == failed ]]; then
        [[ ! -s control/failed-$life ]] || first=": $(<"control/failed-$life")"
        way=$(other_way)
        [[ ! $way ]] || first=" $way"
        blame
        [[ $last == *'"event": "failed"'* ]] || event failed "\"error\": \"the ranks ended$first\""
    elif [[ $last =~ \"event\":\ \"(launched|preflight)\" ]]; then
        case $1 in
        interrupted) event stopped '"reason": "time limit"' ;;
        *) event "$1" '"reason": null' ;;
        esac
    fi
}

# Whether the run goes on in another job.
goes_on() {
    [[ $next_job ]] || return 1
    case $1 in
    failed) ((max_restarts)) && may_restart ;;
    # What a script of the user's saves where is not known.
    interrupted) ((!guarded)) || may_restart ;;
    *) return 1 ;;
    esac
}

end() {
    local how next=null
    has_run || refuse "another job has this run"
    how=$(outcome)
    record "$how"
    ((!sent)) || drop_software
    ! goes_on "$how" || next="\"$next_job\""
    event job_ended \
        "\"outcome\": \"$how\", \"status\": $status, \"next\": $next, \"reason\": \"$hopeless\""
    say "the ranks have ended with status $status: $how${hopeless:+; $hopeless}"
    case $how in
    finished) touch control/finished ;;
    stopped) rm -f control/stop ;;
    esac
    if [[ $next == null ]]; then no_more; else go_on; fi
    [[ $how != failed ]] || exit "$status"
}
