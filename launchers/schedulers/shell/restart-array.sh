# The next task of the array starts by itself.
go_on() {
    say "the run is not over: the next task of the array goes on"
}
