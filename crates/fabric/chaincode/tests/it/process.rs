//! Real processes: started, confined, logged, restarted, killed.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use fabric_chaincode::{ExternalBuilder, package::pack_files};
use konsort_node::Environment;

use crate::world::{Peer, State, run, text};

/// The program that confines and holds the built-in contracts; built with the tests.
pub(crate) fn helper() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let helper = tests.parent().unwrap().parent().unwrap().join("examples/chaincode-helper");
    assert!(helper.is_file(), "{} is built by cargo test without --test", helper.display());
    helper
}

pub(crate) async fn peer(change: impl FnOnce(&mut fabric_chaincode::Settings)) -> Peer {
    Peer::start(None, |settings| {
        settings.process.confine = Some(helper());
        settings.process.builtin = Some(helper());
        settings.process.cache = Some(helper().parent().unwrap().parent().unwrap().join("chaincode-cache"));
        settings.environment = Environment::process();
        change(settings);
    })
    .await
}

fn log(peer: &Peer, id: &str) -> String {
    let path = peer.folder.path().join("logs").join(format!("{}.log", id.replace(':', "-")));
    std::fs::read_to_string(path).unwrap_or_default()
}

/// A package whose program is a script.
fn script(lines: &str) -> Vec<u8> {
    pack_files(&[("chaincode", format!("#!/bin/bash\n{lines}\n").as_bytes())]).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_built_in_contract_starts_at_once_and_starts_again_after_its_end() {
    let peer = peer(|_| {}).await;
    // A label of its own: the same package may run elsewhere on this machine, and here processes are looked up by package.
    let label = format!("basic_{}", std::process::id());
    let id = peer
        .install(&label, "rust", &pack_files(&[("konsort.json", br#"{"builtin":"asset-transfer"}"#)]).unwrap())
        .await;
    let state = State::of([("k".to_owned(), "v".to_owned())]);
    let begun = Instant::now();
    let (outcome, _) = run(&peer, &id, &state, &["get", "k"]).await.unwrap();
    eprintln!("first answer after {} ms", begun.elapsed().as_millis());
    assert_eq!(outcome.response.payload, "v");
    assert!(log(&peer, &id).contains("--- konsort: starting"));

    let mine: Vec<i32> = processes_with(&id);
    assert_eq!(mine.len(), 1);
    kill(mine[0]);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (outcome, _) = run(&peer, &id, &state, &["get", "k"]).await.unwrap();
    assert_eq!(outcome.response.payload, "v", "started again");
    assert!(log(&peer, &id).contains("ended with signal 9"));
    peer.runtime.stop().await;
    assert!(processes_with(&id).is_empty(), "stopped with the peer");
}

/// Processes whose environment names the package.
fn processes_with(id: &str) -> Vec<i32> {
    let wanted = format!("CORE_CHAINCODE_ID_NAME={id}");
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|pair| pair == wanted.as_bytes()))
        })
        .collect()
}

fn kill(pid: i32) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_ends_or_never_registers_is_named_with_its_log() {
    let peer = peer(|settings| settings.startup_timeout = Duration::from_secs(5)).await;
    let id = peer.install(&format!("ends_{}", std::process::id()), "rust", &script("echo no luck today; exit 3")).await;
    let error = run(&peer, &id, &State::of([]), &["x"]).await.unwrap_err().to_string();
    assert!(
        error.contains(&format!(
            "could not launch chaincode {id}: chaincode registration failed: container exited with 3"
        )),
        "{error}"
    );
    assert!(error.contains(".log"), "names the log: {error}");
    assert!(log(&peer, &id).contains("no luck today"));

    let id = peer.install(&format!("hangs_{}", std::process::id()), "rust", &script("sleep 1000")).await;
    let begun = Instant::now();
    let error = run(&peer, &id, &State::of([]), &["x"]).await.unwrap_err().to_string();
    assert!(error.contains(&format!("timeout expired while starting chaincode {id} for transaction")), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(15));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(processes_with(&id).is_empty(), "nothing is left running");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flooded_log_stays_small() {
    let peer = peer(|_| {}).await;
    let id = peer.install("floods", "rust", &script("head -c 60000000 /dev/zero | tr '\\0' 'x'; exit 1")).await;
    assert!(run(&peer, &id, &State::of([]), &["x"]).await.is_err());
    let sizes: u64 = std::fs::read_dir(peer.folder.path().join("logs"))
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!((1 << 20..=25 << 20).contains(&sizes), "{sizes}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confined_program_reaches_its_peer_and_nothing_else() {
    let secret = tempfile::tempdir().unwrap();
    std::fs::File::create(secret.path().join("key.pem")).unwrap().write_all(b"secret key").unwrap();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = peer(|settings| {
        settings.environment = Environment::from_pairs([("PATH", "/usr/bin:/bin"), ("SECRET_TOKEN", "hush")]);
    })
    .await;
    let peer_port = peer.address.rsplit_once(':').unwrap().1.to_owned();
    let lines = format!(
        "cat {secret}/key.pem\n\
         echo x > {secret}/new && echo wrote outside\n\
         echo x > own.txt && echo wrote inside\n\
         env | grep SECRET_TOKEN\n\
         kill -0 {pid} && echo may signal\n\
         (exec 3<>/dev/tcp/127.0.0.1/{peer_port}) && echo reached peer\n\
         (exec 3<>/dev/tcp/127.0.0.1/{other}) && echo reached other\n\
         cat $CORE_PEER_TLS_ROOTCERT_FILE | head -1\n\
         ulimit -n; exit 1",
        secret = secret.path().display(),
        pid = std::process::id(),
        other = other.local_addr().unwrap().port(),
    );
    let id = peer.install("curious", "rust", &script(&lines)).await;
    run(&peer, &id, &State::of([]), &["x"]).await.unwrap_err();
    let log = log(&peer, &id);
    assert!(log.contains("wrote inside") && log.contains("reached peer") && log.contains("BEGIN CERTIFICATE"), "{log}");
    assert!(log.contains("4096"), "{log}");
    assert!(!log.contains("hush"), "{log}");
    if log.contains("not confined by Landlock") {
        eprintln!("SKIPPED: this kernel has no Landlock, so reading and writing outside are not checked");
        return;
    }
    assert!(!log.contains("secret key") && !log.contains("wrote outside"), "{log}");
    if log.contains("not confined by the network rules") {
        eprintln!("SKIPPED: the Landlock of this kernel has no network rules");
    } else {
        assert!(!log.contains("reached other"), "{log}");
    }
    if !log.contains("not confined by the signal scope") {
        assert!(!log.contains("may signal"), "{log}");
    }
}

#[test]
fn a_confined_program_dies_with_its_parent() {
    let script =
        format!("{} confine --parent $$ -- /bin/sleep 1000 >/dev/null 2>&1 & echo $!; sleep 0.5", helper().display());
    let output = std::process::Command::new("/bin/bash").args(["-c", &script]).output().unwrap();
    let pid: i32 = text(&output.stdout).trim().parse().unwrap();
    let gone = (0..50).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.is_empty() || status.contains("State:\tZ")
    });
    assert!(gone, "process {pid} outlived its parent");
}

fn write_script(path: &Path, lines: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, format!("#!/bin/bash\nset -e\n{lines}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_external_builder_detects_builds_releases_and_runs() {
    let builder = tempfile::tempdir().unwrap();
    let bin = builder.path().join("bin");
    write_script(&bin.join("detect"), "grep -q '\"type\":\"special\"' \"$2/metadata.json\"");
    write_script(
        &bin.join("build"),
        "cp \"$1/code.txt\" \"$3/built.txt\"; echo \"see ${SEEN:-nothing} ${HIDDEN:-nothing}\"",
    );
    write_script(&bin.join("release"), "test -f \"$1/built.txt\"; touch \"$2/released\"");
    write_script(
        &bin.join("run"),
        &format!("test -f \"$1/built.txt\"; exec {} external-run \"$1\" \"$2\"", helper().display()),
    );
    let path = std::env::var("PATH").unwrap();
    let peer = peer(|settings| {
        settings.environment =
            Environment::from_pairs([("PATH", path.as_str()), ("SEEN", "this"), ("HIDDEN", "secret")]);
        settings.external_builders = vec![ExternalBuilder {
            name: "mine".into(),
            path: builder.path().to_path_buf(),
            propagate_environment: vec!["SEEN".into()],
        }];
    })
    .await;
    let id = peer.install("special_1", "special", &pack_files(&[("code.txt", b"code")]).unwrap()).await;
    assert!(log(&peer, &id).contains("see this nothing"), "{}", log(&peer, &id));
    let build = peer.folder.path().join("builds").join(id.replace(':', "-"));
    assert_eq!(std::fs::read_to_string(build.join("build-info.json")).unwrap(), r#"{"builder_name":"mine","run":[]}"#);
    assert!(build.join("release/released").is_file());
    let (outcome, _) = run(&peer, &id, &State::of([]), &["AssetExists", "x"]).await.unwrap();
    assert_eq!(outcome.response.payload, "false");
    // What no builder takes goes to the other launchers, and is refused when nobody takes it.
    let package = fabric_chaincode::package::pack(
        &fabric_chaincode::package::Metadata { label: "odd".into(), kind: "cobol".into(), path: String::new() },
        &pack_files(&[]).unwrap(),
    );
    let error = peer.runtime.install(package.unwrap().into()).await.unwrap_err().to_string();
    assert!(error.contains("could not build chaincode: ") && error.contains("cobol"), "{error}");
}
