# What NCCL chooses on this node, for preflight/watch.py; with one rank a node that is little to log.
if ((LOCAL_RANK == 0)); then
    nccl=$LLMTRAIN_RUN/logs/${SLURMD_NODENAME:-$(hostname)}
    mkdir -p "$nccl"
    [[ ${NCCL_DEBUG:-} == TRACE ]] || export NCCL_DEBUG=INFO
    export NCCL_DEBUG_SUBSYS=INIT,NET,ENV${NCCL_DEBUG_SUBSYS:+,$NCCL_DEBUG_SUBSYS}
    export NCCL_DEBUG_FILE=$nccl/nccl-${LLMTRAIN_LIFE:-}.log
fi
