//! Confining a program before it starts.
//!
//! Between fork and exec nothing may run in safe Rust, so the peer starts this binary again as `konsort confine ... -- PROGRAM`; here the
//! process takes rights away from itself, then becomes the program. The layers:
//!
//! - it dies with the peer;
//! - limits on memory, open files and core dumps, only ever lowered;
//! - no new privileges through set-user-id programs;
//! - Landlock: it writes in its own folders, reads the system's programs and libraries and what it was given, and connects to one TCP port;
//! - seccomp: no tracing of other processes, no mounts, no kernel modules, no new namespaces.
//!
//! A layer that the kernel does not have is named on standard error, which is the chaincode's log, and the program runs without it;
//! with `--strict true` it is not started when the kernel has no Landlock that bounds files, or no seccomp.

use std::{
    convert::Infallible,
    ffi::OsString,
    io::Write,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus, NetPort,
    PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, Scope,
};
use rustix::process::{Pid, Resource, Rlimit, Signal};

/// What of the system every program may read.
const SYSTEM: [&str; 26] = [
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/bin",
    "/sbin",
    "/nix/store",
    "/proc",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/sys/kernel/mm/transparent_hugepage",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/group",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/alternatives",
    "/etc/services",
    "/run/systemd/resolve",
    "/etc/host.conf",
];
/// Devices that programs may use.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/tty"];

/// System calls that chaincode has no use for and that reach beyond its own process. They fail with EPERM.
const DENIED: [&str; 31] = [
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "kcmp",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "setns",
    "unshare",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsmount",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "bpf",
    "perf_event_open",
    "keyctl",
    "add_key",
    "request_key",
    "reboot",
    "swapon",
    "swapoff",
    "open_by_handle_at",
    "userfaultfd",
    "settimeofday",
    "clock_settime",
    "acct",
];

/// Why a program was not started.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// The arguments are not those of the helper.
    #[error("konsort confine: {0}; it is meant to be called by the peer")]
    Arguments(String),
    /// The peer is gone already.
    #[error("konsort confine: the peer that started this is gone")]
    Orphan,
    /// A layer that exists could not be applied.
    #[error("konsort confine: cannot apply {layer}: {cause}")]
    Layer {
        /// The layer.
        layer: &'static str,
        /// What the system said.
        cause: String,
    },
    /// The kernel cannot confine it, and it is not to run otherwise.
    #[error(
        "konsort confine: this kernel cannot confine programs ({0}); use Linux 6.2 or newer with Landlock switched on (lsm=landlock,… on its command line)"
    )]
    Unconfined(String),
    /// The program does not start.
    #[error("konsort confine: cannot run {program}: {cause}")]
    Exec {
        /// The program.
        program: String,
        /// What the system said.
        cause: std::io::Error,
    },
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Arguments {
    parent: Option<i32>,
    own: Vec<PathBuf>,
    read: Vec<PathBuf>,
    connect: Option<u16>,
    memory: Option<u64>,
    files: Option<u64>,
    strict: bool,
    command: Vec<OsString>,
}

impl Arguments {
    fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, ConfineError> {
        fn number<N: std::str::FromStr>(name: &str, value: &OsString) -> Result<N, ConfineError> {
            value
                .to_str()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| ConfineError::Arguments(format!("{name} needs a number, not {}", value.display())))
        }
        let mut parsed = Self::default();
        let mut args = args.into_iter();
        while let Some(name) = args.next() {
            if name == "--" {
                parsed.command = args.collect();
                break;
            }
            let name = name.to_string_lossy().into_owned();
            let value = args.next().ok_or_else(|| ConfineError::Arguments(format!("{name} needs a value")))?;
            match name.as_str() {
                "--parent" => parsed.parent = Some(number(&name, &value)?),
                "--own" => parsed.own.push(value.into()),
                "--read" => parsed.read.push(value.into()),
                "--connect" => parsed.connect = Some(number(&name, &value)?),
                "--memory" => parsed.memory = Some(number(&name, &value)?),
                "--files" => parsed.files = Some(number(&name, &value)?),
                "--strict" => parsed.strict = value == "true",
                _ => return Err(ConfineError::Arguments(format!("unknown argument {name}"))),
            }
        }
        if parsed.command.is_empty() {
            return Err(ConfineError::Arguments("no program is given after --".into()));
        }
        Ok(parsed)
    }
}

