cd "${LLMTRAIN_RUN:?the folder of the run}"
: "${MASTER_ADDR:?}" "${MASTER_PORT:?}" "${SLURM_PROCID:?}" "${SLURM_LOCALID:?}"

# Which step it is that a signal for the ranks goes to.
if [[ $SLURM_PROCID == 0 ]]; then
    printf '{"job": "%s", "array": "%s", "step": "%s"}\n' \
        "${SLURM_JOB_ID:-}" "${SLURM_ARRAY_JOB_ID:-}" "${SLURM_STEP_ID:-0}" >control/.slurm.json
    mv control/.slurm.json control/slurm.json
fi

if [[ $probe != off && $SLURM_LOCALID == 0 ]]; then
    "$LLMTRAIN_PYTHON" probe.py "$probe" "${secrets[@]}"
    [[ ! -e checkout.json ]] || "$LLMTRAIN_PYTHON" checkout.py "$probe"
fi

# Slurm signals every process of the step. The ranks' launcher would die of SIGUSR1, so it starts
# with it ignored, and the ranks themselves get SIGTERM, for which every program has a handler.
signal_ranks() {
    local pid
    for pid in $(ranks); do
        kill "-$1" "$pid" || :
    done
}

# Once: who cancels asks for it, and the batch script does too.
ask_ranks() {
    ((told)) || signal_ranks TERM
    told=1
}

# Slurm ends the other tasks when one has failed, and srun's status is the largest: the first counts.
tell_of_failure() {
    local says="task $SLURM_PROCID on ${SLURMD_NODENAME:-$(hostname)} with status $1"
    (set -o noclobber && echo "$says" >"control/failed-${LLMTRAIN_LIFE:-}") 2>/dev/null || :
}

# How NCCL sends is in its log soon after the start. Where it is not by the fabric that the cluster
# promises, SIGUSR2 comes from there.
watch() {
    trap '' USR1
    PYTHONDONTWRITEBYTECODE=1 exec "$LLMTRAIN_PYTHON" -m preflight.watch
}

interrupted=0 told=0
trap 'interrupted=1; signal_ranks KILL' USR2
trap 'interrupted=1; ask_ranks' USR1
# Before it takes the nodes for another job Slurm may send SIGTERM, to the ranks as well.
trap 'interrupted=1; : >control/terminated' TERM
(
    trap '' USR1
    exec "${start[@]}"
) &
child=$!
((!watched || SLURM_LOCALID)) || watch &
while :; do
    status=0
    wait "$child" || status=$?
    if ((!interrupted)); then
        ((status || SLURM_PROCID)) || : >"control/ended-${LLMTRAIN_LIFE:-}"
        ((!status)) || tell_of_failure "$status"
        exit "$status"
    fi
    interrupted=0
done
