# The same job again. Slurm ends this script at once.
go_on() {
    say "the run is not over: back into the queue"
    scontrol requeue "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}" || die "scontrol cannot requeue"
}
