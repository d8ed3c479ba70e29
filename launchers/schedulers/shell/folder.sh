say() { printf 'llmtrain: %s\n' "$*" >&2; }

die() {
    say "$*"
    ((!placed)) || event failed "\"error\": \"${*//[\"\\]/}\""
    exit 5
}

# Appends a line to the run's own record; Slurm's accounting forgets, this does not.
event() {
    printf '{"time": "%s", "event": "%s", "step": null, "job": "%s", %s}\n' \
        "$(date -u +%Y-%m-%dT%H:%M:%S.%3N+00:00)" "$1" "$SLURM_JOB_ID" "$2" >>events.jsonl
}

# Whether folder $1 was prepared for this very script.
prepared() {
    local line
    while IFS= read -r line; do
        grep -qsxF -- "$line" "$1/SHA256SUMS" || return 1
    done <<<"$sums"
}

# Nodes of the job, those of every part where it is a heterogeneous one.
find_nodes() {
    local part name
    [[ ${SLURM_JOB_ID:-} ]] || die "this is a batch script: start it with sbatch"
    nodelist=$SLURM_JOB_NODELIST
    for ((part = 1; part < ${SLURM_HET_SIZE:-1}; part++)); do
        name=SLURM_JOB_NODELIST_HET_GROUP_$part
        nodelist+=,${!name}
    done
}

# Where the script lies that was submitted: Slurm runs a copy of it.
script_folder() {
    scontrol show job "$SLURM_JOB_ID" 2>/dev/null | sed -n 's|^ *Command=\(/.*\)/.*|\1|p' || :
}

# The run's folder: where this was submitted from or lies, or a new one that it fills itself.
find_folder() {
    local folder=$SLURM_SUBMIT_DIR says
    prepared "$folder" || folder=$(script_folder)
    if ! prepared "$folder"; then
        folder=${LLMTRAIN_RUNS:-${runs:-$SLURM_SUBMIT_DIR/outputs}}
        [[ $folder == /* ]] || folder=$SLURM_SUBMIT_DIR/$folder
        folder+=/$name-${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}
        prepared "$folder" || fill "$folder"
    fi
    cd "$folder"
    mkdir -p logs control
    exec >>logs/launcher.log 2>&1
    export LLMTRAIN_RUN=$PWD
    placed=1
    says=$(make_checkpoints) || die "$says"
}

# Says in the run's own records that this job has it.
begin() {
    say "job $SLURM_JOB_ID on $nodelist in $PWD"
    was_restarted
    begin_life
    line_up
    printf '{"job": "%s", "array": "%s"}\n' "$SLURM_JOB_ID" "${SLURM_ARRAY_JOB_ID:-}" \
        >control/.slurm.json
    mv control/.slurm.json control/slurm.json
    event launched "\"life\": $life, \"nodes\": \"$nodelist\""
}

fill() {
    mkdir -p "$1"
    # What is made inside inherits the group.
    [[ ! $group ]] || { chgrp -- "$group" "$1" && chmod g+s "$1"; } || die "no group $group for $1"
    (cd "$1" && unpack && sha256sum --quiet --check <<<"$sums") ||
        die "$1 cannot be filled: LLMTRAIN_RUNS or site.runs says where runs go"
    cp -- "$0" "$1/job.sbatch"
    (cd "$1" && { printf '%s\n' "$sums" && sha256sum job.sbatch; } >SHA256SUMS)
}
