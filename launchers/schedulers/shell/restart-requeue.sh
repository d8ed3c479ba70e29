# The same job again. Slurm ends this script, which has a word left to say, soon after.
was_restarted() {
    next_job=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}
    ((!${SLURM_RESTART_COUNT:-0})) || restarted=1
}

line_up() { :; }

go_on() {
    say "the run is not over: back into the queue"
    trap '' TERM
    scontrol requeue "$next_job" || die "scontrol cannot requeue"
    leave_out "$next_job"
}

no_more() { :; }
