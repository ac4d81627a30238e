#!/bin/sh
# telos: the requirements of the system. A shell script that takes part in Tekton with nothing but curl.
#
# GET /requirements.json    the list, made from requirements.txt; edit that file and the list follows
# GET /api/health
#
# It registers itself, says that it is ready, and sends a heartbeat with the number of open requirements. When the
# control plane no longer knows it, it registers again. Without TEKTON_URL it only serves.

set -eu
port=${PORT:-8008}
source=${TELOS_FILE:-requirements.txt}
site=$(mktemp -d)
json='content-type: application/json'
id=${TEKTON_COMPONENT_ID:-telos}
supervised=${TEKTON_INSTANCE_UUID:-}
local=${TEKTON_SOCKET:+http://localhost}
instance=
interval=10
server=
pause=

log() { echo "$(date +%H:%M:%S) telos: $*"; }

# requirements.txt as JSON, put in place in one step so that no reader sees half of it.
publish() {
    awk '
        function text(value) { gsub(/[\\"]/, "\\\\&", value); gsub(/[\001-\037]/, " ", value); return "\"" value "\"" }
        BEGIN { printf "{\"requirements\": [" }
        /^[ \t]*(#|$)/ { next }
        {
            id = $1; state = $2; $1 = $2 = ""; sub(/^ +/, "")
            printf "%s{\"id\": %s, \"state\": %s, \"text\": %s}", separator, text(id), text(state), text($0)
            separator = ", "; count[state]++
        }
        END { printf "], \"open\": %d, \"done\": %d}\n", count["open"], count["done"] }
    ' "$source" > "$site/new"
    mv "$site/new" "$site/requirements.json"
}

open_requirements() { sed 's/.*"open": \([0-9]*\).*/\1/' "$site/requirements.json"; }

# tekton METHOD PATH JSON: the answer, then a line with the status (000: nobody there). On the socket nobody speaks TLS.
tekton() {
    curl --silent --max-time 5 ${TEKTON_SOCKET:+--unix-socket "$TEKTON_SOCKET"} --request "$1" --header "$json" \
        --data "$3" --write-out '\n%{http_code}\n' "${local:-$TEKTON_URL}$2" || true
}

status_of() { tail -n 1; }

# field NAME: the value of a JSON string or number, from one line of JSON without nested repetitions of the name.
field() { sed -n "s/.*\"$1\": *\"\{0,1\}\([^\",}]*\).*/\1/p" | head -n 1; }

register() {
    given=${TEKTON_INSTANCE_UUID:+\"instance_uuid\": \"$TEKTON_INSTANCE_UUID\",}
    answer=$(tekton POST /api/components "{$given
        \"component_id\": \"$id\", \"component_name\": \"Telos\", \"version\": \"1.0.0\",
        \"capabilities\": [\"requirements\"], \"metadata\": {\"language\": \"shell\"},
        \"endpoint\": \"http://127.0.0.1:$port\"}")
    case $(printf '%s\n' "$answer" | status_of) in
        200 | 201) ;;
        *) log "not registered: $answer"; return 0 ;;
    esac
    instance=$(printf '%s\n' "$answer" | field instance_uuid)
    given_interval=$(printf '%s\n' "$answer" | field interval)
    interval=${given_interval:-$interval}
    # The instance that the supervisor gave can be used once; after it a new registration is a new instance.
    unset TEKTON_INSTANCE_UUID
    tekton POST "/api/components/$id/ready" "{\"instance_uuid\": \"$instance\"}" > "$site/answer"
    log "ready as $instance"
}

beat() {
    metrics="{\"open_requirements\": $(open_requirements)}"
    answer=$(tekton POST "/api/components/$id/heartbeat" "{\"instance_uuid\": \"$instance\", \"metrics\": $metrics}")
    case $(printf '%s\n' "$answer" | status_of) in
        200)
            given_interval=$(printf '%s\n' "$answer" | field next_interval)
            interval=${given_interval:-$interval}
            case $answer in *'"known":false'*) forget ;; esac ;;
        404 | 409) forget ;;
        *) log "the control plane does not answer; trying again" ;;
    esac
}

forget() {
    log "no longer known to the control plane"
    instance=
}

stop() {
    trap - TERM INT
    # A supervisor sees that we end; without one we say so.
    if [ -z "$supervised" ] && [ -n "$instance" ]; then
        tekton DELETE "/api/components/$id?instance_uuid=$instance" '' > "$site/answer"
    fi
    kill $server $pause 2> /dev/null || true
    rm -r "$site"
    exit 0
}

publish
mkdir "$site/api"
echo '{"status": "ok", "service": "telos"}' > "$site/api/health"
trap stop TERM INT
python3 -m http.server "$port" --bind 127.0.0.1 --directory "$site" &
server=$!
until curl --silent --fail --output "$site/answer" "http://127.0.0.1:$port/api/health"; do
    kill -0 "$server" 2> /dev/null || { log "the server did not start"; exit 1; }
    sleep 0.05
done
log "listening on http://127.0.0.1:$port"

while kill -0 "$server" 2> /dev/null; do
    publish
    if [ -n "${TEKTON_URL:-}" ]; then
        [ -n "$instance" ] && beat
        [ -n "$instance" ] || register
    fi
    # In the background, because a shell hears a signal while it waits, not while it sleeps.
    sleep "$interval" &
    pause=$!
    wait "$pause"
done
log "the server has ended"
exit 1
