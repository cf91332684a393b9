//! Runs the blocks of all pages of a language in one shell, as somebody does who follows them from the first page to the last.

use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use conformance::{free_row, konsort};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::names::konsort_lines;
use super::pages::{PAGES, page};

/// Time for the pages of one language; they take about a minute.
const PATIENCE: Duration = Duration::from_mins(6);

/// What was run.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) blocks: usize,
    /// Commands of the program in them.
    pub(super) commands: usize,
    /// Blocks that are shown and not run.
    pub(super) shown: usize,
    pub(super) seconds: u64,
}

/// A shell, and everything that was started from its folder; all of it ends when this is dropped.
struct Shell<'a> {
    child: Child,
    folder: &'a Path,
}

impl Drop for Shell<'_> {
    fn drop(&mut self) {
        let _gone = kill_process_group(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
        // Nodes and servers outlive the shell on purpose: whatever names the folder on its command line or works in it.
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
                continue;
            };
            let works_here = std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(self.folder));
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let named = String::from_utf8_lossy(&line).contains(&*self.folder.to_string_lossy());
            if works_here || named {
                let _gone = kill_process(id, Signal::KILL);
            }
        }
    }
}

pub(super) fn run(language: &str) -> Told {
    let folder = tempfile::tempdir().unwrap();
    let (root, work) = (folder.path(), folder.path().join("work"));
    for name in ["bin", "blocks", "work", "home"] {
        std::fs::create_dir(root.join(name)).unwrap();
    }
    std::os::unix::fs::symlink(konsort().unwrap().canonicalize().unwrap(), root.join("bin/konsort")).unwrap();
    let mut told = Told { blocks: 0, commands: 0, shown: 0, seconds: 0 };
    // A block that fails says which one it is; what follows it is not run.
    let mut script = "set -Eeuo pipefail\ntrap 'echo \"FAILED at $AT: $BASH_COMMAND\"' ERR\n".to_owned();
    for name in PAGES {
        for block in page(language, name).blocks {
            match block.kind.as_str() {
                "sh" => {}
                "console" => {
                    told.shown += 1;
                    continue;
                }
                _ => continue,
            }
            told.blocks += 1;
            told.commands += konsort_lines(&block.text).len();
            let file = root.join(format!("blocks/{:03}.sh", told.blocks));
            std::fs::write(&file, &block.text).unwrap();
            let at = format!("{language}/{name}:{}", block.line);
            let _ = writeln!(script, "AT={at}; echo \"=== $AT\"; source {}", file.display());
        }
        // The next page begins in the folder where this one began.
        let _ = writeln!(script, "cd {}", work.display());
    }
    script.push_str("echo EVERYTHING RAN\n");
    std::fs::write(root.join("session.sh"), script).unwrap();
    let said = root.join("said");
    let output = File::create(&said).unwrap();
    let started = Instant::now();
    let child = Command::new("bash")
        .arg(root.join("session.sh"))
        .current_dir(&work)
        .env("PATH", format!("{}:{}", root.join("bin").display(), std::env::var("PATH").unwrap_or_default()))
        .env("HOME", root.join("home"))
        .env("LANG", if language == "zh" { "zh_CN.UTF-8" } else { "C.UTF-8" })
        .env_remove("LC_ALL")
        .env_remove("LANGUAGE")
        .env("PORT", free_row(20).to_string())
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .process_group(0)
        .spawn()
        .unwrap();
    let mut shell = Shell { child, folder: root };
    let ended = loop {
        if let Some(status) = shell.child.try_wait().unwrap() {
            break Some(status);
        }
        if started.elapsed() > PATIENCE {
            break None;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let text = std::fs::read_to_string(&said).unwrap();
    let succeeded = ended.is_some_and(|status| status.success()) && text.ends_with("EVERYTHING RAN\n");
    if !succeeded {
        let from = text.char_indices().rev().nth(6000).map_or(0, |(at, _)| at);
        panic!("the shell ended with {ended:?}; the end of what it said:\n{}", &text[from..]);
    }
    told.seconds = started.elapsed().as_secs();
    told
}
