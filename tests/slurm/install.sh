#!/usr/bin/env bash
# Installs what the test-bed and the tests of the scripts need, on Debian 12, as root.
set -euo pipefail

packages=(
    iproute2 munge slurm-client slurmctld slurmd slurmdbd mariadb-server
    openssh-client openssh-server
)
missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
        missing+=("$package")
done
((${#missing[@]})) || exit 0

refuse() { echo >&2 "test-bed: $* (missing: ${missing[*]})" && exit 1; }
command -v apt-get >/dev/null || refuse 'these packages of Debian 12 are needed'
((EUID == 0)) || refuse 'run tests/slurm/install.sh as root'
echo "test-bed: installing ${missing[*]}"
# Their services are not wanted here: the test-bed starts its own.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
trap 'rm -f /usr/sbin/policy-rc.d' EXIT
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq || refuse 'apt-get cannot reach its servers'
apt-get install -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    refuse 'apt-get cannot install'
