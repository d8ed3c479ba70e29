# The same job again. Slurm ends this script at once.
was_restarted() {
    next_job=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}
    ((!${SLURM_RESTART_COUNT:-0})) || restarted=1
}

line_up() { :; }

go_on() {
    say "the run is not over: back into the queue"
    scontrol requeue "$next_job" || die "scontrol cannot requeue"
}

no_more() { :; }
