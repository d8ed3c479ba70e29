# Values come from a file that only its owner can read; nothing here is traced or written.
read_secrets() {
    { set +x; } 2>/dev/null
    local file=$secrets_file name value mode
    local -A found=()
    [[ -O $file && -f $file ]] || die "the secrets' file $file is not there, or not yours"
    mode=$(stat -Lc %a -- "$file")
    [[ $mode == [46]00 ]] || die "$file has mode $mode: chmod 600 it, then submit again"
    while IFS='=' read -r name value || [[ $name ]]; do
        [[ $name == [A-Za-z_]* && $name != *[!A-Za-z0-9_]* ]] && found[$name]=$value
    done <"$file"
    for name in "${secrets[@]}"; do
        [[ -v found[$name] ]] || die "$file does not name $name"
        export "$name=${found[$name]}"
    done
}