/// Takes rights away from this process and becomes the program after `--`; returns only when that fails.
///
/// `args` are those after `confine`. Missing layers are named on `log`.
pub fn run(args: impl IntoIterator<Item = OsString>, log: &mut dyn Write) -> Result<Infallible, ConfineError> {
    let arguments = Arguments::parse(args)?;
    let mut missing = Vec::new();
    die_with_parent(arguments.parent)?;
    limit(&arguments)?;
    rustix::thread::set_no_new_privs(true)
        .map_err(|error| ConfineError::Layer { layer: "no_new_privs", cause: error.to_string() })?;
    let files = restrict_files_and_network(&arguments, &mut missing)?;
    let calls = restrict_system_calls(&mut missing)?;
    if arguments.strict && !(files && calls) {
        return Err(ConfineError::Unconfined(missing.join("; ")));
    }
    for layer in missing {
        // The log may be gone; the program is started all the same.
        let _ = writeln!(log, "--- konsort: not confined by {layer}");
    }
    let mut command = arguments.command.into_iter();
    let program = command.next().unwrap_or_default();
    let cause = Command::new(&program).args(command).exec();
    Err(ConfineError::Exec { program: program.to_string_lossy().into_owned(), cause })
}

fn die_with_parent(parent: Option<i32>) -> Result<(), ConfineError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| ConfineError::Layer { layer: "the parent's death signal", cause: error.to_string() })?;
    // The peer may have died before the signal was set.
    let expected = parent.and_then(Pid::from_raw);
    if expected.is_some() && rustix::process::getppid() != expected {
        return Err(ConfineError::Orphan);
    }
    Ok(())
}

fn limit(arguments: &Arguments) -> Result<(), ConfineError> {
    let limits = [
        (Resource::Core, Some(0), "the limit on core dumps"),
        (Resource::Nofile, arguments.files, "the limit on open files"),
        (Resource::Data, arguments.memory, "the limit on memory"),
    ];
    for (resource, value, layer) in limits {
        let Some(value) = value else { continue };
        let current = rustix::process::getrlimit(resource);
        let value = current.maximum.map_or(value, |maximum| maximum.min(value));
        rustix::process::setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })
            .map_err(|error| ConfineError::Layer { layer, cause: error.to_string() })?;
    }
    Ok(())
}

