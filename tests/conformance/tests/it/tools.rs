//! The tools under their usual names, used as operators use them.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

/// Ports that were free a moment ago, all different.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

#[test]
fn a_network_step_by_step_with_configuration_updates() {
    let folder = tempfile::tempdir().unwrap();
    let ports: Vec<String> = free_ports(13).iter().map(ToString::to_string).collect();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/step_by_step.sh");
    let output = conformance::run(
        Command::new("bash")
            .arg(script)
            .env("KONSORT", conformance::konsort().unwrap())
            .env("WORK", folder.path())
            .env("PORTS", ports.join(" ")),
    )
    .unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("ALL STEPS DONE\n"));
}
