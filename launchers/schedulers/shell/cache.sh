say() { printf 'llmtrain: %s\n' "$*" >&2; }

# The run's job is cancelled by Slurm when this one fails: the run's own record says why.
die() {
    say "$*"
    printf '{"time": "%s", "event": "failed", "step": null, "job": "%s", "error": "%s"}\n' \
        "$(date -u +%Y-%m-%dT%H:%M:%S.%3N+00:00)" "${SLURM_JOB_ID:-}" "${*//[\"\\]/}" >>events.jsonl
    exit 5
}

# Named after all that decides the index: the recipe, and the data's files as they are now.
mark() {
    local state=''
    ((!${#files[@]})) || state=$(stat -Lc '%n %s %Y' -- "${files[@]}") || return 1
    printf '%s\n%s' "$digest" "$state" | sha256sum | cut -d ' ' -f 1
}

begin() {
    local found
    [[ -e recipe.yaml && -e cache.json ]] || { say "this is not the folder of a run" && exit 5; }
    export LLMTRAIN_RUN=$PWD
    found=$(mark) || die "the data cannot be read here: ${files[*]}"
    done_mark=$cache/.llmtrain-$found
    [[ ! -e $done_mark ]] || { say "the index is there already" && exit 0; }
}

# One process, in the container where there is one.
build_index() {
    local -a step wrap
    compose_step
    unset SLURM_GPU_BIND SLURM_GPUS_PER_TASK
    if [[ $checkout ]]; then
        # A script in a folder of the checkout does not find the checkout's own package.
        export PYTHONPATH=$checkout${PYTHONPATH:+:$PYTHONPATH}
    fi
    mkdir -p -- "$cache"
    srun "${step[@]}" --nodes=1 --ntasks=1 --ntasks-per-node=1 \
        --cpus-per-task="$SLURM_CPUS_ON_NODE" "${wrap[@]}" "$LLMTRAIN_PYTHON" "${build[@]}" ||
        die "the index could not be built: logs/cache.log says why"
    : >"$done_mark"
    say "the index is in $cache"
}
