//! `konsort`: one program, many roles. Started under a tool's name (`peer`, `orderer`, `configtxgen`, …) or with that name as its
//! first word it is that tool; otherwise it is the platform's own command line.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the edge that prints")]

mod api;
mod cli;
mod language;
mod roles;

use std::process::ExitCode;

/// Nodes hand what they allocate from thread to thread; the system's allocator pays a tenth of their processor time for that. Without
/// huge pages: a node would hold twice the memory and spend another tenth on clearing it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let program = if args.is_empty() { String::from("konsort") } else { args.remove(0) };
    let name = program.rsplit('/').next().unwrap_or("konsort");
    if let Some(role) = roles::find(name) {
        return role(&args);
    }
    if let Some(role) = args.first().and_then(|word| roles::find(word)) {
        return role(&args[1..]);
    }
    cli::run(&args)
}
