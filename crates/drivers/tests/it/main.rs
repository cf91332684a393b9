//! The drivers with real processes and a real Docker Engine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

mod docker;
mod process;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use konsort_drivers::{Driver, Launch, NodeRef, Observed, RunState};

/// The node of this name in the network `net`.
fn node(name: &str) -> NodeRef {
    NodeRef { network: "net".into(), node: name.into() }
}

/// A launch of a shell script in a folder of its own below `root`.
fn script(root: &Path, name: &str, script: &str) -> Launch {
    let folder = root.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    Launch {
        node: node(name),
        hostname: format!("{name}.example.com"),
        args: vec!["-c".into(), script.into()],
        env: BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]),
        folder,
        reads: Vec::new(),
        ports: Vec::new(),
        memory: None,
    }
}

async fn look(driver: &dyn Driver, name: &str) -> Observed {
    let seen = driver.observe("net").await.unwrap();
    seen.into_iter().find(|seen| seen.node == name).unwrap_or_else(|| panic!("{name} is not known"))
}

/// Waits until a node is as wanted.
async fn until(driver: &dyn Driver, name: &str, what: &str, wanted: impl Fn(&Observed) -> bool) -> Observed {
    let begun = Instant::now();
    loop {
        let seen = look(driver, name).await;
        if wanted(&seen) {
            return seen;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{name} is not {what}: {seen:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn running(seen: &Observed) -> bool {
    seen.state == RunState::Running
}

/// Ends a process of a test, and waits until it has ended: the signal takes effect a moment later.
fn kill(pid: u32) {
    let id = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
    let begun = Instant::now();
    while is_there(pid) {
        assert!(begun.elapsed() < Duration::from_secs(10), "process {pid} does not end");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn is_there(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}
