//! Nodes as processes: killed, stopped, adopted, logged.

use std::io::BufRead as _;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use konsort_drivers::process::{ProcessDriver, Settings};
use konsort_drivers::{Driver, DriverError, RunState, Stopped};
use serde_json::Value;

use crate::{is_there, kill, look, node, running, script, until};

/// Where [`a_platform_that_is_killed`] finds what to do, when it is started as a program of its own.
const ROOT: &str = "KONSORT_DRIVERS_TEST_ROOT";
const FOREVER: &str = "while :; do sleep 0.1; done";
const GRACE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(4);

fn driver(root: &Path) -> ProcessDriver {
    with(root, Settings::default())
}

/// With a first pause that leaves time to see a node which waits for its next try.
fn patient(root: &Path) -> ProcessDriver {
    with(root, Settings { first_pause: PAUSE, ..Settings::default() })
}

fn with(root: &Path, settings: Settings) -> ProcessDriver {
    ProcessDriver::with_settings(PathBuf::from("/bin/sh"), root.join("state"), settings)
}

/// A record as the disk has it, to be changed as a crash would have left it.
fn doctor(root: &Path, name: &str, change: impl FnOnce(&mut Value)) {
    let path = root.join(format!("state/net/{name}.json"));
    let mut record: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut record);
    std::fs::write(&path, serde_json::to_vec(&record).unwrap()).unwrap();
}

#[tokio::test]
async fn a_killed_node_is_noticed_at_once_and_started_again() {
    let root = tempfile::tempdir().unwrap();
    let driver = patient(root.path());
    driver.check().await.unwrap();
    let launch = script(root.path(), "a", FOREVER);
    driver.start(&launch).await.unwrap();
    let first = look(&driver, "a").await;
    assert_eq!((first.state, first.restarts), (RunState::Running, 0));
    driver.start(&launch).await.unwrap();
    assert_eq!(look(&driver, "a").await.pid, first.pid, "a second start changes nothing");

    let killed = Instant::now();
    kill(first.pid.unwrap());
    until(&driver, "a", "backing off", |seen| seen.state == RunState::BackingOff && seen.last_exit.is_some()).await;
    assert!(killed.elapsed() < PAUSE, "noticed after {:?}", killed.elapsed());
    let second = until(&driver, "a", "running again", running).await;
    assert_ne!(second.pid, first.pid);
    let second = until(&driver, "a", "counted", |seen| seen.restarts == 1).await;
    assert_eq!(second.last_exit.unwrap(), "it was killed by signal 9, as the system does when memory runs out");

    assert_eq!(driver.stop(&node("a"), GRACE).await.unwrap(), Stopped::Gracefully);
    assert_eq!(driver.stop(&node("a"), GRACE).await.unwrap(), Stopped::AlreadyStopped);
    assert_eq!(look(&driver, "a").await.state, RunState::Stopped);
    driver.remove(&node("a")).await.unwrap();
    assert!(driver.observe("net").await.unwrap().is_empty());
    assert!(launch.folder.is_dir(), "the node's files are not the driver's");
}

#[tokio::test]
async fn pauses_double_up_to_the_longest_and_a_stop_ends_them() {
    let root = tempfile::tempdir().unwrap();
    let pauses = Settings {
        first_pause: Duration::from_millis(100),
        longest_pause: Duration::from_millis(400),
        ..Settings::default()
    };
    let driver = with(root.path(), pauses);
    let launch = script(root.path(), "a", "date +%s%3N >> starts; exit 3");
    driver.start(&launch).await.unwrap();
    let starts = || -> Vec<i64> {
        let text = std::fs::read_to_string(launch.folder.join("starts")).unwrap_or_default();
        text.lines().map(|line| line.parse().unwrap()).collect()
    };
    let begun = Instant::now();
    while starts().len() < 7 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", starts());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let times = starts();
    let gaps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (gap, least) in gaps.iter().zip([100, 200, 400, 400, 400, 400]) {
        assert!(*gap >= least, "{gaps:?}");
    }
    assert!(gaps[5] < 3200, "without a longest pause this is what the sixth would be: {gaps:?}");
    let seen =
        until(&driver, "a", "backing off", |seen| seen.state == RunState::BackingOff && seen.restarts >= 6).await;
    assert_eq!(seen.last_exit.unwrap(), "it ended with exit code 3; its log tells why");
    assert_eq!(driver.stop(&node("a"), GRACE).await.unwrap(), Stopped::AlreadyStopped);
    let before = starts().len();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(starts().len(), before, "a stopped node is not started again");
    assert_eq!(look(&driver, "a").await.state, RunState::Stopped);
}

