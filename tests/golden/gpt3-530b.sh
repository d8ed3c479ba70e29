#!/usr/bin/env bash
# gpt3-530b: 280 × 8 ranks, by llmtrain
# Start it on every node with NODE_RANK=0 … 279 and MASTER_ADDR set.
set -euo pipefail
CDPATH= cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
mkdir -p logs control
checkpoints_in=''

# Each start of the ranks is a life of the run and has a number. control/life holds that of the
# newest and who has it; what is left of an earlier one, on a node that was given up, finds a larger
# number there and ends. take_life WHO MORE…; `lives` says whether another holder is there still.
take_life() {
    local last=0 holder='' draft=control/.life-${HOSTNAME:-host}-$$
    mkdir -p control/lives
    [[ ! -s control/life ]] || read -r last holder _ <control/life
    life=$last
    while :; do
        [[ ! $holder || $holder == "$1" ]] || ! lives "$holder" || return 1
        life=$((life + 1))
        echo "$life $*" >"$draft"
        # Of two that begin at once one makes the link, also on a shared file system.
        ln -- "$draft" "control/lives/$life" 2>/dev/null && break
        [[ -s control/lives/$life ]] || { holder="control/lives cannot be written" && return 1; }
        read -r _ holder _ <"control/lives/$life"
    done
    mv -f -- "$draft" control/life
    export LLMTRAIN_LIFE=$life
}

