#!/bin/sh
# Set up everything the demo and the tests need: .venv with pinned packages, npm's Azurite.
# Run through `make setup`; does nothing when what is there is up to date.
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }
fail() { say "setup: $*"; exit 1; }

find_python() {
    for version in 3.13 3.12 3.11; do
        for candidate in "$(command -v "python$version" 2>/dev/null || true)" \
            "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python \
            "$(command -v python3 2>/dev/null || true)"; do
            # A pyenv shim exists for versions that are not active: only a run tells. Without
            # ensurepip (Debian's bare python3) no venv can be made.
            if [ -n "$candidate" ] && "$candidate" -c "import sys, venv, ensurepip
sys.exit(sys.version_info[:2] != tuple(map(int, '$version'.split('.'))))" 2>/dev/null; then
                printf '%s\n' "$candidate"
                return
            fi
        done
    done
}

wanted=${JIT_PYTHON:-$(find_python)}
[ -n "$wanted" ] || fail "Python 3.13, 3.12 or 3.11 with the venv module is needed; none was found on PATH or under pyenv."
command -v node >/dev/null 2>&1 || fail "Node.js 20 or newer is needed for Azurite, the storage emulator; 'node' is not on PATH."
command -v npm >/dev/null 2>&1 || fail "npm is needed to install Azurite; it is not on PATH."

venv=${JIT_VENV:-.venv}
stamp="$venv/.ready"
state="$("$wanted" --version) $(cat requirements-dev.txt local/setup.sh | cksum)"
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$state" ]; then
    say "setup: installing the pinned Python packages into $venv ($("$wanted" --version)) ..."
    rm -rf "$venv"
    "$wanted" -m venv "$venv"
    "$venv/bin/pip" install -qq --disable-pip-version-check --require-hashes --requirement requirements-dev.txt
    # The worker engine declares 3.13 or newer; the same code runs on 3.11 and 3.12.
    # --ignore-requires-python cannot stand in a requirements file, hence this second step, which
    # takes version and hashes from the same lines without their condition on the version of Python.
    if ! "$venv/bin/python" -c 'import azure_functions_runtime' 2>/dev/null; then
        awk '/^azure-functions-runtime==/ { on = 1; sub(/ ;[^\\]*/, " ") } on { print } on && !/\\$/ { exit }' \
            requirements-dev.txt >"$venv/worker-engine.txt"
        "$venv/bin/pip" install -qq --disable-pip-version-check --require-hashes --no-deps --ignore-requires-python \
            --requirement "$venv/worker-engine.txt"
    fi
    printf '%s\n' "$state" >"$stamp"
fi

stamp=node_modules/.ready
state="$(node --version) $(cksum <package-lock.json)"
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$state" ]; then
    say "setup: installing Azurite ..."
    npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
    printf '%s\n' "$state" >"$stamp"
fi
