//! Nodes as containers of a real Docker Engine, which is started in a network namespace of its own.
//!
//! Ports that the engine publishes are inside that namespace, so the client's part runs there: this test binary is started again in
//! it. The nodes are this very binary, too, in an image that the driver makes of it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use konsort_drivers::docker::DockerDriver;
use konsort_drivers::{Driver, DriverError, Launch, NodeRef, RunState, Stopped};

use crate::{kill, look, node, running, until};

/// Set for the part inside: the folder to work in.
const INSIDE: &str = "KONSORT_DRIVERS_TEST_DOCKER";
/// Set for a node: the port it listens on.
const NODE_PORT: &str = "KONSORT_DRIVERS_TEST_NODE";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/conformance/scripts/dockerd.sh");
const GRACE: Duration = Duration::from_secs(3);

#[test]
fn containers_of_a_real_engine() {
    if std::env::var_os(INSIDE).is_some() || std::env::var_os(NODE_PORT).is_some() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let name = format!("kd{}", std::process::id());
    let up = Command::new("bash").args([SCRIPT, "up"]).arg(folder.path()).arg(&name).output().unwrap();
    let engine = Engine { folder: folder.path().to_owned(), name };
    let said = String::from_utf8_lossy(&up.stdout).into_owned();
    if up.status.code() == Some(77) && !rustix::process::geteuid().is_root() {
        println!("SKIPPED: {}", said.trim());
        return;
    }
    assert!(up.status.success(), "{said}{}", String::from_utf8_lossy(&up.stderr));
    let inside = Command::new("bash")
        .args([SCRIPT, "in", &engine.name])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "docker::inside", "--nocapture"])
        .env(INSIDE, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&inside.stdout).into_owned();
    assert!(
        inside.status.success() && said.contains("ALL OF IT PASSED"),
        "{said}{}",
        String::from_utf8_lossy(&inside.stderr)
    );
}

/// Ends the engine however the test ends.
struct Engine {
    folder: PathBuf,
    name: String,
}

