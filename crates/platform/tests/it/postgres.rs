//! The same stories on a real PostgreSQL, and what happens when it goes away.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use konsort_platform::server::Server;
use tempfile::TempDir;

use super::support::{As, Platform, config};
use super::{audit, sessions, writes};

/// Folder of the server programs; not every system has them on the path.
pub(crate) fn programs() -> Option<PathBuf> {
    let found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .chain(std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect::<Vec<_>>())
        .filter(|folder| ["initdb", "pg_ctl", "createdb"].iter().all(|name| folder.join(name).exists()))
        .collect();
    found.into_iter().next()
}

#[derive(Debug)]
pub(crate) struct Postgres {
    programs: PathBuf,
    folder: TempDir,
    port: u16,
    /// PostgreSQL refuses to run as root: then it runs as this user.
    user: Option<&'static str>,
}

impl Postgres {
    pub(crate) fn start(programs: PathBuf) -> Self {
        let folder = tempfile::Builder::new().prefix("konsort-pg").tempdir_in("/tmp").unwrap();
        let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
        // Any unprivileged user does; this one is on every system.
        let user = root.then_some("nobody");
        if let Some(user) = user {
            assert!(Command::new("chown").arg(user).arg(folder.path()).status().unwrap().success());
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let postgres = Self { programs, folder, port, user };
        let data = postgres.data();
        postgres.run("initdb", &["-D", &data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8"]);
        postgres.up();
        postgres
    }

    fn data(&self) -> String {
        self.folder.path().join("d").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let path: PathBuf = self.programs.join(program);
        let mut command = match self.user {
            Some(user) => {
                let mut command = Command::new("runuser");
                command.args(["-u", user, "--"]).arg(path);
                command
            }
            None => Command::new(path),
        };
        let output = command.args(arguments).current_dir(Path::new("/tmp")).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub(crate) fn up(&self) {
        let folder = self.folder.path().display();
        let options = format!("-c listen_addresses=127.0.0.1 -p {} -k {folder} -c fsync=off", self.port);
        let log = format!("{folder}/log");
        // Not through run(): the server would keep the pipes of its output open.
        let path = self.programs.join("pg_ctl");
        let mut command = match self.user {
            Some(user) => {
                let mut command = Command::new("runuser");
                command.args(["-u", user, "--"]).arg(path);
                command
            }
            None => Command::new(path),
        };
        let status = command
            .args(["-D", &self.data(), "-o", &options, "-l", &log, "-w", "start"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .current_dir("/tmp")
            .status()
            .unwrap();
        assert!(status.success(), "{}", std::fs::read_to_string(log).unwrap_or_default());
    }

    pub(crate) fn down(&self) {
        self.run("pg_ctl", &["-D", &self.data(), "-m", "immediate", "-w", "stop"]);
    }

    pub(crate) fn database(&self, name: &str) -> String {
        let port = self.port.to_string();
        self.run("createdb", &["-h", "127.0.0.1", "-p", &port, "-U", "postgres", name]);
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.down()));
    }
}

#[tokio::test]
async fn the_same_stories_and_an_outage() {
    let Some(programs) = programs() else {
        eprintln!("skipped: no initdb and pg_ctl in /usr/lib/postgresql/*/bin or on the path; install postgresql");
        return;
    };
    let postgres = tokio::task::spawn_blocking(|| Postgres::start(programs)).await.unwrap();
    let url = postgres.database("stories");
    let platform = Platform::on(Some(url.clone())).await;
    // A second server on the same database would not know what the first one does.
    let other = tempfile::tempdir().unwrap();
    let refused = Server::start(config(&other, Some(url))).await.unwrap_err().to_string();
    assert!(refused.contains("another server works with this database"), "{refused}");
    sessions::whole_story(&platform).await;
    writes::whole_story(&platform).await;
    audit::whole_story(&platform).await;
    assert!(!platform.folder.path().join("data/server.db").exists());

    postgres.down();
    let begun = Instant::now();
    let answer = platform.call(platform.root(), "GET", "/v1/users", None).await.expect(503);
    assert_eq!(answer.code(), "database_unavailable");
    assert!(!answer.header("retry-after").is_empty());
    assert!(begun.elapsed() < Duration::from_secs(15), "the answer took {:?}", begun.elapsed());
    platform.call(As::Nobody, "GET", "/readyz", None).await.expect(503);
    platform.call(As::Nobody, "GET", "/livez", None).await.expect(200);
    postgres.up();
    platform.call(platform.root(), "GET", "/v1/users", None).await.expect(200);
    platform.call(As::Nobody, "GET", "/readyz", None).await.expect(200);
    platform.new_organisation("after the outage").await;
    let verified = platform.call(platform.root(), "GET", "/v1/audit/verify", None).await.expect(200).json();
    assert_eq!(verified["ok"], true, "{verified}");
    platform.server.stop().await;
}
