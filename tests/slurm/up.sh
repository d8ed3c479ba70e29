#!/usr/bin/env bash
# Brings up a real Slurm on this machine: munge, accounting, controller, and nodes of which each is
# a network, host name, process and mount namespace. Needs root and the packages of install.sh.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
source "$here/bed.sh"

network() {
    local n
    ip link add "${BED_LINK}0" type bridge
    ip address add "$BED_NET.254/24" dev "${BED_LINK}0"
    ip link set "${BED_LINK}0" up
    for ((n = 1; n <= BED_NODES; n++)); do
        ip netns add "$BED_LINK-node$n"
        ip link add "$BED_LINK$n" type veth peer name eth0 netns "$BED_LINK-node$n"
        ip link set "$BED_LINK$n" master "${BED_LINK}0" up
        ip -n "$BED_LINK-node$n" address add "$BED_NET.$n/24" dev eth0
        ip -n "$BED_LINK-node$n" link set eth0 up
        ip -n "$BED_LINK-node$n" link set lo up
    done
}

configuration() {
    local n
    for n in slurm.conf slurmdbd.conf; do
        sed -e "s|@BED@|$BED|g" -e "s|@NET@|$BED_NET|g" -e "s|@NODES@|$BED_NODES|g" \
            -e "s|@HEAD@|$(hostname -s)|g" -e "s|@GPUS@|$BED_GPUS|g" \
            -e "s|@PORT@|$BED_PORT|g" -e "s|@PORT1@|$((BED_PORT + 1))|g" \
            -e "s|@PORT2@|$((BED_PORT + 2))|g" "$here/$n" >"$BED/etc/$n"
    done
    chmod 600 "$BED/etc/slurmdbd.conf"
    : >"$BED/etc/cgroup.conf"
    # A character device each: with a count alone Slurm sets no CUDA_VISIBLE_DEVICES.
    for ((n = 0; n < BED_GPUS; n++)); do mknod "$BED/dev/nvidia$n" c 1 3; done
    printf 'NodeName=%s Name=gpu Type=h100 %s\n' \
        "node[1-$BED_NODES]" "File=$BED/dev/nvidia[0-$((BED_GPUS - 1))]" \
        'wide[1-2400]' 'Count=8' >"$BED/etc/gres.conf"
    {
        # Neighbours by name hang on different switches, as machines do that have grown.
        echo "SwitchName=leaf1 Nodes=$(seq -s, -f 'node%g' 1 2 "$BED_NODES")"
        ((BED_NODES == 1)) || echo "SwitchName=leaf2 Nodes=$(seq -s, -f 'node%g' 2 2 "$BED_NODES")"
        echo 'SwitchName=leaf3 Nodes=wide[1-2400]'
        echo "SwitchName=spine Switches=leaf[$( ((BED_NODES == 1)) && echo 1,3 || echo 1-3)]"
    } >"$BED/etc/topology.conf"
    {
        echo '127.0.0.1 localhost'
        echo "$BED_NET.254 $(hostname -s)"
        for ((n = 1; n <= BED_NODES; n++)); do echo "$BED_NET.$n node$n"; done
    } >"$BED/etc/hosts"
}

keys() {
    (umask 077 && head -c 1024 /dev/urandom >"$BED/munge/key")
    ssh-keygen -q -t ed25519 -N '' -f "$BED/ssh/host"
    ssh-keygen -q -t ed25519 -N '' -f "$BED/ssh/id"
    cp "$BED/ssh/id.pub" "$BED/ssh/authorized_keys"
    printf '%s\n' "HostKey $BED/ssh/host" "AuthorizedKeysFile $BED/ssh/authorized_keys" \
        'PasswordAuthentication no' 'UsePAM no' 'StrictModes no' 'PermitRootLogin yes' \
        'PidFile none' >"$BED/ssh/sshd_config"
    printf '%s\n' 'Host *' "    IdentityFile $BED/ssh/id" '    StrictHostKeyChecking no' \
        '    UserKnownHostsFile /dev/null' '    LogLevel ERROR' >"$BED/ssh/ssh_config"
}

munge_daemon() {
    run_daemon munged munged -F --force --socket="$BED/munge/socket" \
        --key-file="$BED/munge/key" --pid-file="$BED/munge/pid" \
        --log-file="$BED/munge/log" --seed-file="$BED/munge/seed"
    wait_for munged munge -S "$BED/munge/socket" -n
}

accounting() {
    chown mysql "$BED/db"
    mariadb-install-db --user=mysql --datadir="$BED/db/data" --skip-test-db \
        --auth-root-authentication-method=socket >"$BED/log/mariadb-install" 2>&1
    run_daemon mariadbd mariadbd --no-defaults --user=mysql --datadir="$BED/db/data" \
        --socket="$BED/db/socket" --pid-file="$BED/db/pid" --skip-networking \
        --innodb-buffer-pool-size=64M --innodb-lock-wait-timeout=900 \
        --innodb-flush-log-at-trx-commit=0
    wait_for mariadbd mariadb-admin --no-defaults -S "$BED/db/socket" ping
    mariadb --no-defaults -S "$BED/db/socket" -e \
        "create database slurm; create user slurm@localhost identified by 'slurm';
         grant all on slurm.* to slurm@localhost;"
    MYSQL_UNIX_PORT=$BED/db/socket run_daemon slurmdbd slurmdbd -D
    wait_for slurmdbd timeout 5 sacctmgr -n show cluster
    sacctmgr -i add cluster bed >/dev/null
    sacctmgr -i add account physics Cluster=bed >/dev/null
    sacctmgr -i add user "$(id -un)" Account=physics >/dev/null
    sacctmgr -i add qos short set MaxWall=00:30:00 >/dev/null
    sacctmgr -i modify user "$(id -un)" set qos+=short >/dev/null
}

all_ready() { (($(nodes_ready) == BED_NODES)); }

begin=$EPOCHREALTIME
((EUID == 0)) || { echo >&2 'test-bed: needs root' && exit 1; }
for program in ip munged slurmctld slurmd slurmdbd mariadbd sshd; do
    command -v "$program" >/dev/null ||
        { echo >&2 "test-bed: no $program here; tests/slurm/install.sh installs it" && exit 1; }
done
BED=$BED "$here/down.sh"
mkdir -p "$BED"/{db,dev,etc,log,munge,nvme,pids,spool,ssh,state}
chmod 755 "$BED" "$BED/munge"
# A disk that is soon full; nodes have it too, since they are made later.
mkdir "$BED/small"
mount -t tmpfs -o size=64m none "$BED/small"
network
configuration
keys
munge_daemon
accounting
run_daemon slurmctld slurmctld -D
wait_for slurmctld bash -c 'timeout 5 scontrol ping | grep -q UP'
for ((n = 1; n <= BED_NODES; n++)); do "$here/node.sh" start "$n"; done
wait_for nodes all_ready
echo "test-bed: SLURM_CONF=$SLURM_CONF up in $(awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $begin }") s"
