# With --universal-checkpoint DeepSpeed goes on from what was converted, whenever it starts. Once the
# run has newer checkpoints of its own layout it goes on from those.
step_of() { tr -cd 0-9 2>/dev/null <"checkpoints/$1" || :; }
own=$(step_of latest) converted=$(step_of latest_universal)
if ((10#${own:-0} > 10#${converted:-0})); then
    for at in "${!start[@]}"; do
        [[ ${start[at]} != --universal-checkpoint ]] || unset "start[at]"
    done
fi
