# Megatron's programs and DeepSpeed load what a tracker names. Where that is not whole, as a kill can
# leave it, the tracker alone is moved to the newest one that is, and what it said is kept in an event.

# Whether .pt files were written to their end, which is that of a zip file.
closed() {
    local file
    for file in "$@"; do
        [[ $(tail -c 22 -- "$file" | head -c 2) == PK ]] || return 1
    done
}

# Whether the checkpoint in $1 has all its files. torch_dist writes metadata.json last.
whole() {
    local number found
    [[ -d $1 ]] || return 1
    if compgen -G "$1/*.distcp" >/dev/null; then
        [[ -s $1/metadata.json && -s $1/.metadata ]] && closed "$1/common.pt"
        return
    fi
    for number in "${!patterns[@]}"; do
        mapfile -t found < <(compgen -G "$1/${patterns[number]}")
        ((${#found[@]} == counts[number])) && closed "${found[@]}" || return 1
    done
}

# The folder that the word $1 of the tracker means, and the word for a folder's name.
folder_of() {
    if [[ $1 =~ ^[0-9]+$ ]]; then printf "checkpoints/iter_%07d" "$((10#$1))"; else printf "checkpoints/%s" "$1"; fi
}
word_for() {
    if [[ $1 =~ ^iter_[0-9]+$ ]]; then printf %d "$((10#${1#iter_}))"; else printf %s "$1"; fi
}

check_tracker() {
    local said='' name word
    if [[ -e checkpoints/$tracker ]]; then
        read -r said <"checkpoints/$tracker" || :
        [[ $said ]] && whole "$(folder_of "$said")" && return
    fi
    while read -r name; do
        whole "checkpoints/$name" || continue
        word=$(word_for "$name")
        printf %s "$word" >"checkpoints/.$tracker"
        mv -- "checkpoints/.$tracker" "checkpoints/$tracker"
        say "$tracker said '$said', which is not whole: it is now $word"
        event tracker_moved "\"file\": \"$tracker\", \"was\": \"${said//[\"\\]/}\", \"now\": \"$word\""
        return
    done < <(find checkpoints -mindepth 1 -maxdepth 1 -type d \
        \( -name 'iter_*' -o -name 'global_step*' \) ! -name '*_universal' -printf '%f\n' | sort -rV)
    if [[ $said ]]; then
        say "$tracker says $said, which is not whole, and no other checkpoint is"
    elif compgen -G 'checkpoints/*/' >/dev/null; then
        say "no checkpoint is whole, and $tracker names none: the run begins at step 1"
    fi
}
