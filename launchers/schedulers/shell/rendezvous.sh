# Where the ranks meet: decided once, here, outside any container. There is no second guess.
rendezvous() {
    local listed address
    listed=$(scontrol show hostnames "$nodelist") || die "scontrol lists no nodes"
    mapfile -t hosts <<<"$listed"
    ((${#hosts[@]} >= nodes)) || die "the job has ${#hosts[@]} nodes; the run needs $nodes"
    choose_nodes
    meeting_place
    say "the ranks meet at $MASTER_ADDR ($address) port $MASTER_PORT"
}

# On the first node, at a port that nobody else is given.
meeting_place() {
    local low high first last
    MASTER_ADDR=${hosts[0]}$host_suffix
    address=$(getent ahosts "$MASTER_ADDR" | awk 'NR == 1 { print $1 }') || address=
    [[ $address ]] || die "$MASTER_ADDR, the first node, has no address"
    if ((nodes > 1)) && [[ $address == 127.* || $address == ::1 ]]; then
        die "$MASTER_ADDR is $address on $(hostname): a loopback, which no other node can reach"
    fi
    # Outside the range from which the kernel gives ports away.
    read -r low high </proc/sys/net/ipv4/ip_local_port_range
    if ((low > 12000)); then
        first=10000 last=$low
    else
        first=$((high + 1)) last=65536
    fi
    ((last - first > 100)) || die "the ephemeral ports $low to $high leave no room for another"
    MASTER_PORT=$((first + (SLURM_JOB_ID + tries) % (last - first)))
    export MASTER_ADDR MASTER_PORT
}
