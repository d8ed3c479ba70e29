# Starts the ranks and waits for them; the status is in $status.
start_step() {
    local -a step wrap
    ((!signalled)) || return 0
    ((looks)) || ! wants_stop || return 0
    compose_step
    ((!placed_by_us)) || place_ranks
    # Every rank sees all GPUs of its node: with one each they cannot share memory (CUDA IPC).
    unset SLURM_GPU_BIND SLURM_GPUS_PER_TASK
    rm -rf control/transport
    srun "${step[@]}" "${wrap[@]}" bash task.sh &
    step_id=$!
    while :; do
        ((looks)) || heed
        interrupted=0 status=0
        wait "$step_id" || status=$?
        ((interrupted)) || break
    done
    step_id=
    # Of tasks on a lost node srun says nothing, and ends with 0.
    ((status)) || [[ -e control/ended-$life ]] || status=1
    rm -f "control/ended-$life"
}

# srun hands the signal to the nodes without asking the controller, and task.sh to the ranks, not to
# their launcher.
tell_ranks() {
    say "$1: asking the ranks for a checkpoint"
    [[ -z $step_id ]] || kill -s USR1 "$step_id" || say "the step has just ended"
}
# Slurm signals only this script before the time limit (--signal=B:).
trap 'signalled=1 interrupted=1; tell_ranks "the time limit is near"' USR1

# While the step lives, does what its program does not: looks for requests.
heed() {
    while kill -0 "$step_id" 2>/dev/null; do
        ! stop_is_asked || tell_ranks "control/stop"
        sleep 2 &
        wait $! || :
    done
}

wants_stop() { [[ -e control/stop || -e control/stopping ]]; }

# What became of the ranks: finished, stopped (asked by a user), interrupted (by the time limit or a
# preemption) or failed. The trainer says it in its last event; other programs only by their status.
outcome() {
    local last
    last=$(tail -n 1 events.jsonl)
    # Also where a process crashed in its very end: nothing is left to do.
    if [[ $last == *'"event": "finished"'* ]]; then
        echo finished
    elif [[ $last == *'"event": "stopped"'* && -e control/terminated ]] && ! wants_stop; then
        # By Slurm's own SIGTERM, with which torchrun ends badly.
        say "Slurm wants the nodes for another job: the ranks have saved"
        echo interrupted
    elif ((status)); then
        echo failed
    elif is_done; then
        echo finished
    elif wants_stop; then
        echo stopped
    elif ((signalled)); then
        echo interrupted
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
    [[ $next_job ]] && ! wants_stop || return 1
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
    [[ $how != finished ]] || touch control/finished
    [[ $next != null ]] || rm -f control/stop control/stopping control/save
    if [[ $next == null ]]; then no_more; else go_on; fi
    [[ $how != failed ]] || exit "$status"
}
