#!/bin/sh
# Stands in for `adb`. $FAKE_ADB is a folder: `root` is the device's disk; the files `hang`, `dead`, `unauthorized` and
# `output` say how it misbehaves; `reboot_at` names the benchmark call at which it reboots, `away` counts the commands
# that it then misses, and `hot` those until it has cooled. A run takes as long as `output` says, or it is refused.
d=$FAKE_ADB
echo "$3" >> "$d/commands"
shift 2 # -s SERIAL
less() { n=$(cat "$d/$1"); [ "$n" -le 1 ] && rm "$d/$1" || echo $((n - 1)) > "$d/$1"; }

[ -e "$d/hang" ] && sleep 3600
[ -e "$d/dead" ] && { echo "error: device 'x' not found" >&2; exit 1; }
[ -e "$d/unauthorized" ] && { echo "error: device unauthorized." >&2; exit 1; }
[ -e "$d/away" ] && { less away; echo "error: device offline" >&2; exit 1; }

case "$1 $2" in
"get-state "*) echo device ;;
"push "*) cp "$2" "$d/root$3" ;;
"shell getprop"*) cat "$d/properties" ;;
"shell dumpsys"*)
    if [ -e "$d/hot" ]; then less hot; echo "Thermal Status: 3"; else echo "Thermal Status: 0"; fi
    cat "$d/battery"
    printf '0.52 0.61 0.70 2/812 12345\nschedutil\n' ;;
"shell /data/local/tmp/hwnas/benchmark-"*)
    echo "$2" >> "$d/calls"
    if [ -e "$d/reboot_at" ] && [ "$(wc -l < "$d/calls")" -ge "$(cat "$d/reboot_at")" ]; then
        rm "$d/reboot_at"; rm -rf "$d/root/data/local/tmp/"*; echo 4 > "$d/away"
        echo "error: closed" >&2; exit 255
    fi
    [ -e "$d/output" ] && { sleep 0.01; cat "$d/output"; exit "$(cat "$d/exit" 2>/dev/null || echo 0)"; }
    runs=$(echo "$2" | sed -n 's/.*-r \([0-9]*\).*/\1/p')
    us=$((20 + $(wc -c < "$d/root${2##* }") / 200))
    i=0; while [ $i -lt "$runs" ]; do i=$((i + 1)); printf 'iteration:%d,time_cost:0.%06d\n' $i $us; done ;;
"shell "*) sh -c "$(echo "$2" | sed "s#/data/local/tmp#$d/root/data/local/tmp#g")" ;;
*) echo "adb: unknown command $1" >&2; exit 1 ;;
esac
