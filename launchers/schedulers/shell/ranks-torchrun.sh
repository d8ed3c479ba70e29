# The ranks below their launcher, which may have other children; not what they start themselves.
ranks() { ranks_below "$child"; }
ranks_below() {
    local pid pids
    read -ra pids < <(cat /proc/"$1"/task/*/children) || :
    for pid in "${pids[@]}"; do
        if grep -qsz '^LOCAL_RANK=' "/proc/$pid/environ"; then echo "$pid"; else ranks_below "$pid"; fi
    done
}
