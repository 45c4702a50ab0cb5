#!/usr/bin/env bash
# NDJSON with nothing but curl: each line has the cursor to go on with.
set -euo pipefail
url=$1 after=earliest
while :; do
    while IFS= read -r line; do
        printf '%s\n' "$line"
        [[ $line =~ \"(reveillecursor|cursor|resumes_at)\":\"([0-9a-z._-]+)\" ]] && after=${BASH_REMATCH[2]}
        [[ $line == *reveille.end* ]] && exit 0
    done < <(curl --silent --fail --compressed --no-buffer --header 'Accept: application/x-ndjson' "$url&after=$after" || true)
    sleep 0.1
done
