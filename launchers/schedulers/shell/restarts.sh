# A restart is worth it while there are new checkpoints between them: after $max_restarts in a row
# without one, the next would end like the last.

# Takes the run for this job. restarted: no user has started it. Sets saved, the newest checkpoint now,
# and stalls: as many restarts in a row have led no further, if this one does not.
begin_life() {
    local holder='' before=-1 had=0
    [[ ! -s control/life ]] || read -r _ holder before had <control/life
    saved=$(newest_checkpoint) stalls=$restarted
    # Before the life is taken, which would forget it.
    ((saved || before <= 0)) || die "the checkpoint of step $before is gone: the run does not begin again"
    ((!restarted || saved > before)) || stalls=$((had + 1))
    take_life "$SLURM_JOB_ID" "$saved" "$stalls" || refuse "job $holder has this run"
    rm -f control/terminated control/stopping
    ((!restarted || tries)) || note_loss
    say "life $life begins after step $saved"
    ((!restarted || saved > before || stalls <= max_restarts)) || give_up
}

# Writes how the life before ended, where no script was left to do it.
note_loss() {
    local before nodes able node said='' down=0
    [[ $(tail -n 1 events.jsonl) != *'"event": "job_ended"'* ]] || return 0
    before=$(grep '"event": "launched"' events.jsonl | tail -n 1)
    nodes=$(sed -n 's/.*"nodes": "\([^"]*\)".*/\1/p' <<<"$before")
    able=$(nodelist=$nodes able_nodes idle,alloc,mix,comp) || return 0
    for node in $(scontrol show hostnames "$nodes"); do
        grep -qxF -- "$node" <<<"$able" && continue
        event failed "\"node\": \"$node\", \"error\": \"node $node is down\"" && down=1
    done
    ((!down)) || return 0
    [[ $before =~ \"job\":\ \"([0-9]+)\" ]] || return 0
    said=$(timeout 60 sacct -X -n -P -D -j "${BASH_REMATCH[1]}" -o State |
        grep -v -e RUNNING -e PENDING | tail -n 1) || said=nothing
    event failed "\"error\": \"Slurm says $said of the job before\""
}

# Another job has the run: nothing of it may be touched.
refuse() {
    say "$1: job $SLURM_JOB_ID ends"
    exit 5
}

# Whether this job has the run still: its node may have been given up while this script goes on.
has_run() {
    local newest said
    read -r newest _ <control/life
    ((newest == life)) || return 1
    said=$(timeout 60 scontrol show job "$SLURM_JOB_ID" 2>/dev/null) || return 0
    [[ $said =~ JobState=([A-Z_]+).*Restarts=([0-9]+) ]] || return 0
    [[ ${BASH_REMATCH[1]} == RUNNING ]] && ((BASH_REMATCH[2] == ${SLURM_RESTART_COUNT:-0}))
}

# The nodes whose ranks were ended because NCCL does not send by the fabric that is promised, and why.
other_way() {
    local file level reason first='' named=()
    [[ $preflight == stop ]] || return 0
    while read -r file; do
        read -r level reason <"$file"
        [[ $level != stop ]] || named+=("${file##*/}")
        [[ $level != stop || $first ]] || first=${reason//[\"\\]/}
    done < <(compgen -G 'control/transport/*')
    ((${#named[@]})) || return 0
    echo -n "on ${#named[@]} of $nodes nodes, ${named[0]} first: $first"
    ((2 * ${#named[@]} >= nodes)) || echo -n "; leave out with --exclude=$(IFS=, && echo "${named[*]}")"
}

# Whether another restart may lead further; why not is in $hopeless.
may_restart() {
    hopeless=$(other_way)
    [[ ! $hopeless ]] || return 1
    (($(newest_checkpoint) <= saved && stalls >= max_restarts)) || return 0
    hopeless="$stalls restarts in a row made no new checkpoint"
    return 1
}

# Slurm has started a job again that should not have been.
give_up() {
    hopeless="$((stalls - 1)) restarts in a row made no new checkpoint"
    event failed "\"error\": \"$hopeless\""
    event job_ended "\"outcome\": \"failed\", \"status\": 1, \"next\": null, \"reason\": \"$hopeless\""
    say "$hopeless: the ranks are not started"
    no_more
    exit 1
}

# Whether the job that has the run is there still.
lives() {
    local state try
    for ((try = 0; try < 5; try++)); do
        if state=$(timeout 60 squeue --noheader --jobs="$1" --format=%T 2>&1); then
            [[ $state == @(RUNNING|SUSPENDED|STOPPED|SIGNALING|RESIZING)* ]]
            return
        fi
        [[ $state != *"Invalid job id"* ]] || return 1
        sleep "${LLMTRAIN_SETTLE_SECONDS:-20}"
    done
    say "Slurm does not say whether job $1 runs"
}

# Nodes of the run on which nothing can be started. Slurm finds such a node lost after SlurmdTimeout.
silent_nodes() {
    local heard
    # In a heterogeneous job a list of nodes cannot be asked.
    [[ ! ${SLURM_HET_SIZE:-} ]] || return 0
    # Overlapping: after the loss of a node Slurm keeps the CPUs of the last step on the others.
    # shellcheck disable=SC2016
    heard=$(env -u SLURM_HOSTFILE SLURM_OVERLAP=1 timeout 90 srun --nodelist="$(IFS=, && echo "${hosts[*]}")" \
        --nodes="${#hosts[@]}" --ntasks="${#hosts[@]}" --ntasks-per-node=1 --cpus-per-task=1 \
        --kill-on-bad-exit=0 bash -c 'echo "$SLURMD_NODENAME"' 2>/dev/null) || :
    printf '%s\n' "${hosts[@]}" | grep -vxF -- "$heard"
}

# One of the run's nodes that is lost, by what Slurm says; until it says so of a silent node, waits.
lost_node() {
    local able silent try
    for ((try = 0; try < 60; try++)); do
        sleep "${LLMTRAIN_SETTLE_SECONDS:-20}"
        able=$(able_nodes) || return 1
        printf '%s\n' "${hosts[@]}" | grep -vxF -m 1 -- "$able" && return
        silent=$(silent_nodes | paste -sd ,)
        [[ $silent ]] || return 0
        say "nothing can be started on $silent: waiting for Slurm to see it"
    done
    return 1
}

# srun may be dead while its tasks live on.
end_steps() {
    local each
    for each in $(timeout 60 squeue --noheader --steps --jobs="$SLURM_JOB_ID" --format=%i); do
        [[ ! $each =~ \.[0-9]+$ ]] || timeout 60 scancel --signal=KILL "$each" || :
    done
}

# Once more in the same job, after a failure that did not take it along.
another_try() {
    local without
    { ((status && !signalled)) && ! wants_stop && has_run && [[ $(outcome) == failed ]]; } || return 1
    [[ $restart != none ]] || ((spares)) || return 1
    record failed
    may_restart || return 1
    end_steps
    without=$(lost_node) || return 1
    if [[ $without ]]; then
        ((lost < spares)) || return 1
        lost=$((lost + 1))
        say "$without is lost: trying again without it, $lost of $spares"
    else
        [[ $restart != none ]] && ((max_restarts)) || return 1
        say "the ranks have ended with status $status: trying again"
    fi
    tries=$((tries + 1)) restarted=1
    begin_life
    event launched "\"life\": $life, \"nodes\": \"$nodelist\", \"without\": \"$without\""
}
