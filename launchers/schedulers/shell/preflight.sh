# Looks at every node before a rank starts. Sets hosts to those that are fit, and out to what is
# wrong with each of the others.
screen() {
    out=()
    meeting_place
    look preflight "${#hosts[@]}" "${hosts[0]}" "$MASTER_ADDR" "$MASTER_PORT"
    if ((measured && ${#hosts[@]})); then
        meeting_place
        look preflight.measure "${#hosts[@]}" "$MASTER_ADDR" "$MASTER_PORT"
    fi
}

# Runs module $1 with the other arguments on all hosts, reads what each leaves, and sorts them.
look() {
    local all=("${hosts[@]}") host level reason warned=0 unfit=()
    rm -rf control/preflight
    mkdir -p control/preflight
    on_hosts "$@" || say "the preflight has ended with status $?"
    hosts=()
    for host in "${all[@]}"; do
        level=stop reason="no answer in $preflight_seconds s"
        [[ ! -s control/preflight/$host ]] || read -r level reason <"control/preflight/$host"
        [[ $level == pass ]] || say "$host: $level: $reason"
        if [[ $level == stop ]]; then
            unfit+=("$host: $reason")
            event unfit "\"node\": \"$host\", \"reason\": \"${reason//[\"\\]/}\""
            [[ $preflight == warn ]] || continue
        fi
        [[ $level != warn ]] || warned=$((warned + 1))
        hosts+=("$host")
    done
    say "$1: of ${#all[@]} nodes ${#unfit[@]} are not fit, $warned with a warning"
    event preflight "\"nodes\": ${#all[@]}, \"unfit\": ${#unfit[@]}, \"warned\": $warned"
    out+=("${unfit[@]}")
    keep_out "${#all[@]}" "${unfit[@]}"
}

# One task on each host, in the container where there is one. Overlapping: after the loss of a node
# Slurm (22.05) keeps the CPUs of the last step on the others, and a step of its own would wait.
on_hosts() {
    local -a step wrap shape=()
    compose_step
    if [[ ! ${SLURM_HET_SIZE:-} ]]; then
        shape=(--nodes="${#hosts[@]}" --ntasks="${#hosts[@]}")
        shape+=(--nodelist="$(IFS=, && echo "${hosts[*]}")")
    fi
    env -u SLURM_HOSTFILE -u SLURM_GPU_BIND -u SLURM_GPUS_PER_TASK \
        SLURM_OVERLAP=1 PYTHONDONTWRITEBYTECODE=1 \
        timeout --kill-after=10 "$preflight_seconds" srun "${step[@]}" "${shape[@]}" \
        --ntasks-per-node=1 --kill-on-bad-exit=0 --no-kill "${wrap[@]}" \
        "$LLMTRAIN_PYTHON" -m "$@" </dev/null
}
