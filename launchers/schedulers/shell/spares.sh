# After a failure: whether a node was lost, and a spare can take its place in the same job.
another_try() {
    ((status && !signalled && tries < spares)) || return 1
    local used=("${hosts[@]}") host
    sleep "${LLMTRAIN_SETTLE_SECONDS:-20}"  # Slurm notices the loss of a node some seconds later
    for host in "${used[@]}"; do
        grep -qxF -- "$host" <<<"$(able_nodes)" && continue
        tries=$((tries + 1))
        say "$host is lost: trying again without it, $tries of $spares"
        event launched "\"nodes\": \"$nodelist\", \"without\": \"$host\""
        return 0
    done
    return 1
}
