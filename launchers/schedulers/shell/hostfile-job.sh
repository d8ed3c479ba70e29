cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
mkdir -p logs control
require_checkpoints
hold_run
rm -rf control/preflight

# BatchMode: ask for no password. -tt: when this end goes, so do the ranks at the other.
remote=(ssh -tt -o BatchMode=yes -o ConnectTimeout=20)
pids=()
for rank in "${!hosts[@]}"; do
    printf -v line 'cd %q && exec bash host.sh %q %q %q' "$PWD" "$rank" "${hosts[0]}" "$life"
    "${remote[@]}" "${hosts[rank]}" "$line" >"logs/host-$rank.log" 2>&1 </dev/null &
    pids+=($!)
done

# One host that fails ends the others: they would wait for it in vain.
trap 'kill "${pids[@]}" 2>/dev/null || :' EXIT TERM INT
status=0
for _ in "${hosts[@]}"; do
    wait -n || { status=$? && break; }
done
cat logs/host-*.log >&2
# Only llmtrain's trainer writes how it ended.
if [[ $(cut -d' ' -f1 control/life) == "$life" ]] && ! tail -n 1 events.jsonl 2>/dev/null | grep -qE '"event": "(finished|stopped|failed)"'; then
    how=finished
    if ((status)); then how=failed; elif [[ -e control/stopping ]] && ! is_done; then how=stopped; fi
    printf '{"time": "%s", "event": "%s", "step": null, "error": "a host ended with status %s"}\n' \
        "$(date -u +%Y-%m-%dT%H:%M:%S.%3N+00:00)" "$how" "$status" >>events.jsonl
fi
exit "$status"