# The folder of checkpoints, or a link to one of the run's name in the site's place for them; says
# why there is none. A link to what is not mounted is not an empty folder: the run would begin again.
make_checkpoints() {
    local there=${checkpoints_in:+$checkpoints_in/${PWD##*/}}
    if [[ -L checkpoints && ! -d checkpoints ]]; then
        echo "checkpoints is a link to $(readlink checkpoints), which is not there"
        return 1
    elif [[ -d checkpoints || ! $there ]]; then
        mkdir -p checkpoints
        return
    fi
    mkdir -p -- "$checkpoints_in" 2>/dev/null || :
    if ! mkdir -- "$there" 2>/dev/null && [[ ! -d $there || $(ls -A -- "$there") ]]; then
        echo "$there cannot be made for this run's checkpoints, or is another's (site.checkpoints)"
        return 1
    fi
    ln -s -- "$there" checkpoints
}

# A life that a process of this machine has: HOST:PID:START. Its neighbours see whether it is there;
# other machines see control/alive change while it is.
hold_run() {
    local me
    me=$(hostname):$$:$(started $$)
    if ! take_life "$me"; then
        echo >&2 "llmtrain: this run is running already, or cannot be begun: see control/life"
        exit 5
    fi
    rm -f control/stopping
    ! declare -F heed >/dev/null || echo >&2 "llmtrain: life $life begins"
    (while kill -0 $$; do
        echo "$life $SECONDS" >control/alive
        ! declare -F heed || heed 2>>logs/launcher.log
        sleep 5
    done) &>/dev/null </dev/null &
}

lives() {
    local host pid start seen
    IFS=: read -r host pid start <<<"$1"
    if [[ $host == "$(hostname)" ]]; then
        [[ $(started "$pid") == "$start" ]]
        return
    fi
    [[ -e control/alive ]] || return 1
    seen=$(<control/alive)
    sleep "${LLMTRAIN_SETTLE_SECONDS:-20}"
    [[ $(<control/alive) != "$seen" ]]
}

# When a process began, in the kernel's ticks; nothing if there is none.
started() {
    local line
    line=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
    read -ra line <<<"${line##*) }"
    [[ ${line[0]} == Z ]] || echo "${line[19]}"
}

# Before the life is taken: a run that would begin again is not begun.
require_checkpoints() {
    local says
    says=$(make_checkpoints) || { echo >&2 "llmtrain: $says" && exit 5; }
}

# A program of the user's does not look into control/ itself; whoever watches its ranks does. Save it
# cannot without an end. A stop waits for its first step: before, SIGTERM would only kill it.
stop_is_asked() {
    if [[ -e control/save ]]; then
        rm -f control/save
        echo >&2 "llmtrain: control/save is left out: this program saves at its interval and at its end (control/stop)"
    fi
    [[ -e control/stop ]] && has_begun && mv control/stop control/stopping
}

# Whether the log has a step of this life; where there is no log that can be read, it has.
has_begun() {
    local log
    [[ $step_log ]] || return 0
    # shellcheck disable=SC2086  # a pattern
    for log in $step_log; do
        sed -n "/llmtrain: life $life begins/,\$p" "$log" 2>/dev/null | grep -e "$step_line" >/dev/null && return
    done
    return 1
}

# The ranks below their launcher, which may have other children; not what they start themselves.
ranks() { ranks_below "$child"; }
ranks_below() {
    local pid pids
    read -ra pids < <(cat /proc/"$1"/task/*/children) || :
    for pid in "${pids[@]}"; do
        if grep -qsz '^LOCAL_RANK=' "/proc/$pid/environ"; then echo "$pid"; else ranks_below "$pid"; fi
    done
}

# Asks the ranks below this process for a checkpoint and the end, once somebody wants it.
heed() {
    local pid child=$$
    stop_is_asked || return 0
    echo >&2 "llmtrain: control/stop: asking the ranks for a checkpoint"
    for pid in $(ranks); do
        kill "$pid" || :
    done
}

# The environment of every rank; env.json holds the sources.
# tensor and context parallel overlap communication in launch order; asserted
export CUDA_DEVICE_MAX_CONNECTIONS=1
# Prints the reason of a failure; INFO with subsystems INIT,NET,ENV,GRAPH for one diagnostic run.
export NCCL_DEBUG=WARN
# Keeps collectives off the storage ports.
export NCCL_IB_HCA='=mlx5_0,mlx5_1,mlx5_2,mlx5_3,mlx5_6,mlx5_7,mlx5_8,mlx5_9'
# half of a rank's 16 cores; torchrun sets 1 else
export OMP_NUM_THREADS=8
# the last collectives of every rank are kept, to tell which one hung
export TORCH_FR_BUFFER_SIZE=2000
# Puts dumps in the run directory and not node-local /tmp.
export TORCH_FR_DUMP_TEMP_FILE=logs/nccl_trace_rank_
# the watchdog writes them down before it ends the job
export TORCH_NCCL_DUMP_ON_TIMEOUT=1
# NCCL kernels get a high-priority stream; Megatron-Bridge sets it in every perf recipe.
export TORCH_NCCL_HIGH_PRIORITY=1

: "${NODE_RANK:?0 to 279, one for each node}"
: "${MASTER_ADDR:?the first node, as the others reach it}"
: "${MASTER_PORT:=29400}"
[[ -n "${LLMTRAIN_PYTHON:-}" ]] || LLMTRAIN_PYTHON=python
"$LLMTRAIN_PYTHON" checkout.py fail
step_log=''
step_line='iteration .*/'
[[ /dev/stderr -ef logs/launcher.log ]] || step_log=
require_checkpoints
((NODE_RANK)) || hold_run
exec "$LLMTRAIN_PYTHON" -m torch.distributed.run --nnodes 280 --node-rank "$NODE_RANK" --master-addr "$MASTER_ADDR" --master-port "$MASTER_PORT" --nproc-per-node 8 /opt/megatron-lm/pretrain_gpt.py --tensor-model-parallel-size 8 --sequence-parallel --context-parallel-size 1 --pipeline-model-parallel-size 35 --num-virtual-stages-per-pipeline-rank 3 --num-layers 105 --hidden-size 20480 --ffn-hidden-size 81920 --num-attention-heads 128 --seq-length 2048 --max-position-embeddings 2048 --normalization LayerNorm --norm-epsilon 1e-05 --position-embedding-type learned_absolute --make-vocab-size-divisible-by 128 --init-method-std 0.02 --attention-dropout 0.1 --hidden-dropout 0.1 --micro-batch-size 1 --global-batch-size 2240 --train-iters 58856 --lr-decay-iters 58856 --lr-warmup-iters 218 --lr 5e-05 --min-lr 5e-06 --lr-decay-style cosine --optimizer adam --adam-beta1 0.9 --adam-beta2 0.95 --adam-eps 1e-08 --weight-decay 0.1 --clip-grad 1 --fp16 --initial-loss-scale 4294967296 --loss-scale-window 1000 --accumulate-allreduce-grads-in-fp32 --recompute-granularity selective --recompute-modules core_attn --transformer-impl transformer_engine --attention-backend unfused --tokenizer-type NullTokenizer --vocab-size 51200 --mock-data --split 0.98,0.02,0 --eval-iters 0 --eval-interval 100 --save checkpoints --load checkpoints --save-interval 100 --log-interval 1 --tensorboard-dir logs/tensorboard --log-throughput --seed 1234 --distributed-timeout-minutes 60 --exit-signal-handler
