# The next job is submitted while this one begins, and waits for its end, however that comes: so it
# also comes after a lost node. What a user has cancelled stays so.
was_restarted() {
    local last holder=''
    touch control/chain
    grep -qx "$SLURM_JOB_ID" control/chain || return 0
    restarted=1
    read -r last holder _ <control/life || :
    [[ $holder && $holder != "$SLURM_JOB_ID" && $(state_of "$holder") == CANCELLED ]] || return 0
    say "job $holder was cancelled: job $SLURM_JOB_ID ends too"
    event cancelled "\"life\": $last"
    exit 0
}

state_of() {
    timeout 60 scontrol show job "$1" 2>/dev/null | sed -n 's/^ *JobState=\([A-Z_]*\).*/\1/p' || :
}

# It must not inherit what Slurm said of this one.
line_up() {
    local names next
    if (($(wc -l <control/chain) >= jobs - 1)); then
        hopeless="site.slurm.jobs allows no more than $jobs jobs"
        return
    fi
    mapfile -t names < <(compgen -v SLURM_)
    next=$(
        for variable in "${names[@]}"; do
            [[ $variable == SLURM_CONF || $variable == SLURM_JOB_ID ]] || unset "$variable"
        done
        job=$SLURM_JOB_ID
        unset SLURM_JOB_ID LLMTRAIN_LIFE LLMTRAIN_RUN
        sbatch --parsable --dependency="afterany:$job" job.sbatch
    ) || die "the next job cannot be submitted"
    next_job=${next%%;*}
    echo "$next_job" >>control/chain
    leave_out "$next_job"
}

go_on() {
    say "the run is not over: job $next_job goes on"
    leave_out "$next_job"
}

no_more() {
    [[ ! $next_job ]] || scancel "$next_job" || say "job $next_job cannot be cancelled"
}