#[tokio::test]
async fn a_health_of_some_time_begins_the_pauses_anew() {
    let root = tempfile::tempdir().unwrap();
    let settings = Settings {
        first_pause: Duration::from_millis(100),
        longest_pause: Duration::from_mins(1),
        healthy_after: Duration::from_millis(300),
        ..Settings::default()
    };
    let driver = with(root.path(), settings);
    // Without the reset the pauses alone would take thirteen seconds.
    driver.start(&script(root.path(), "a", "sleep 0.4; exit 1")).await.unwrap();
    let begun = Instant::now();
    until(&driver, "a", "started eight times", |seen| seen.restarts >= 7).await;
    assert!(begun.elapsed() < Duration::from_secs(13), "{:?}", begun.elapsed());
    driver.stop(&node("a"), GRACE).await.unwrap();
}

/// Not a test of its own: the program that the next one starts, then kills.
#[tokio::test]
async fn a_platform_that_is_killed() {
    let Some(root) = std::env::var_os(ROOT).map(PathBuf::from) else { return };
    let driver = driver(&root);
    for name in ["stays", "dies", "stopped"] {
        driver.start(&script(&root, name, FOREVER)).await.unwrap();
    }
    driver.stop(&node("stopped"), GRACE).await.unwrap();
    println!("\nready");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn nodes_outlive_a_killed_platform_and_the_next_one_takes_them_over() {
    let root = tempfile::tempdir().unwrap();
    let mut platform = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process::a_platform_that_is_killed", "--nocapture"])
        .env(ROOT, root.path())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(platform.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "ready"));
    let before = driver(root.path());
    let stays = look(&before, "stays").await.pid.unwrap();
    let dies = look(&before, "dies").await.pid.unwrap();
    // The whole group of the platform, as a terminal or a service manager would.
    let group = rustix::process::Pid::from_child(&platform);
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    platform.wait().unwrap();
    assert!(is_there(stays) && is_there(dies));
    kill(dies);

    let driver = patient(root.path());
    let launches: Vec<_> =
        ["stays", "dies", "stopped", "new"].map(|name| script(root.path(), name, FOREVER)).into_iter().collect();
    driver.adopt(&launches).await.unwrap();
    let seen = look(&driver, "stays").await;
    assert_eq!((seen.pid, seen.state, seen.restarts), (Some(stays), RunState::Running, 0));
    let seen = until(&driver, "dies", "started again", running).await;
    assert_ne!(seen.pid, Some(dies));
    assert_eq!(seen.restarts, 1);
    assert_eq!(seen.last_exit.unwrap(), "it ended while the platform was not running");
    assert_eq!(look(&driver, "stopped").await.state, RunState::Stopped);
    assert_eq!(look(&driver, "new").await.state, RunState::Running);
    // Twice is as good as once.
    driver.adopt(&launches).await.unwrap();
    assert_eq!(look(&driver, "stays").await.pid, Some(stays));

    // An adopted node is watched like one's own.
    let killed = Instant::now();
    kill(stays);
    until(&driver, "stays", "noticed", |seen| seen.state == RunState::BackingOff && seen.last_exit.is_some()).await;
    assert!(killed.elapsed() < PAUSE, "noticed after {:?}", killed.elapsed());
    let seen = until(&driver, "stays", "running again", running).await;
    assert!(seen.last_exit.unwrap().starts_with("it ended; an earlier run of the platform had started it"));
    for name in ["stays", "dies", "new"] {
        driver.stop(&node(name), GRACE).await.unwrap();
    }
}

#[tokio::test]
async fn a_launch_that_has_changed_is_not_a_death() {
    let root = tempfile::tempdir().unwrap();
    let first = driver(root.path());
    first.start(&script(root.path(), "a", FOREVER)).await.unwrap();
    let pid = look(&first, "a").await.pid.unwrap();
    drop(first);
    let second = driver(root.path());
    second.adopt(&[script(root.path(), "a", "exec sleep 600")]).await.unwrap();
    let seen = until(&second, "a", "running", running).await;
    assert!(seen.pid != Some(pid) && !is_there(pid));
    assert_eq!((seen.restarts, seen.last_exit), (0, None));
    second.stop(&node("a"), GRACE).await.unwrap();
}

