# `module` is a function of login shells; a batch script may have to look for it.
load_modules() {
    local init
    if ! declare -F module >/dev/null; then
        for init in "${LMOD_PKG:-}/init/bash" "${MODULESHOME:-}/init/bash" \
            /etc/profile.d/{lmod,modules}.sh; do
            # shellcheck disable=SC1090
            [[ -r $init ]] && set +u && source "$init" && set -u && break
        done
    fi
    declare -F module >/dev/null || die "there is no module command on $(hostname)"
    set +u
    module load "${modules[@]}" || die "cannot load the modules ${modules[*]}"
    set -u
}
