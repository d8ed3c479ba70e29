# Asks the ranks below this process for a checkpoint and the end, once somebody wants it.
heed() {
    local pid child=$$
    stop_is_asked || return 0
    echo >&2 "llmtrain: control/stop: asking the ranks for a checkpoint"
    for pid in $(ranks); do
        kill "$pid" || :
    done
}
