go_on() {
    say "the run is not over; go on with: sbatch job.sbatch"
}
