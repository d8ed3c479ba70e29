# Number of the newest complete checkpoint, as the program itself names it; 0: none.
newest_checkpoint() {
    local each found=0
    for each in checkpoints/latest_checkpointed_iteration.txt checkpoints/latest; do
        [[ ! -s $each ]] || found=$(tr -cd '0-9' <"$each")
    done
    for each in checkpoints/step-*; do
        [[ ! $each =~ step-0*([0-9]+)$ ]] || found=${BASH_REMATCH[1]}
    done
    echo "${found:-0}"
}

# Whether the program has saved its last step.
is_done() { ((steps && $(newest_checkpoint) >= steps)); }
