# The next job waits for the end of this one. It must not inherit what Slurm said of this one.
go_on() {
    local names next
    next=$(wc -l <control/chain 2>/dev/null) || next=0
    ((next < jobs - 1)) || die "the run is not over after $jobs jobs: site.slurm.jobs allows no more"
    mapfile -t names < <(compgen -v SLURM_)
    next=$(
        for variable in "${names[@]}"; do
            [[ $variable == SLURM_CONF || $variable == SLURM_JOB_ID ]] || unset "$variable"
        done
        job=$SLURM_JOB_ID
        unset SLURM_JOB_ID
        sbatch --parsable --dependency="afterany:$job" job.sbatch
    ) || die "the next job cannot be submitted"
    printf '%s\n' "${next%%;*}" >>control/chain
    say "the run is not over: job ${next%%;*} goes on"
}
