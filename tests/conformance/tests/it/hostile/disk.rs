//! A peer whose disk is full stops taking blocks, says why, loses nothing and goes on once there is space.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use conformance::Network;
use fabric_client::Call;

use crate::faults_clients::{assert_no_doubles, commit_hash, gateway, height, text};

/// A small file system that is gone with the test.
pub(crate) struct Small(PathBuf);

impl Small {
    /// `None` where mounting is not allowed.
    fn mount(path: &Path, mib: u32) -> Option<Self> {
        let size = format!("size={mib}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(path).output().ok()?;
        mounted.status.success().then(|| Self(path.to_path_buf()))
    }

    /// Puts what a folder holds on a small file system in its place.
    pub(crate) fn instead_of(folder: &Path, mib: u32) -> Option<Self> {
        let aside = folder.with_extension("aside");
        std::fs::rename(folder, &aside).unwrap();
        std::fs::create_dir(folder).unwrap();
        let small = Self::mount(folder, mib)?;
        assert!(Command::new("cp").arg("-a").arg(aside.join(".")).arg(folder).status().unwrap().success());
        Some(small)
    }

    /// Takes all space but `kib`.
    pub(crate) fn fill(&self, kib: u64) {
        let output = Command::new("df").args(["--output=avail", "-k"]).arg(&self.0).output().unwrap();
        let free: u64 = String::from_utf8_lossy(&output.stdout).lines().last().unwrap().trim().parse().unwrap();
        std::fs::write(self.0.join("filler"), vec![1; ((free - kib) << 10) as usize]).unwrap();
    }

    pub(crate) fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _best_effort = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn health(node: &serde_json::Value) -> String {
    let url = format!("http://{}/healthz", text(&node["operations"]));
    let output = Command::new("curl").args(["-s", "-m", "2", &url]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_halts_the_peer_by_name_and_loses_nothing() {
    let arguments = ["--orgs", "2", "--batch-timeout", "50ms"];
    let mut network = Network::up(&arguments).unwrap();
    network.stop().unwrap();
    let data = network.data().join("nodes/peer0.org2.example.com/data");
    let Some(disk) = Small::instead_of(&data, 128) else {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    };
    network.start(&arguments).unwrap();
    let peers = network.nodes("peer");
    let (partner, victim) = (peers[0], peers[1]);
    let client = gateway(&network, partner).await.unwrap();
    let commit = async |key: String, size: usize| {
        let value = "v".repeat(size);
        client.submit_and_wait(&Call::new("mychannel", "basic").args(["put", &key, &value])).await.unwrap();
    };
    commit("before".into(), 100).await;
    let before = height(&network, victim, Duration::from_secs(5)).await;
    assert!(health(victim).contains("\"OK\""), "{}", health(victim));

    disk.fill(200);
    let started = Instant::now();
    let mut number = 0;
    while !health(victim).contains("Service Unavailable") {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "the peer does not notice that its disk is full: {}",
            health(victim)
        );
        commit(format!("full-{number}"), 40_000).await;
        number += 1;
    }
    let said = health(victim);
    assert!(said.contains("No space left on device") && said.contains(&data.display().to_string()), "{said}");
    let log = std::fs::read_to_string(text(&victim["log"])).unwrap();
    assert!(log.contains("No space left on device") && log.contains("the channel takes no more blocks"), "{log}");
    assert!(!log.contains("panicked at"), "{log}");
    // What it has is still served, and its partner does not notice.
    let halted = height(&network, victim, Duration::from_secs(5)).await;
    assert!(halted >= before);
    assert_no_doubles(&network, victim).await;
    commit("while-halted".into(), 100).await;

    disk.free();
    conformance::kill(&victim["pid"]).unwrap();
    let mut revived = network.start_node(victim["name"].as_str().unwrap()).unwrap();
    commit("after".into(), 100).await;
    let target = height(&network, partner, Duration::from_secs(5)).await;
    let started = Instant::now();
    while height(&network, victim, Duration::from_secs(20)).await < target {
        assert!(started.elapsed() < Duration::from_secs(20), "the peer does not catch up after space was made");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for block in [halted - 1, target - 1] {
        assert_eq!(
            commit_hash(&network, victim, block).await,
            commit_hash(&network, partner, block).await,
            "block {block}"
        );
    }
    assert_no_doubles(&network, victim).await;
    let through = gateway(&network, victim).await.unwrap();
    let value = through.evaluate(&Call::new("mychannel", "basic").args(["get", "while-halted"])).await.unwrap();
    assert_eq!(value.len(), 100);
    revived.kill().unwrap();
}
