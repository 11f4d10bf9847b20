#!/usr/bin/env bash
# Everything that must hold, in one run, on a clean Debian machine with Rust: installs what the full run needs, then checks
# format, lints, documentation, the unit file, and all tests, and tortures the program as it ships. Prints each step with its time, a
# table of every kind of fault with how often it was tried, and a table at the end.
#
#   bash tests/all.sh            everything
#   bash tests/all.sh --no-apt   without installing system packages; what is missing is then an error of its step
#
# SEALGATE_CACHE names a folder for build products and the Python environment that survives a fresh clone.
set -euo pipefail
cd "$(dirname "$0")/.."

APT=yes
[[ "${1:-}" == "--no-apt" ]] && APT=no

# With CI set, a test that would skip for want of a program or of the standards fails instead.
export CI=true
cache="${SEALGATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sealgate}"
if mkdir -p "$cache" 2>/dev/null && [[ -w "$cache" ]]; then
    export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$cache/target}"
else
    cache="$PWD/target"
fi
venv="$cache/venv"
export SEALGATE_VENV="$venv"
export CARGO_TERM_COLOR=never

names=() times=() results=()
began_all=$SECONDS

# Runs one step and goes on after a failure, so that one run shows everything that is wrong. A step is a chain of `&&`: the shell
# does not stop by itself inside a command whose result is looked at.
step() {
    local name="$1" began=$SECONDS result=ok
    shift
    echo "==> $name"
    "$@" || result=FAILED
    names+=("$name") times+=("$((SECONDS - began))") results+=("$result")
    echo "<== $name: $result, $((SECONDS - began)) s"
}

# Packages that the full run starts: a broker, a Python environment, and systemd's own judge of unit files.
install_packages() {
    local missing=()
    command -v mosquitto >/dev/null || [[ -x /usr/sbin/mosquitto ]] || missing+=(mosquitto)
    python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
    command -v strace >/dev/null || missing+=(strace)
    command -v mkfs.ext4 >/dev/null || [[ -x /usr/sbin/mkfs.ext4 ]] || missing+=(e2fsprogs)
    compgen -G '/usr/lib/*/libeatmydata.so*' >/dev/null || missing+=(libeatmydata1)
    command -v faketime >/dev/null || missing+=(faketime)
    command -v systemd-analyze >/dev/null || missing+=(systemd)
    command -v cc >/dev/null || missing+=(gcc libc6-dev)
    if [[ ${#missing[@]} -eq 0 ]]; then
        echo "nothing to install"
        return
    fi
    if [[ "$APT" == no ]]; then
        echo "missing: ${missing[*]}"
        return 1
    fi
    local as_root=()
    [[ "$(id -u)" -eq 0 ]] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq \
        && "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# GS1's own reference for the CBV 2.0 event hash, a validator of JSON Schema with its formats, foreign OPC UA and Modbus servers, and a
# maker of HTTP requests: judges and peers that share no line with ours.
python_environment() {
    local python="$venv/bin/python"
    local modules="import asyncua, epcis_event_hash_generator, jsonschema, pymodbus, rfc3339_validator, rfc3986_validator, schemathesis"
    [[ -x "$python" ]] || python3 -m venv "$venv" || return 1
    "$python" -c "$modules" 2>/dev/null \
        || "$python" -m pip install --quiet --disable-pip-version-check \
            'epcis-event-hash-generator==1.9.3' 'jsonschema[format-nongpl]>=4.23,<5' \
            'asyncua==2.1.0' 'pymodbus==3.16.1' 'schemathesis==4.32.5' \
        || return 1
    "$python" -c "$modules; print('the reference, the validator and the foreign servers are there')"
}

format() { cargo fmt --all --check; }
lints() { cargo clippy --quiet --all-targets -- -D warnings; }
lean() { cargo check --quiet --no-default-features; }
documentation() { RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps --document-private-items; }
build() { cargo test --quiet --no-run && cargo build --quiet; }
tests() { cargo test --quiet; }
release() { cargo build --quiet --release; }

# The program as it ships, judged from outside; see tests/acceptance/__main__.py.
acceptance() { PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" tests/acceptance "${CARGO_TARGET_DIR:-target}/release/sealgate"; }

# A thousand lines in virtual time, each with faults of its own.
simulate() { "${CARGO_TARGET_DIR:-target}/release/sealgate" simulate --seeds 0..1000; }

# The real file: kills, refused calls, power cuts, lost and damaged journals, and faults of our own that must be noticed.
torture() { PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" tests/torture "${CARGO_TARGET_DIR:-target}/release/sealgate"; }

# Every parser that meets a device, on inputs that are nearly right.
fuzz() { cargo test --quiet --test fuzz -- --seconds 60; }

# Foreign servers and a whole foreign line: restarts, cut cables, certificates, the commands of the README.
field() { PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" tests/field "${CARGO_TARGET_DIR:-target}/release/sealgate"; }

# The HTTP door, under requests made from the document that it serves.
door() { PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" tests/door "${CARGO_TARGET_DIR:-target}/release/sealgate"; }

# Clocks that step, a process that stands still, little memory, few files, a tenth of a processor, and a soak.
bounds() { PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" tests/bounds "${CARGO_TARGET_DIR:-target}/release/sealgate"; }

# The service may see and do little: 1.5 of 10, where 10 is everything.
unit_file() {
    local unit='systemd/sealgate@.service'
    systemd-analyze security --offline=true --threshold=15 --no-pager "$unit" | tail -n 1
}

# The files that people are given must be good, and say so.
shipped_configs() {
    local binary="${CARGO_TARGET_DIR:-target}/debug/sealgate" config
    for config in config/line.example.toml config/demo.toml; do
        "$binary" check --config "$config" || return 1
    done
}

step "install packages" install_packages
step "python environment" python_environment
step "format" format
step "lints" lints
step "lean build" lean
step "documentation" documentation
step "build" build
step "tests" tests
step "unit file" unit_file
step "shipped configurations" shipped_configs
step "fuzz" fuzz
step "release build" release
step "simulate" simulate
step "acceptance" acceptance
step "field" field
step "door" door
step "bounds" bounds
step "torture" torture

echo
printf '%-28s %8s  %s\n' step seconds result
failed=0
for index in "${!names[@]}"; do
    printf '%-28s %8s  %s\n' "${names[index]}" "${times[index]}" "${results[index]}"
    [[ "${results[index]}" == ok ]] || failed=1
done
printf '%-28s %8s\n' all "$((SECONDS - began_all))"
exit "$failed"
