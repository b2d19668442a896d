#!/bin/sh
# Runs every fuzz target over its corpus and mutations of it, up to a bound.
# Usage: fuzz/run.sh [runs=N | max_total_time=SECONDS]   (default runs=100000 per target; exit code 1 on a finding)
# The target that loads the XDP program needs root, and as the kernel is slower does a 20th of the runs.
set -eu
cd "$(dirname "$0")"
bound=${1:-runs=100000}

missing() {
    echo "fuzz/run.sh: $1 is missing; install it with: $2" >&2
    exit 1
}
cargo --version >/dev/null 2>&1 || missing Rust "rustup"
cargo fuzz --version >/dev/null 2>&1 || missing cargo-fuzz "cargo install cargo-fuzz --locked"
command -v c++ >/dev/null 2>&1 || missing "a C++ compiler" "apt-get install g++"

# Sanitizers are an unstable option: a nightly compiler has it, and a stable one on demand.
if cargo +nightly --version >/dev/null 2>&1; then
    toolchain=+nightly
else
    toolchain=
    export RUSTC_BOOTSTRAP=1
fi

# New inputs go to a directory of their own, so that the corpus stays as committed.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT INT TERM

# shellcheck disable=SC2086 # an empty $toolchain is to vanish
cargo $toolchain fuzz build
failed=
# shellcheck disable=SC2086
for target in $(cargo $toolchain fuzz list); do
    mkdir "$scratch/$target"
    corpus=corpus/$target most=$bound
    if [ "$target" = xdp_differential ]; then
        corpus=corpus/xdp_model
        case $bound in runs=*) most=runs=$((${bound#runs=} / 20 + 1)) ;; esac
    fi
    if cargo $toolchain fuzz run "$target" "$scratch/$target" "$corpus" -- \
        -"$most" -seed=1 -max_len=4200 >"$scratch/$target.log" 2>&1; then
        echo "fuzz $target: $(grep '^Done' "$scratch/$target.log"), $(grep -o 'cov: [0-9]* ft: [0-9]*' "$scratch/$target.log" | tail -n 1), no finding"
    else
        tail -n 40 "$scratch/$target.log" >&2
        echo "fuzz $target: FAILED; reproduce with the command above, then make it a unit test" >&2
        failed=1
    fi
done
[ -z "$failed" ]
