# The CPUs and the memory next to this rank's GPU.
numa_node() {
    local bus
    if ((${#gpu_numa[@]})); then
        echo "${gpu_numa[LOCAL_RANK]:--1}"
        return
    fi
    bus=$(nvidia-smi --query-gpu=pci.bus_id --format=csv,noheader --id="$LOCAL_RANK" 2>/dev/null) || bus=
    bus=${bus,,}
    cat "/sys/bus/pci/devices/${bus:4}/numa_node" 2>/dev/null || echo -1
}

bind=()
near=$(numa_node)
if ((near >= 0)); then
    cpus=$(cat "/sys/devices/system/node/node$near/cpulist" 2>/dev/null) || cpus=
    if command -v numactl && numactl --cpunodebind="$near" --preferred="$near" true; then
        bind=(numactl --cpunodebind="$near" --preferred="$near")
    elif [[ $cpus ]] && taskset -c "$cpus" true; then
        bind=(taskset -c "$cpus")
    fi
fi &>/dev/null
if ((${#bind[@]})); then
    echo "llmtrain: rank $RANK runs as: ${bind[*]}" >&2
else
    echo "llmtrain: rank $RANK is not bound: no NUMA node of GPU $LOCAL_RANK is known" >&2
fi
