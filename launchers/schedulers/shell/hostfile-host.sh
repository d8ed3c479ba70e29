address=$(getent ahosts "$MASTER_ADDR" | awk 'NR == 1 { print $1 }')
[[ $address ]] || { echo >&2 "llmtrain: $MASTER_ADDR has no address on $(hostname)" && exit 5; }
if ((NODE_RANK)) && [[ $address == 127.* || $address == ::1 ]]; then
    echo >&2 "llmtrain: $MASTER_ADDR, the first host, is $address on $(hostname): a loopback" && exit 5
fi
if [[ $preflight != off ]]; then
    first=$( ((NODE_RANK)) || echo "${SLURMD_NODENAME:-$(hostname)}")
    PYTHONDONTWRITEBYTECODE=1 "$LLMTRAIN_PYTHON" -m preflight \
        "$nodes" "$first" "$MASTER_ADDR" "$MASTER_PORT" || {
        echo >&2 "llmtrain: $(hostname) is not fit: $(head -n 1 "control/preflight/$(hostname)")"
        exit 5
    }
fi
[[ $probe == off ]] || "$LLMTRAIN_PYTHON" probe.py "$probe"
[[ $probe == off || ! -e checkout.json ]] || "$LLMTRAIN_PYTHON" checkout.py "$probe"
if declare -F heed >/dev/null; then
    life=$LLMTRAIN_LIFE
    echo "llmtrain: life $life begins"
    ((NODE_RANK)) || (while kill -0 $$; do
        heed 2>>logs/launcher.log
        sleep 5
    done) &>/dev/null </dev/null &
fi
exec "$LLMTRAIN_PYTHON" "${start[@]}"
