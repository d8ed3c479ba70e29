# The ranks among the children of their launcher, which may have others.
ranks() {
    local pid pids
    read -ra pids < <(cat /proc/"$child"/task/*/children) || :
    for pid in "${pids[@]}"; do
        if grep -qsz '^LOCAL_RANK=' "/proc/$pid/environ"; then echo "$pid"; fi
    done
}
