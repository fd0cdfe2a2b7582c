#!/bin/bash
# demo.sh - sluice in under a minute: two versions of an application behind it, real load, and
# everything that usually loses requests. `demo.sh run` leaves it all running instead.
#
# Loopback only; every process and file of it is gone at the end.
set -euo pipefail

cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
SLUICE=$BUILD/sluice
LOAD=$BUILD/tools/load/load
TMP=$(mktemp -d "${TMPDIR:-/tmp}/sluice-demo.XXXXXX")
declare -A PIDS=()

for program in "$SLUICE" "$LOAD"; do
    [[ -x $program ]] || { echo "demo: $program is not there: run \`make all tools\`" >&2; exit 2; }
done

# The sidecar would drain at the first signal; a second SIGINT closes what is left at once.
clean_up() {
    set +e
    trap - EXIT INT TERM
    local pids=("${PIDS[@]}") pid alive
    if ((${#pids[@]})); then
        [[ -n ${PIDS[sluice]:-} ]] && kill -INT "${PIDS[sluice]}" && sleep 0.1 &&
            kill -INT "${PIDS[sluice]}"
        for pid in "${pids[@]}"; do
            [[ $pid == "${PIDS[sluice]:-}" ]] || kill -TERM "$pid"
        done
        for _ in {1..30}; do
            alive=0
            for pid in "${pids[@]}"; do kill -0 "$pid" && alive=1; done
            ((alive)) || break
            sleep 0.1
        done
        kill -KILL "${pids[@]}"
    fi 2>/dev/null
    wait 2>/dev/null
    rm -rf "$TMP"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The first free port from $1 on that none of the others has.
TAKEN=" "
take_port() {
    local port=$1
    while [[ $TAKEN == *" $port "* ]] || ! is_free "$port"; do port=$((port + 1)); done
    TAKEN+="$port "
    PORT=$port
}

wait_for() { # URL
    for _ in {1..100}; do
        curl -fso /dev/null -m 1 "$1" && return
        sleep 0.05
    done
    echo "demo: nothing answers at $1" >&2
    cat "$TMP/sluice.log" >&2 2>/dev/null || true
    exit 1
}

start_app() { # NAME PORT VERSION
    "$SLUICE" demo-app --listen "127.0.0.1:$2" --version "$3" 2>>"$TMP/app.log" &
    PIDS[$1]=$!
    disown
}

# A device: 16 may log in, and each session is locked until its logout.
start_device() {
    "$SLUICE" demo-app --listen "127.0.0.1:$DEVICE" --sessions 16 2>>"$TMP/app.log" &
    PIDS[device]=$!
    disown
    wait_for "http://127.0.0.1:$DEVICE/sessions"
}

# An application that logs in there, and knows of no signal and no logout.
start_holder() {
    ln -s "$(realpath "$SLUICE")" "$TMP/holder-$HOLDER" # a name that nobody else has
    "$TMP/holder-$HOLDER" demo-app --listen "127.0.0.1:$HOLDER" --login "127.0.0.1:$OUT" \
        >"$TMP/holder.out" 2>>"$TMP/app.log" &
    PIDS[holder]=$!
    disown
    wait_for "http://127.0.0.1:$HOLDER/healthz"
}

start_sluice() {
    "$SLUICE" proxy -c "$TMP/sluice.yaml" 2>>"$TMP/sluice.log" &
    PIDS[sluice]=$!
    wait_for "http://127.0.0.1:$HEALTH/readyz"
}

# A load client in the background; its result goes to $TMP/PHASE.CLIENT.json.
LOADS=()
load() { # PHASE CLIENT ARGUMENTS...
    local file="$TMP/$1.$2.json"
    "$LOAD" --json --allow-failed "${@:3}" >"$file" &
    PIDS[load-$2]=$!
    LOADS+=("$!")
}

wait_for_loads() {
    for pid in "${LOADS[@]}"; do wait "$pid" || true; done
    LOADS=()
}

stop_loads() {
    kill -INT "${LOADS[@]}" 2>/dev/null || true
    wait_for_loads
}

set_up() {
    take_port 15080; HTTP=$PORT
    take_port 15900; ADMIN=$PORT
    take_port 15901; HEALTH=$PORT
    take_port 8080; V1=$PORT
    take_port 8081; V2=$PORT
    take_port 8082; HOLDER=$PORT
    take_port 8083; DEVICE=$PORT
    take_port 15001; OUT=$PORT
    sed -e "s/127.0.0.1:15080/127.0.0.1:$HTTP/" -e "s/127.0.0.1:15900/127.0.0.1:$ADMIN/" \
        -e "s/127.0.0.1:15901/127.0.0.1:$HEALTH/" -e "s/127.0.0.1:8080/127.0.0.1:$V1/" \
        -e "s/127.0.0.1:8081/127.0.0.1:$V2/" -e "s/\[8082\]/[$HOLDER]/" \
        -e "s/127.0.0.1:8083/127.0.0.1:$DEVICE/" -e "s/127.0.0.1:15001/127.0.0.1:$OUT/" \
        -e "s/holder-8082/holder-$HOLDER/" -e "s#/run/sluice/#$TMP/#" \
        demo/sluice.yaml >"$TMP/sluice.yaml"
    "$SLUICE" validate --strict "$TMP/sluice.yaml" >/dev/null
    URL=http://127.0.0.1:$HTTP
    start_app v1 "$V1" v1
    start_app v2 "$V2" v2
    wait_for "http://127.0.0.1:$V1/healthz"
    wait_for "http://127.0.0.1:$V2/healthz"
    start_device
    start_sluice
}

device_sessions() {
    curl -fsS "http://127.0.0.1:$DEVICE/sessions" | sed 's/.*"held":\([0-9]*\).*/\1/'
}

# What sluice says of an application that grows; nothing: not yet.
leak_report() { grep -o "the application (pid ${PIDS[holder]}, .*" "$TMP/sluice.log" | head -n 1; }

# The serving process is the supervisor's only child.
serving() { pgrep -P "${PIDS[sluice]}" | head -n 1; }

run_only() {
    say "Running. Ctrl-C ends it."
    cat <<END
  application v1   http://127.0.0.1:$V1      the sidecar    $URL
  application v2   http://127.0.0.1:$V2      configuration  $TMP/sluice.yaml
END
    echo; echo "Try:"
    while IFS='|' read -r command remark; do
        printf '  %-58s %s\n' "${command//\~/|}" "${remark:+# $remark}"
    done <<END
curl -i $URL/|X-Version says which version answered
seq 100 ~ xargs -I@ curl -s $URL/ ~ sort ~ uniq -c|95 and 5
curl $URL/headers|what the application sees
curl "$URL/delay?ms=1000"|slow; so is /chunked?n=20&size=40&ms=200
curl --data-binary @/etc/services $URL/upload
curl -i --path-as-is "$URL/%00"|refused by the sidecar: see Proxy-Status
curl http://127.0.0.1:$HEALTH/metrics|and /readyz, /livez
$SLUICE status --admin $TMP/admin.sock
$LOAD --url $URL/ -c 32 -t 5 --method mix
kill -9 $(serving)|the serving process: another takes over
kill -TERM ${PIDS[sluice]}|a drain, then exit; its report follows here
END
    while kill -0 "${PIDS[sluice]}" 2>/dev/null; do sleep 0.5; done
    say "The sidecar has ended. Its log:"
    cat "$TMP/sluice.log"
}

play() {
    say "1. Two versions behind the sidecar, 95 to 5: 20,000 requests, GET and POST in turns"
    load 1-split "keep-alive" --url "$URL/" --method mix -c 32 -n 20000
    wait_for_loads
    "$SLUICE" status --admin "$TMP/admin.sock" | sed -n '/^ROUTE/,/^$/p'

    say "2. Version 2 is killed under load, and comes back a second later"
    load 2-upstream "keep-alive" --url "$URL/" --method mix -c 16 -t 4 --think 2
    load 2-upstream "slow" --url "$URL/delay?ms=200" -c 4 -t 4
    sleep 1
    kill -KILL "${PIDS[v2]}"
    sleep 1
    start_app v2 "$V2" v2
    wait_for_loads

    say "3. kill -9 of the serving process under load: the supervisor starts another"
    load 3-kill "keep-alive" --url "$URL/" --method mix -c 16 -t 3 --think 2
    load 3-kill "connection each" --url "$URL/" --close -c 4 -t 3 --think 2
    load 3-kill "slow" --url "$URL/delay?ms=200" -c 4 -t 3
    sleep 1
    local before after
    before=$(serving)
    kill -KILL "$before"
    wait_for_loads
    after=$(serving)
    echo "   serving process $before was killed, $after serves"

    say "4. An application that takes 10 descriptors and 5 sockets each 0.1 s, and gives none back"
    start_holder
    local leaks=$EPOCHREALTIME report=
    for _ in {1..100}; do
        curl -fso /dev/null "http://127.0.0.1:$HOLDER/leak?fds=10&sockets=5"
        sleep 0.1
        report=$(leak_report) && break
    done || true
    echo "   ${report:-sluice has not noticed}"
    echo "{\"found\": $([[ $report == *grows:*fds* ]] && echo true || echo false)," \
        "\"after_ms\": $(((${EPOCHREALTIME/./} - ${leaks/./}) / 1000))}" >"$TMP/leak"

    say "5. That application, which has logged in at a device, is killed; nobody told it to log out"
    echo "   the device: $(device_sessions) of 16 sessions held"
    "$SLUICE" lease list --admin "$TMP/admin.sock" | sed 's/^/   /'
    local killed=$EPOCHREALTIME freed
    kill -KILL "${PIDS[holder]}"
    unset 'PIDS[holder]'
    for _ in {1..500}; do
        [[ $(device_sessions) == 0 ]] && break
        sleep 0.02
    done
    freed=$(((${EPOCHREALTIME/./} - ${killed/./}) / 1000))
    echo "   the device: $(device_sessions) held; given back $freed ms after the kill"
    echo "{\"held\": $(device_sessions), \"after_ms\": $freed}" >"$TMP/session"

    say "6. SIGTERM under load: drain, then exit"
    load 6-drain "keep-alive" --url "$URL/" --method mix -c 16 --think 2
    load 6-drain "connection each" --url "$URL/" --close -c 4 --think 2
    load 6-drain "idle" --url "$URL/" --idle 200 --quiet
    load 6-drain "slow" --url "$URL/delay?ms=700" -c 8
    load 6-drain "stream" --url "$URL/chunked?n=15&size=1000&ms=100" -c 4
    load 6-drain "upload" --url "$URL/upload" --method POST --body 2000000 --chunked -c 2 --think 50
    sleep 1.5
    local begin=$EPOCHREALTIME status=0
    kill -TERM "${PIDS[sluice]}"
    wait "${PIDS[sluice]}" || status=$?
    local end=$EPOCHREALTIME
    stop_loads
    unset 'PIDS[sluice]'
    echo "   exit code $status after $(((${end/./} - ${begin/./}) / 1000)) ms"

    say "The drain report"
    python3 demo/table.py report "$TMP/sluice.log"
    say "What the clients saw"
    python3 demo/table.py table "$TMP" "$status"
}

case ${1:-} in
"")
    set_up
    play
    ;;
run | --run)
    set_up
    run_only
    ;;
*)
    echo "usage: demo/demo.sh [run]" >&2
    exit 2
    ;;
esac
