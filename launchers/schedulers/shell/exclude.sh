# Nodes that later jobs of these runs are to leave out: RUNS/.llmtrain-exclude.yaml, an entry a line.
# Slurm takes them when a job is submitted, and for one that waits: so each job tells the next.
exclude_list() { echo "${PWD%/*}/.llmtrain-exclude.yaml"; }

# Puts nodes, each as "NODE: REASON", on the list, of $1 that were looked at. Where it is most of
# them, it is what was asked of them, or a switch: the list would cost more than they do.
keep_out() {
    local all=$1 each reason
    shift
    ((exclude_seconds && $# && 2 * $# < all)) || return 0
    for each in "$@"; do
        reason=${each#*: }
        printf -- '- {node: "%s", reason: "%s", run: "%s", when: "%s", until: "%s"}\n' \
            "${each%%: *}" "${reason//[\"\\]/}" "${PWD##*/}" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
            "$(date -u -d "@$(($(date +%s) + exclude_seconds))" +%Y-%m-%dT%H:%M:%SZ)"
    done >>"$(exclude_list)"
    [[ $restart != @(chain|array) || ! $next_job ]] || leave_out "$next_job"
}

# Nodes on the list now, one a line: the last entry of each counts, until its end. What somebody has
# damaged is passed over: Slurm would take none of the others beside it.
listed() {
    local node until
    [[ -e $(exclude_list) ]] || return 0
    sed -nE 's/^- \{"?node"?: *"?([][A-Za-z0-9_.,-]+)"?,.*until"?: *"?([0-9TZ:+-]+).*/\1 \2/p' \
        "$(exclude_list)" |
        while read -r node until; do
            if [[ $node == *[[,]* ]]; then
                scontrol show hostnames "$node" | sed "s/\$/ $until/" || :
            else
                echo "$node $until"
            fi
        done |
        awk -v now="$(date -u +%Y-%m-%dT%H:%M:%SZ)" '
            { until[$1] = $2 } END { for (node in until) if (until[node] > now) print node }' | sort -u
}

# Tells Slurm which nodes job $1, which waits, is to leave out beside those that it does already.
leave_out() {
    local list known more
    list=$(listed)
    [[ $list && ! ${SLURM_HET_SIZE:-} ]] || return 0
    known=$(timeout 60 scontrol show job "$1" | sed -n 's/^.*ExcNodeList=//p' | grep -v null |
        while read -r each; do scontrol show hostnames "$each"; done) || :
    more=$(grep -vxF -- "$known" <<<"$list") || return 0
    say "job $1 leaves out ${more//$'\n'/, }"
    # Of an array it takes the tasks that wait, and complains of the one that runs.
    timeout 60 scontrol update "jobid=$1" "ExcNodeList=$(grep . <<<"$known"$'\n'"$more" | paste -sd ,)" || :
}

# A node whose ranks alone did not arrive where the others waited: it is kept out, and in this job
# a spare one takes its place.
blame() {
    local line node
    ((blamed_life < life)) || return 0
    blamed_life=$life
    line=$(sed -n "/\"event\": \"launched\", .*\"life\": $life,/,\$p" events.jsonl |
        grep -F '"event": "hang"' | tail -n 1) || return 0
    node=$(grep -oE '"node": "[^"]+"' <<<"${line##*\"missing\"}" | sort -u) || return 0
    [[ $node != *$'\n'* ]] || return 0
    node=${node%\"} node=${node##*\"}
    blamed+=("$node")
    keep_out "${#hosts[@]}" "$node: its ranks did not arrive where the others waited"
}
