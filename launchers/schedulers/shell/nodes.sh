able_nodes() {
    timeout 60 sinfo --noheader --Node --responding --nodes="$nodelist" \
        --states="${1:-alloc,mix,comp}" --format=%N | sort -u
}

# Nodes that can work, in the order of their ranks. Sets hosts to those that the run uses, and fit
# to these and the spare ones.
choose_nodes() {
    local able left ordered all=${#hosts[@]}
    if ((all > nodes)); then
        able=$(able_nodes) || die "sinfo does not answer"
        mapfile -t hosts < <(printf '%s\n' "${hosts[@]}" | grep -xF -- "$able")
        mapfile -t left < <(printf '%s\n' "${hosts[@]}" | grep -vxF -- "$(printf '%s\n' "${blamed[@]}")")
        ((!${#blamed[@]} || ${#left[@]} < nodes)) || hosts=("${left[@]}")
    fi
    [[ $preflight == off ]] || screen
    ((${#hosts[@]} >= nodes)) || die "$(too_few)"
    fit=("${hosts[@]}")
    hosts=("${hosts[@]:0:nodes}")
    ((all == nodes)) || { placed_by_us=1 && say "${#fit[@]} of $all nodes can work"; }
    [[ $edges ]] || return 0
    ordered=$(by_switch) || ordered=
    [[ $ordered ]] || return 0
    mapfile -t hosts <<<"$ordered"
    placed_by_us=1
}

too_few() {
    local names=("${out[@]%%: *}")
    echo -n "${#hosts[@]} nodes can work; the run needs $nodes"
    if ((${#out[@]} && ${#hosts[@]})); then
        echo -n ". Not fit: $(printf '%s; ' "${out[@]}")leave out with" \
            "--exclude=$(IFS=, && echo "${names[*]}")"
    elif ((${#out[@]})); then
        echo -n ": it is not one of them, but what all have. ${out[0]}"
    fi
}

# Nodes of one leaf switch or block beside each other, if that keeps bytes from crossing; else nothing.
by_switch() {
    {
        SLURM_TOPO_LEN=9999999 timeout 60 scontrol show topology 2>/dev/null |
            sed -nE 's/^(SwitchName=.* Level=0|BlockName=).* Nodes=([^ ]+).*/\2/p' |
            while IFS= read -r list; do scontrol show hostnames "$list" | paste -sd ' '; done
        echo "hosts ${hosts[*]}"
    } | awk -v edges="$edges" '
        $1 != "hosts" { for (i = 1; i <= NF; i++) leaf[$i] = NR; next }
        {
            count = NF - 1
            for (i = 1; i <= count; i++) {
                plain[i] = $(i + 1)
                if (!(leaf[plain[i]] in size)) leaves[++different] = leaf[plain[i]]
                size[leaf[plain[i]]]++
            }
            if (different < 2) exit
            for (l = 1; l <= different; l++)
                for (i = 1; i <= count; i++)
                    if (leaf[plain[i]] == leaves[l]) sorted[++n] = plain[i]
            before = crossing(plain, count)
            after = crossing(sorted, count)
            if (after >= before) exit
            for (i = 1; i <= count; i++) print sorted[i]
            printf "llmtrain: %d leaf switches: %.1f MB a step cross them, not %.1f MB\n",
                different, after / 1e6, before / 1e6 >"/dev/stderr"
        }
        function crossing(order, count,    axes, parts, a, i, j, place, sum) {
            axes = split(edges, parts, " ")
            for (a = 1; a <= axes; a++) {
                split(parts[a], edge, ":")
                for (i = 0; i < count; i++) {
                    place = int(i / edge[1]) % edge[2]
                    j = i + edge[1]
                    if (place == edge[2] - 1) {
                        if (!edge[3]) continue
                        j = i - (edge[2] - 1) * edge[1]
                    }
                    if (j < count && leaf[order[i + 1]] != leaf[order[j + 1]]) sum += edge[4]
                }
            }
            return sum
        }'
}

# Tells srun which rank goes where, for an order that is not Slurm's own.
place_ranks() {
    local host task
    for host in "${hosts[@]}"; do
        for ((task = 0; task < tasks_per_node; task++)); do echo "$host"; done
    done >control/hosts
    export SLURM_HOSTFILE=$PWD/control/hosts
    step+=(--distribution=arbitrary)
}
