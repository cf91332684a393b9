#!/bin/sh
# Builds the targets with coverage instrumentation and runs each for SECONDS: run.sh SECONDS [TARGET...]
# Goes on after a target has found something and fails at the end; the input is then in artifacts/TARGET/.
set -eu
cd "$(dirname "$0")"
seconds=${1:?usage: run.sh SECONDS [TARGET...]}
shift
# The toolchain may already be chosen for this process, as under `cargo xtask`.
unset RUSTUP_TOOLCHAIN CARGO RUSTC 2>/dev/null || true
host=$(rustc +nightly -vV | sed -n 's/^host: //p')
[ -n "$host" ] || { echo "no nightly toolchain: rustup toolchain install nightly" >&2; exit 1; }
[ $# -gt 0 ] || set -- $(sed -n 's/^name = "\(.*\)"$/\1/p' Cargo.toml | grep -v '^konsort-fuzz$')
# Given by --target so that build scripts and procedural macros stay plain.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Zsanitizer=address"
bins=
for target in "$@"; do
    bins="$bins --bin $target"
done
# Word splitting is wanted.
cargo +nightly build --release --target "$host" $bins
failed=
for target in "$@"; do
    mkdir -p "corpus/$target" "artifacts/$target"
    echo "== $target"
    "target/$host/release/$target" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 \
        -artifact_prefix="artifacts/$target/" "corpus/$target" "seeds/$target" || failed="$failed $target"
done
[ -z "$failed" ] || { echo "found something:$failed" >&2; exit 1; }
