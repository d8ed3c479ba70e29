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