impl Drop for Engine {
    fn drop(&mut self) {
        let down = Command::new("bash").args([SCRIPT, "down"]).arg(&self.folder).arg(&self.name).status();
        assert!(down.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// Not a test of its own: a node, run in a container. It answers one question per line.
#[test]
fn a_node_in_a_container() {
    let Ok(port) = std::env::var(NODE_PORT) else { return };
    println!("node of {port} begins");
    let listener = TcpListener::bind(format!("0.0.0.0:{port}")).unwrap();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        std::thread::spawn(move || {
            let mut question = String::new();
            if BufReader::new(stream.try_clone().unwrap()).read_line(&mut question).is_ok() {
                println!("asked {}", question.trim());
                let _gone = writeln!(stream, "{}", answer(question.trim()));
            }
        });
    }
}

fn answer(question: &str) -> String {
    let (verb, rest) = question.split_once(' ').unwrap_or((question, ""));
    match verb {
        "who" => std::fs::read_to_string("/proc/self/status").unwrap_or_default().replace('\n', ";"),
        "write" => match std::fs::write(rest, "written") {
            Ok(()) => "written".to_owned(),
            Err(error) => error.to_string(),
        },
        "eat" => {
            let bytes = vec![1_u8; rest.parse().unwrap()];
            std::hint::black_box(&bytes);
            "eaten".to_owned()
        }
        "end" => end(rest.parse().unwrap()),
        "ask" => ask(rest, "hello").unwrap_or_else(|error| error.to_string()),
        _ => "hello".to_owned(),
    }
}

#[allow(clippy::exit, reason = "it is asked to")]
fn end(code: i32) -> ! {
    std::process::exit(code)
}

fn ask(address: &str, question: &str) -> std::io::Result<String> {
    use std::net::ToSocketAddrs as _;
    let nobody = || std::io::Error::other("no address");
    let address = address.to_socket_addrs()?.next().ok_or_else(nobody)?;
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    writeln!(stream, "{question}")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    if answer.is_empty() { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer.trim().to_owned()) }
}

async fn answers(address: &str, question: &str, wanted: impl Fn(&std::io::Result<String>) -> bool) -> String {
    let begun = Instant::now();
    loop {
        let (to, what) = (address.to_owned(), question.to_owned());
        let answer = tokio::task::spawn_blocking(move || ask(&to, &what)).await.unwrap();
        if wanted(&answer) {
            return answer.unwrap_or_else(|error| error.to_string());
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{address} answers {question}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn container(root: &Path, name: &str, port: u16) -> Launch {
    let folder = root.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    Launch {
        node: node(name),
        hostname: format!("{name}.org1.example.com"),
        args: ["--exact", "docker::a_node_in_a_container", "--nocapture"].map(String::from).into(),
        env: [(NODE_PORT.to_owned(), port.to_string())].into(),
        folder,
        reads: Vec::new(),
        ports: vec![port],
        memory: Some(256 << 20),
    }
}

fn docker(folder: &Path, args: &[&str]) -> String {
    let socket = format!("unix://{}", folder.join("docker.sock").display());
    let output = Command::new("docker").args(args).env("DOCKER_HOST", socket).output().unwrap();
    assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The part inside the engine's network namespace.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inside() {
    let Some(folder) = std::env::var_os(INSIDE).map(PathBuf::from) else { return };
    let socket = format!("unix://{}", folder.join("docker.sock").display());
    let make = || DockerDriver::new(Some(&socket), std::env::current_exe().unwrap(), folder.join("state"));
    let driver = make();
    driver.check().await.unwrap();

    println!("two nodes, who have few rights and find each other by name");
    let shared = folder.join("shared");
    std::fs::create_dir(&shared).unwrap();
    let mut a = container(&folder, "a", 7101);
    a.reads = vec![shared.clone()];
    let b = container(&folder, "b", 7102);
    // The files of one belong to somebody without rights, and the folders above let him pass.
    std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::os::unix::fs::chown(&a.folder, Some(4711), Some(4712)).unwrap();
    for launch in [&a, &b] {
        driver.start(launch).await.unwrap();
    }
    let at = |driver: &DockerDriver, name: &str, port: u16| driver.reachable(&node(name), port);
    let (to_a, to_b) = (at(&driver, "a", 7101), at(&driver, "b", 7102));
    let who = answers(&to_a, "who", Result::is_ok).await;
    for wanted in
        ["Uid:\t4711\t", "Gid:\t4712\t", "CapEff:\t0000000000000000;", "CapBnd:\t0000000000000000;", "NoNewPrivs:\t1;"]
    {
        assert!(who.contains(wanted), "{wanted} is not in {who}");
    }
    let write = |path: String| format!("write {path}");
    assert_eq!(answers(&to_a, &write(a.folder.join("x").display().to_string()), Result::is_ok).await, "written");
    assert_eq!(answers(&to_a, "write /tmp/x", Result::is_ok).await, "written");
    for closed in ["/x".to_owned(), "/usr/local/bin/x".to_owned(), shared.join("x").display().to_string()] {
        let answer = answers(&to_b, &write(closed.clone()), Result::is_ok).await;
        assert!(answer.contains("Read-only") || answer.contains("No such file"), "{closed}: {answer}");
    }
    let answer = answers(&to_a, &write(shared.join("x").display().to_string()), Result::is_ok).await;
    assert!(answer.contains("Read-only"), "{answer}");
    let from_a_to_b = format!("ask {}", driver.between_nodes(&b.hostname, 7102));
    let hello = |answer: &std::io::Result<String>| answer.as_ref().is_ok_and(|text| text == "hello");
    answers(&to_a, &from_a_to_b, hello).await;
    // Published on the loopback address only.
    let published = docker(&folder, &["port", "konsort-net-a"]);
    assert_eq!(published, "7101/tcp -> 127.0.0.1:7101");

    println!("figures and logs");
    let seen = until(&driver, "a", "measured", |seen| seen.cpu_ms.is_some() && seen.disk.is_some()).await;
    assert!(seen.memory.unwrap() > 100_000 && seen.memory.unwrap() < 256 << 20, "{seen:?}");
    assert!((konsort_now() - seen.started_at.unwrap()).abs() < 60_000, "{seen:?}");
    let first = seen.pid.unwrap();
    let lines: Vec<String> = driver.logs(&node("a"), 1000, false).await.unwrap().collect().await;
    assert!(lines.contains(&"node of 7101 begins".to_owned()) && lines.contains(&"asked who".to_owned()), "{lines:?}");
    let last: Vec<String> = driver.logs(&node("a"), 1, false).await.unwrap().collect().await;
    assert_eq!(last, [format!("asked {from_a_to_b}")]);
    let mut follow = driver.logs(&node("a"), 0, true).await.unwrap();
    driver.start(&a).await.unwrap();
    assert_eq!(look(&driver, "a").await.pid, Some(first), "a second start changes nothing");

    println!("a node that dies is started again, and its log is followed from one run to the next");
    kill(first);
    let seen = until(&driver, "a", "started again", |seen| running(seen) && seen.pid != Some(first)).await;
    assert_eq!(seen.restarts, 1, "{seen:?}");
    let seen_why = until(&driver, "a", "told why", |seen| seen.last_exit.is_some()).await;
    assert_eq!(seen_why.last_exit.unwrap(), "it was killed by signal 9");
    let line = async {
        while let Some(line) = follow.next().await {
            if line == "node of 7101 begins" {
                return true;
            }
        }
        false
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), line).await.unwrap());
    let _closes = ask(&to_b, "end 7");
    until(&driver, "b", "counted", |seen| {
        running(seen)
            && seen.restarts == 1
            && seen.last_exit.as_deref() == Some("it ended with exit code 7; its log tells why")
    })
    .await;

    println!("a container that somebody kills or removes through the engine is put back");
    docker(&folder, &["kill", "konsort-net-a"]);
    until(&driver, "a", "down", |seen| seen.state == RunState::BackingOff).await;
    until(&driver, "a", "back", |seen| running(seen) && seen.restarts == 2).await;
    docker(&folder, &["rm", "-f", "konsort-net-b"]);
    let seen = until(&driver, "b", "back", |seen| running(seen) && seen.restarts == 2).await;
    assert_eq!(seen.last_exit.unwrap(), "its container was removed by somebody else");
    answers(&to_a, &from_a_to_b, hello).await;

    println!("memory has a limit");
    let _closes = ask(&to_a, "eat 400000000");
    let seen =
        until(&driver, "a", "told", |seen| seen.last_exit.as_ref().is_some_and(|why| why.contains("memory"))).await;
    assert_eq!(seen.last_exit.unwrap(), "it was killed because it used more memory than its limit");
    until(&driver, "a", "back", running).await;
    answers(&to_a, "hello", hello).await;

    println!("a disconnected node reaches nobody until it is reconnected");
    answers(&to_a, &from_a_to_b, hello).await;
    driver.disconnect(&node("b")).await.unwrap();
    answers(&to_a, &from_a_to_b, |answer| !hello(answer)).await;
    assert!(ask(&to_b, "hello").is_err());
    assert!(running(&look(&driver, "b").await), "it goes on running");
    driver.reconnect(&node("b")).await.unwrap();
    answers(&to_a, &from_a_to_b, hello).await;
    answers(&to_b, "hello", hello).await;

    println!("a new driver takes everything over, and a stop is for good");
    let pid_a = look(&driver, "a").await.pid;
    assert_ne!(driver.stop(&node("b"), GRACE).await.unwrap(), Stopped::AlreadyStopped);
    assert_eq!(driver.stop(&node("b"), GRACE).await.unwrap(), Stopped::AlreadyStopped);
    drop(driver);
    let driver = make();
    driver.adopt(&[a.clone(), b.clone()]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(look(&driver, "a").await.pid, pid_a);
    assert_eq!(look(&driver, "b").await.state, RunState::Stopped);
    drop(driver);
    docker(&folder, &["kill", "konsort-net-a"]);
    let driver = make();
    driver.adopt(&[a.clone(), b.clone()]).await.unwrap();
    until(&driver, "a", "started, having died while nobody watched", running).await;
    driver.start(&b).await.unwrap();
    answers(&to_b, "hello", hello).await;

    println!("a changed launch replaces the container");
    let mut changed = b.clone();
    changed.env.insert("MORE".into(), "1".into());
    let before = look(&driver, "b").await.container;
    driver.start(&changed).await.unwrap();
    assert_ne!(look(&driver, "b").await.container, before);
    answers(&to_b, "hello", hello).await;

    println!("a taken port is named and leaves nothing behind");
    let taken = TcpListener::bind("127.0.0.1:7103").unwrap();
    let error = driver.start(&container(&folder, "c", 7103)).await.unwrap_err();
    assert!(matches!(error, DriverError::PortTaken { port: 7103, .. }), "{error}");
    assert!(error.to_string().contains(&format!("process {} (", std::process::id())), "{error}");
    drop(taken);
    assert_eq!(look(&driver, "c").await.container, None);
    let error = driver.start(&container(&folder, "d", 7101)).await.unwrap_err();
    assert!(matches!(error, DriverError::PortTaken { port: 7101, .. }), "{error}");

    println!("one image, and nothing of a removed network is left");
    assert_eq!(docker(&folder, &["images", "-q"]).lines().count(), 1);
    for name in ["a", "b", "c", "d"] {
        driver.remove(&node(name)).await.unwrap();
    }
    assert!(driver.observe("net").await.unwrap().is_empty());
    assert_eq!(docker(&folder, &["ps", "-aq"]), "");
    assert!(!docker(&folder, &["network", "ls", "--format", "{{.Name}}"]).contains("konsort"));
    assert!(a.folder.join("x").exists(), "the node's files are not the driver's");

    println!("an image that somebody removed is made again, one of another build goes");
    let image = docker(&folder, &["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    docker(&folder, &["tag", &image, "localhost/konsort-node:older"]);
    docker(&folder, &["rmi", &image]);
    driver.start(&a).await.unwrap();
    assert_eq!(docker(&folder, &["images", "--format", "{{.Repository}}:{{.Tag}}"]), image);

    println!("the engine goes away and comes back");
    let pid = std::fs::read_to_string(folder.join("dockerd.pid")).unwrap();
    // With its containers, as a machine that is shut down does.
    let engine = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(engine, rustix::process::Signal::TERM).unwrap();
    let begun = Instant::now();
    let error = loop {
        match driver.observe("net").await {
            Err(error) if !folder.join("dockerd.pid").exists() => break error,
            _ => assert!(begun.elapsed() < Duration::from_secs(30), "it is still there"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let text = error.to_string();
    assert!(text.contains("docker.sock does not answer: the socket is not there; install Docker or podman"), "{text}");
    assert!(driver.check().await.is_err());
    restart(&folder);
    let begun = Instant::now();
    while driver.check().await.is_err() {
        let log = || std::fs::read_to_string(folder.join("dockerd.log")).unwrap();
        assert!(begun.elapsed() < Duration::from_mins(1), "the engine does not come back: {}", log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    until(&driver, "a", "running", running).await;
    answers(&to_a, "hello", hello).await;
    driver.remove(&NodeRef { network: "net".into(), node: "a".into() }).await.unwrap();
    println!("ALL OF IT PASSED");
}

/// Starts the engine again as the script did; the script also ends it.
#[allow(clippy::zombie_processes, reason = "this program ends soon after, the engine outlives it")]
fn restart(folder: &Path) {
    use std::os::unix::process::CommandExt as _;
    let log = std::fs::OpenOptions::new().append(true).open(folder.join("dockerd.log")).unwrap();
    Command::new("dockerd")
        .arg(format!("--data-root={}", folder.join("data").display()))
        .arg(format!("--exec-root={}", folder.join("exec").display()))
        .arg(format!("--pidfile={}", folder.join("dockerd.pid").display()))
        .args(["-H", &format!("unix://{}", folder.join("docker.sock").display())])
        .stdin(std::process::Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .process_group(0)
        .spawn()
        .unwrap();
}

fn konsort_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}
