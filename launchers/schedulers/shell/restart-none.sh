was_restarted() { :; }

line_up() { :; }

go_on() { :; }

no_more() {
    [[ -e control/finished ]] || say "the run is not over; go on with: sbatch job.sbatch"
}
