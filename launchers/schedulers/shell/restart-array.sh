# The next task of the array starts by itself.
was_restarted() {
    next_job=$SLURM_ARRAY_JOB_ID
    ! grep -qs "\"array\": \"$next_job\"" control/slurm.json || restarted=1
}

line_up() { leave_out "$next_job"; }

go_on() {
    say "the run is not over: the next task of the array goes on"
    leave_out "$next_job"
}

no_more() {
    scancel --state=PENDING "$next_job" || say "the array $next_job cannot be cancelled"
}
