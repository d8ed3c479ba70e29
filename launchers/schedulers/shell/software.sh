# The interpreter's environment goes to each node's own disk as one file: thousands of ranks that
# open its thousands of small files stall a shared file system. The run keeps the file, so that its
# next job runs the same software.
send_software() {
    local root pack=$PWD/control/software.tar copy=$nvme/llmtrain-$SLURM_JOB_ID
    root=$(dirname -- "$(dirname -- "$python")")
    [[ -e $root/pyvenv.cfg || -d $root/conda-meta ]] ||
        die "$python lies in no virtual environment that could be copied to the nodes"
    if [[ ! -e $pack ]]; then
        tar -C "$root" -cf "$pack.part" . || die "$root cannot be packed"
        mv -- "$pack.part" "$pack"
    fi
    # shellcheck disable=SC2016
    on_nodes 'rm -rf -- "$1" && mkdir -p -- "$1"' "$copy" || die "$nvme cannot be written to"
    if ((${#fit[@]} == SLURM_JOB_NUM_NODES)); then
        sbcast --force -- "$pack" "$copy/software.tar" || die "$pack cannot be sent to the nodes"
    else  # sbcast sends to all nodes of a job or to none
        # shellcheck disable=SC2016
        on_nodes 'cp -- "$1" "$2/software.tar"' "$pack" "$copy" || die "$pack cannot be copied"
    fi
    # shellcheck disable=SC2016
    on_nodes 'cd -- "$1" && tar -xf software.tar && rm software.tar' "$copy" ||
        die "$pack cannot be unpacked in $copy"
    sent=1 LLMTRAIN_PYTHON=$copy/bin/${python##*/}
    say "$root is on every node as $copy"
}

drop_software() {
    # shellcheck disable=SC2016
    on_nodes 'rm -rf -- "$1"' "$nvme/llmtrain-$SLURM_JOB_ID" || say "$nvme is not clean"
}

# Once on every node that is fit, spare ones included: not in the order of the ranks.
on_nodes() {
    env -u SLURM_HOSTFILE SLURM_OVERLAP=1 srun --nodes="${#fit[@]}" --ntasks="${#fit[@]}" \
        --nodelist="$(IFS=, && echo "${fit[*]}")" --ntasks-per-node=1 --cpus-per-task=1 \
        --kill-on-bad-exit=1 --label \
        bash -c "$1" bash "${@:2}"
}
