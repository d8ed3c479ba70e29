#!/usr/bin/env bash
# gpt-tiny: 1 × 2 ranks, by llmtrain
set -euo pipefail
CDPATH= cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
mkdir -p logs control checkpoints

# The environment of every rank; env.json holds the sources.
# Hide GPUs.
export CUDA_VISIBLE_DEVICES=''
# Keeps test traffic local; exact names only.
export GLOO_SOCKET_IFNAME=lo
# Avoids oversubscription with several ranks.
export OMP_NUM_THREADS=1

[[ -n "${LLMTRAIN_PYTHON:-}" ]] || LLMTRAIN_PYTHON=python
exec "$LLMTRAIN_PYTHON" -m torch.distributed.run --standalone --local-addr 127.0.0.1 --nproc-per-node 2 -m llmtrain.trainer .
