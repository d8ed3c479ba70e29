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
