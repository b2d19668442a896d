#!/usr/bin/env bash
# Builds the BPF objects that are committed under xdp/bpf/.
#
#   ebpf/build.sh           build them, and note the toolchain beside them
#   ebpf/build.sh --check   build them elsewhere and compare the bytes with the committed ones
#
# The same toolchain gives the same bytes whatever the directory: paths are remapped, and only what
# loading needs is kept (code, maps, BTF with line numbers; no DWARF).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(dirname "$here")
committed=$repo/xdp/bpf
objects=(vc5 bench)
export CARGO_HOME=${CARGO_HOME:-$HOME/.cargo}

fail() {
  printf 'ebpf/build.sh: %s\n' "$*" >&2
  exit 1
}

how_to_install() {
  cat >&2 <<'EOF'
The eBPF toolchain is missing. On Debian:
  apt-get install rustc-web cargo-web rust-web-src llvm-22-dev
  LLVM_PREFIX=/usr/lib/llvm-22 RUSTFLAGS="-L /usr/lib/llvm-22/lib" \
    cargo install bpf-linker@0.13.0 --locked --no-default-features --features llvm-22
Elsewhere: rustup toolchain install nightly --component rust-src, and a bpf-linker built against
the LLVM version that `rustc +nightly -vV` names.
EOF
  fail "$1"
}

has_source() {
  [ -d "$("$@" --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library/core" ]
}

# Sets rustc (an absolute path) and cargo: Debian's if it has the sources of core, else nightly.
find_toolchain() {
  export PATH=$CARGO_HOME/bin:$PATH
  if [ -x /usr/bin/rustc ] && [ -x /usr/bin/cargo ] && has_source /usr/bin/rustc; then
    rustc=/usr/bin/rustc cargo=/usr/bin/cargo
  elif command -v rustup >/dev/null && rustc=$(rustup which --toolchain nightly rustc 2>/dev/null) \
    && has_source "$rustc"; then
    cargo=$(rustup which --toolchain nightly cargo)
  else
    how_to_install "no rustc with the sources of core"
  fi
  command -v bpf-linker >/dev/null || how_to_install "no bpf-linker"
  llvm=$("$rustc" -vV | sed -n 's/^LLVM version: //p')
  strip=$(command -v "/usr/lib/llvm-${llvm%%.*}/bin/llvm-strip" "llvm-strip-${llvm%%.*}" llvm-strip \
    | head -n 1) || true
  [ -n "$strip" ] || how_to_install "no llvm-strip"
}

toolchain() {
  "$rustc" --version
  printf 'LLVM %s\n' "$llvm"
  bpf-linker --version
}

# build DIRECTORY: leaves the objects and TOOLCHAIN there.
build() {
  local out=$1 source flags dir
  source=$("$rustc" --print sysroot)/lib/rustlib/src/rust
  (cd "$here" && RUSTC=$rustc "$cargo" fetch --locked --quiet)
  flags=(
    '--cfg=bpf_target_arch="x86_64"' -Cdebuginfo=2 -Clinker=bpf-linker -Clink-arg=--btf
    # Headers lie at odd multiples of two: without this every field is put together from bytes.
    -Clink-arg=--cpu-features=+allows-misaligned-mem-access
    "--remap-path-prefix=$here=/vc5/ebpf" "--remap-path-prefix=$source=/rust"
    "--remap-path-prefix=$(realpath "$source")=/rust"
  )
  for dir in "$CARGO_HOME"/registry/src/*/; do
    flags+=("--remap-path-prefix=${dir%/}=/crates")
  done
  (
    cd "$here"
    unset RUSTFLAGS CARGO_BUILD_TARGET CARGO_BUILD_RUSTFLAGS
    CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && printf '%s' "${flags[*]}")
    export CARGO_ENCODED_RUSTFLAGS
    CARGO_TARGET_DIR=$here/target RUSTC=$rustc RUSTC_BOOTSTRAP=1 "$cargo" build --locked --quiet \
      --release --package vc5-ebpf-program --target bpfel-unknown-none -Zbuild-std=core
  )
  for object in "${objects[@]}"; do
    "$strip" --strip-debug -o "$out/$object.o" "$here/target/bpfel-unknown-none/release/$object"
  done
  toolchain >"$out/TOOLCHAIN"
}

check() {
  local out=$1 object
  build "$out"
  for object in "${objects[@]}"; do
    [ -f "$committed/$object.o" ] || fail "xdp/bpf/$object.o is missing; run make ebpf and commit it"
    cmp --silent "$out/$object.o" "$committed/$object.o" && continue
    if ! diff -u "$committed/TOOLCHAIN" "$out/TOOLCHAIN" >&2; then
      fail "xdp/bpf/$object.o was built by another toolchain (above), so its bytes cannot be compared"
    fi
    fail "xdp/bpf/$object.o is not what its source gives; run make ebpf and commit it"
  done
  printf 'xdp/bpf: the same bytes as built from source\n'
}

find_toolchain
case ${1-} in
  '')
    mkdir -p "$committed"
    build "$committed"
    ;;
  --check)
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    check "$scratch"
    ;;
  *) fail "usage: ebpf/build.sh [--check]" ;;
esac