#[tokio::test]
async fn a_reused_process_id_is_not_mistaken_for_the_node() {
    let root = tempfile::tempdir().unwrap();
    let launch = script(root.path(), "a", FOREVER);
    let first = driver(root.path());
    first.start(&launch).await.unwrap();
    first.stop(&node("a"), GRACE).await.unwrap();
    let mut stranger = Command::new("sleep").arg("600").spawn().unwrap();
    doctor(root.path(), "a", |record| {
        record["wanted"] = "running".into();
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        record["run"] = serde_json::json!({"pid": stranger.id(), "ticks": 12345, "boot": boot.trim(), "at": 1});
    });
    let second = driver(root.path());
    assert_eq!(look(&second, "a").await.pid, None);
    second.adopt(std::slice::from_ref(&launch)).await.unwrap();
    let seen = until(&second, "a", "running", running).await;
    assert_ne!(seen.pid, Some(stranger.id()));
    second.stop(&node("a"), GRACE).await.unwrap();
    assert!(is_there(stranger.id()), "a stranger's process was ended");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn a_node_made_just_before_the_platform_died_is_found_by_its_log() {
    let root = tempfile::tempdir().unwrap();
    let launch = script(root.path(), "a", FOREVER);
    std::fs::create_dir_all(root.path().join("state/net")).unwrap();
    let first = driver(root.path());
    first.start(&launch).await.unwrap();
    let pid = look(&first, "a").await.pid;
    doctor(root.path(), "a", |record| {
        record["run"] = Value::Null;
        record["starting"] = true.into();
    });
    drop(first);
    let second = driver(root.path());
    second.start(&launch).await.unwrap();
    assert_eq!(look(&second, "a").await.pid, pid, "a second process was made");
    second.stop(&node("a"), GRACE).await.unwrap();
    assert!(!is_there(pid.unwrap()));
}

#[tokio::test]
async fn a_taken_port_is_refused_with_its_owner() {
    let root = tempfile::tempdir().unwrap();
    let driver = driver(root.path());
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut launch = script(root.path(), "a", FOREVER);
    launch.ports = vec![port];
    let error = driver.start(&launch).await.unwrap_err();
    assert!(matches!(error, DriverError::PortTaken { port: named, .. } if named == port), "{error:?}");
    let text = error.to_string();
    let own = format!("a cannot listen on port {port}: process {} (", std::process::id());
    assert!(text.starts_with(&own) && text.ends_with("; stop that program or choose other ports"), "{text}");
    // Adoption goes on trying, and tells why.
    doctor(root.path(), "a", |record| record["wanted"] = "running".into());
    let next = self::driver(root.path());
    next.adopt(std::slice::from_ref(&launch)).await.unwrap();
    let seen = until(&next, "a", "told", |seen| seen.last_exit.as_ref().is_some_and(|why| why.contains(&own))).await;
    assert_eq!(seen.state, RunState::BackingOff);
    drop(listener);
    until(&next, "a", "running once the port is free", running).await;
    next.stop(&node("a"), GRACE).await.unwrap();
}

#[tokio::test]
async fn force_is_used_after_the_grace_and_nothing_is_left_behind() {
    let root = tempfile::tempdir().unwrap();
    let driver = driver(root.path());
    let stubborn = script(root.path(), "a", "trap '' TERM; sleep 600 & echo $! > child; while :; do sleep 0.1; done");
    driver.start(&stubborn).await.unwrap();
    let child = loop {
        let text = std::fs::read_to_string(stubborn.folder.join("child")).unwrap_or_default();
        if let Ok(pid) = text.trim().parse::<u32>() {
            break pid;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let begun = Instant::now();
    assert_eq!(driver.stop(&node("a"), Duration::from_millis(300)).await.unwrap(), Stopped::Forced);
    assert!((300..5000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    let begun = Instant::now();
    while is_there(child) {
        assert!(begun.elapsed() < Duration::from_secs(3), "the node's child is left behind");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_start_that_nobody_waits_for_is_carried_through() {
    let root = tempfile::tempdir().unwrap();
    let driver = driver(root.path());
    let launch = script(root.path(), "a", FOREVER);
    for wait in 0..30 {
        let cut_off = tokio::time::timeout(Duration::from_micros(wait * 50), driver.start(&launch)).await;
        driver.start(&launch).await.unwrap();
        let pid = look(&driver, "a").await.pid.unwrap();
        driver.start(&launch).await.unwrap();
        assert_eq!(look(&driver, "a").await.pid, Some(pid), "{cut_off:?}");
        let _cut_off = tokio::time::timeout(Duration::from_micros(wait * 50), driver.stop(&node("a"), GRACE)).await;
        driver.stop(&node("a"), GRACE).await.unwrap();
        assert!(!is_there(pid));
    }
    let left = std::fs::read_dir(root.path().join("state/net")).unwrap().count();
    assert_eq!(left, 2, "the record and the log");
}

#[tokio::test]
async fn another_launch_replaces_the_running_one() {
    let root = tempfile::tempdir().unwrap();
    let driver = driver(root.path());
    driver.start(&script(root.path(), "a", FOREVER)).await.unwrap();
    let first = look(&driver, "a").await.pid.unwrap();
    driver.start(&script(root.path(), "a", "echo second; exec sleep 600")).await.unwrap();
    let second = look(&driver, "a").await;
    assert_ne!(second.pid, Some(first));
    assert!(!is_there(first));
    let mut lines = driver.logs(&node("a"), 5, true).await.unwrap();
    assert_eq!(lines.next().await.unwrap(), "second");
    driver.stop(&node("a"), GRACE).await.unwrap();
    assert_eq!(driver.stop(&node("unknown"), GRACE).await.unwrap(), Stopped::AlreadyStopped);
    assert!(driver.logs(&node("unknown"), 5, false).await.is_err());
    assert!(driver.stop(&node("../a"), GRACE).await.is_err());

    let mut lost = script(root.path(), "b", FOREVER);
    lost.folder = root.path().join("nowhere");
    let error = driver.start(&lost).await.unwrap_err().to_string();
    assert!(error.contains("nowhere") && error.contains("make the node's files first"), "{error}");
    assert_eq!(look(&driver, "b").await.state, RunState::Stopped);
    let none = ProcessDriver::new(root.path().join("none"), root.path().join("state"));
    assert!(none.check().await.unwrap_err().to_string().contains("none"));
}

#[tokio::test]
async fn a_talkative_nodes_log_stays_bounded_and_followers_see_every_line() {
    let root = tempfile::tempdir().unwrap();
    let driver = with(root.path(), Settings { log_bytes: 20_000, log_parts: 2, ..Settings::default() });
    // A bit over 30 kB a second, for six seconds: several rotations while the node holds the file open.
    let talk = "n=0; while [ $n -lt 6000 ]; do n=$((n+1)); echo \"line $n of a node that talks a lot\"; \
                [ $((n % 100)) = 0 ] && sleep 0.1; done; exec sleep 600";
    driver.start(&script(root.path(), "a", talk)).await.unwrap();
    let mut lines = driver.logs(&node("a"), 0, true).await.unwrap();
    let first = lines.next().await.unwrap();
    let first: u32 = first.split(' ').nth(1).unwrap().parse().unwrap();
    for number in first + 1..=6000 {
        let line = tokio::time::timeout(Duration::from_secs(20), lines.next()).await.unwrap().unwrap();
        assert_eq!(line, format!("line {number} of a node that talks a lot"));
    }
    let folder = root.path().join("state/net");
    let logs: Vec<(String, u64)> = std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len()))
        .filter(|(name, _)| name.contains(".log"))
        .collect();
    assert_eq!(logs.len(), 3, "{logs:?}");
    assert!(logs.iter().map(|(_, size)| size).sum::<u64>() < 250_000, "{logs:?}");
    let last: Vec<String> = driver.logs(&node("a"), 2, false).await.unwrap().collect().await;
    assert_eq!(last, ["line 5999 of a node that talks a lot", "line 6000 of a node that talks a lot"]);
    driver.stop(&node("a"), GRACE).await.unwrap();
}

#[tokio::test]
async fn figures_are_those_of_the_process() {
    let root = tempfile::tempdir().unwrap();
    let driver = driver(root.path());
    let busy = script(root.path(), "a", "head -c 300000 /dev/zero > data; while :; do :; done");
    driver.start(&busy).await.unwrap();
    let seen = until(&driver, "a", "measured", |seen| {
        seen.cpu_ms.is_some_and(|cpu| cpu >= 100) && seen.disk.is_some_and(|_| true)
    })
    .await;
    assert!(seen.memory.unwrap() > 100_000, "{seen:?}");
    assert!(seen.started_at.unwrap() > 1_600_000_000_000, "{seen:?}");
    driver.stop(&node("a"), GRACE).await.unwrap();
    assert_eq!(look(&driver, "a").await.cpu_ms, None);
}