/// Whether files are bounded afterwards; what is missing is named.
fn restrict_files_and_network(arguments: &Arguments, missing: &mut Vec<String>) -> Result<bool, ConfineError> {
    const LAYER: &str = "Landlock";
    /// The newest rules that this code means; an older kernel applies what it has.
    const RULES: ABI = ABI::V6;
    let failed = |cause: &dyn std::fmt::Display| ConfineError::Layer { layer: LAYER, cause: cause.to_string() };
    let all = AccessFs::from_all(RULES);
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)
        .and_then(|ruleset| ruleset.scope(Scope::from_all(RULES)))
        .map_err(|error| failed(&error))?;
    if arguments.connect.is_some() {
        ruleset = ruleset.handle_access(AccessNet::from_all(RULES)).map_err(|error| failed(&error))?;
    }
    let mut created = ruleset.create().map_err(|error| failed(&error))?;
    let readable = AccessFs::from_read(RULES);
    let device: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    let rules = SYSTEM
        .iter()
        .map(|path| (Path::new(path), readable))
        .chain(DEVICES.iter().map(|path| (Path::new(path), device)))
        .chain(arguments.read.iter().map(|path| (path.as_path(), readable)))
        .chain(arguments.own.iter().map(|path| (path.as_path(), all)));
    for (path, access) in rules {
        // What is not there needs no rule.
        let Ok(target) = PathFd::new(path) else { continue };
        let access = if path.is_dir() { access } else { access & AccessFs::from_file(RULES) };
        created = created.add_rule(PathBeneath::new(target, access)).map_err(|error| failed(&error))?;
    }
    if let Some(port) = arguments.connect {
        created = created.add_rule(NetPort::new(port, AccessNet::ConnectTcp)).map_err(|error| failed(&error))?;
    }
    let status = created.restrict_self().map_err(|error| failed(&error))?;
    match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => {
            if effective_abi < ABI::V3 {
                missing.push(
                    "Landlock's rule on cutting files (the kernel is older than 6.2): it may empty files of the peer"
                        .into(),
                );
            }
            if effective_abi < ABI::V4 {
                missing.push(
                    "the network rules of Landlock (the kernel is older than 6.7): it may connect anywhere".into(),
                );
            }
            if effective_abi < ABI::V6 {
                missing.push("the signal scope of Landlock (the kernel is older than 6.12)".into());
            }
            Ok(effective_abi >= ABI::V3)
        }
        LandlockStatus::NotEnabled => {
            missing.push("Landlock (it is switched off in this kernel): it may read and write as the peer may".into());
            Ok(false)
        }
        LandlockStatus::NotImplemented => {
            missing.push("Landlock (this kernel has none): it may read and write as the peer may".into());
            Ok(false)
        }
    }
}

fn restrict_system_calls(missing: &mut Vec<String>) -> Result<bool, ConfineError> {
    let failed = |cause: &dyn std::fmt::Display| ConfineError::Layer { layer: "seccomp", cause: cause.to_string() };
    let Ok(architecture) = seccompiler::TargetArch::try_from(std::env::consts::ARCH) else {
        missing.push(format!("seccomp (not known for {})", std::env::consts::ARCH));
        return Ok(false);
    };
    let rules: Vec<serde_json::Value> = DENIED.iter().map(|name| serde_json::json!({ "syscall": name })).collect();
    let filter = serde_json::json!({
        "chaincode": { "mismatch_action": "allow", "match_action": { "errno": 1 }, "filter": rules }
    });
    let mut filters =
        seccompiler::compile_from_json(filter.to_string().as_bytes(), architecture).map_err(|error| failed(&error))?;
    let Some(program) = filters.remove("chaincode") else {
        return Err(failed(&"no filter was made"));
    };
    seccompiler::apply_filter(&program).map_err(|error| failed(&error))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Arguments, ConfineError> {
        Arguments::parse(text.split_whitespace().map(OsString::from))
    }

    #[test]
    fn arguments_are_read_or_refused() {
        let full =
            parse("--parent 7 --own /a --read /b --read /c --connect 7052 --memory 10 --files 5 -- /bin/x --own y")
                .unwrap();
        assert_eq!((full.parent, full.connect, full.memory, full.files), (Some(7), Some(7052), Some(10), Some(5)));
        assert_eq!((full.own.len(), full.read.len()), (1, 2));
        assert_eq!(full.command, ["/bin/x", "--own", "y"]);
        assert!(!full.strict && parse("--strict true -- x").unwrap().strict);
        for bad in ["", "--own", "--port 1 -- x", "--connect many -- x", "--own /a --"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_list_of_denied_system_calls_compiles_for_every_known_architecture() {
        let rules: Vec<serde_json::Value> = DENIED.iter().map(|name| serde_json::json!({ "syscall": name })).collect();
        let filter =
            serde_json::json!({ "x": { "mismatch_action": "allow", "match_action": { "errno": 1 }, "filter": rules } });
        for architecture in ["x86_64", "aarch64"] {
            let architecture = seccompiler::TargetArch::try_from(architecture).unwrap();
            seccompiler::compile_from_json(filter.to_string().as_bytes(), architecture).unwrap();
        }
    }
}
