//! `konsort doctor`: what is wrong in a data folder, in words, with what to do about it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bcos_node::Severity;
use clap::{Arg, ArgMatches, Command, value_parser};
use konsort_platform::local::NodeProcess;
use serde_json::{Value, json};

use super::display::paint;
use super::{Output, Surroundings, data_argument, data_of, runtime, whole};
use crate::api::{Api, ServerRecord};
use crate::language::Language;

/// Certificates that end within this many days are warned of.
const SOON: i64 = 30;
/// Blocks a node may be behind.
const BEHIND: u64 = 50;
/// Free bytes below which ledgers may soon stop.
const LITTLE_SPACE: u64 = 1 << 30;

pub(super) fn command(language: Language) -> Command {
    let pick = |english, chinese| language.pick(english, chinese);
    Command::new("doctor")
        .about(pick(
            "Say in words what is wrong: server, nodes, certificates, ports, disk",
            "诊断：服务器、节点、证书、端口、磁盘",
        ))
        .after_help(pick(
            "Examples:\n  konsort doctor                          the server in .konsort and its networks\n  konsort doctor nodes/127.0.0.1/node0    a node's own folder (config.ini, config.genesis, conf)",
            "示例：\n  konsort doctor                          .konsort 中的服务器及其网络\n  konsort doctor nodes/127.0.0.1/node0    单个节点的目录（config.ini、config.genesis、conf）",
        ))
        .arg(data_argument(language))
        .arg(
            Arg::new("folder")
                .value_name("FOLDER")
                .num_args(0..)
                .value_parser(value_parser!(PathBuf))
                .help(pick("Folders of single nodes, instead of a server's", "单个节点的目录，代替服务器目录")),
        )
}

/// What was looked at.
#[derive(Debug)]
struct Report {
    language: Language,
    findings: Vec<(Severity, String, String)>,
}

impl Report {
    fn add(&mut self, severity: Severity, about: &str, text: impl Into<String>) {
        self.findings.push((severity, about.to_owned(), text.into()));
    }

    fn pick(&self, english: &'static str, chinese: &'static str) -> &'static str {
        self.language.pick(english, chinese)
    }
}

/// Looks, prints, and fails when there is a problem.
pub(super) fn run(arguments: &ArgMatches, surroundings: Surroundings) -> anyhow::Result<()> {
    let mut report = Report { language: surroundings.language, findings: Vec::new() };
    let folders = arguments.get_many::<PathBuf>("folder").into_iter().flatten();
    let folders = folders.map(std::path::absolute).collect::<Result<Vec<PathBuf>, _>>()?;
    let data = data_of(arguments);
    let runtime = runtime()?;
    if folders.is_empty() && whole::is_in(&data) {
        space(&mut report, &data);
        secrets(&mut report, &data);
        runtime.block_on(server(&mut report, &data));
    } else if folders.is_empty() {
        for folder in nodes_below(&std::path::absolute(&data)?) {
            runtime.block_on(node(&mut report, &folder));
        }
        anyhow::ensure!(
            !report.findings.is_empty(),
            "{}: {}",
            data.display(),
            surroundings.language.pick(
                "neither a server nor a node's folder is here; name one with --data DIR or as FOLDER",
                "此处既无服务器也无节点目录，请用 --data DIR 或 FOLDER 指定"
            )
        );
    }
    for folder in folders {
        runtime.block_on(node(&mut report, &folder));
    }
    show(&report, surroundings);
    let problems = report.findings.iter().filter(|(severity, ..)| *severity == Severity::Problem).count();
    anyhow::ensure!(problems == 0, "{problems} {}", report.pick("problems found", "个问题"));
    Ok(())
}

fn show(report: &Report, surroundings: Surroundings) {
    if surroundings.output == Output::Json {
        let word = |severity: Severity| match severity {
            Severity::Good => "good",
            Severity::Warning => "warning",
            Severity::Problem => "problem",
        };
        let all = report.findings.iter();
        let all =
            all.map(|(severity, about, text)| json!({ "severity": word(*severity), "about": about, "text": text }));
        println!("{}", Value::Array(all.collect()));
        return;
    }
    for (severity, about, text) in &report.findings {
        let (mark, colour) = match severity {
            Severity::Good => (report.pick("ok     ", "正常"), "32"),
            Severity::Warning => (report.pick("warning", "警告"), "33"),
            Severity::Problem => (report.pick("PROBLEM", "问题"), "31;1"),
        };
        println!("{}  {about}: {text}", paint(mark, colour, surroundings));
    }
}

/// Folders of nodes: this one, or those below it as the chain builder lays them out.
fn nodes_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut look = vec![(folder.to_path_buf(), 0)];
    while let Some((folder, depth)) = look.pop() {
        if folder.join("config.ini").is_file() {
            found.push(folder);
        } else if depth < 3 {
            let below = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
            look.extend(below.filter(|path| path.is_dir()).map(|path| (path, depth + 1)));
        }
    }
    found.sort();
    found
}

async fn node(report: &mut Report, folder: &Path) {
    let about = folder.display().to_string();
    // Paths in config.ini are relative to the folder the node is started in, which is its own.
    if let Err(error) = std::env::set_current_dir(folder) {
        return report.add(Severity::Problem, &about, error.to_string());
    }
    let mut genesis: Vec<PathBuf> = std::fs::read_dir(".")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| PathBuf::from(entry.file_name()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "genesis"))
        .collect();
    genesis.sort();
    for finding in bcos_node::doctor(Path::new("config.ini"), &genesis).await {
        report.add(finding.severity, &about, finding.text);
    }
}

fn space(report: &mut Report, data: &Path) {
    let about = data.display().to_string();
    match rustix::fs::statvfs(data) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let text = format!("{} MiB {}", free >> 20, report.pick("free on its disk", "可用磁盘空间"));
            if free < LITTLE_SPACE {
                let advice =
                    report.pick("make room: nodes stop writing when it is full", "请清理磁盘：写满后节点将停止写入");
                report.add(Severity::Warning, &about, format!("{text}; {advice}"));
            } else {
                report.add(Severity::Good, &about, text);
            }
        }
        Err(error) => report.add(Severity::Problem, &about, error.to_string()),
    }
}

fn secrets(report: &mut Report, data: &Path) {
    for name in ["server.json", "server.key", "server.db"] {
        let path = data.join(name);
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        let mode = metadata.permissions().mode() & 0o777;
        let folder_is_open = std::fs::metadata(data).is_ok_and(|folder| folder.permissions().mode() & 0o077 != 0);
        if mode & 0o077 != 0 && folder_is_open {
            let text = report.pick("can be read by others; run chmod 600 on it", "可被他人读取，请执行 chmod 600");
            report.add(Severity::Warning, &path.display().to_string(), format!("{text} ({mode:o})"));
        }
    }
}

async fn server(report: &mut Report, data: &Path) {
    let about = report.pick("server", "服务器");
    let Some(record) = ServerRecord::read(data) else {
        let text = report.pick(
            "it does not run; start it with `konsort up` or `konsort server`",
            "未运行，请执行 `konsort up` 或 `konsort server`",
        );
        return report.add(Severity::Problem, about, text);
    };
    if NodeProcess::of("server", record.pid).is_none() {
        let text = report.pick(
            "its process is gone; start it with `konsort up` or `konsort server`",
            "进程已退出，请执行 `konsort up` 或 `konsort server`",
        );
        return report.add(
            Severity::Problem,
            about,
            format!("{} {}: {text}", report.pick("process", "进程"), record.pid),
        );
    }
    if let Err(error) = inside(report, &record).await {
        report.add(Severity::Problem, about, format!("{error:#}"));
    }
}

async fn inside(report: &mut Report, record: &ServerRecord) -> anyhow::Result<()> {
    let api = Api::of(record, report.language)?;
    let version = api.get("/v1/version").await?;
    let version = version["version"].as_str().unwrap_or_default();
    report.add(Severity::Good, report.pick("server", "服务器"), format!("{} {version}", record.url));
    if record.setup_link.is_some() {
        let text = report.pick(
            "nobody has made the first administrator; open the link that `konsort up` prints",
            "尚未创建首位管理员，请打开 `konsort up` 输出的链接",
        );
        report.add(Severity::Warning, report.pick("server", "服务器"), text);
    }
    let audit = api.get("/v1/audit/verify").await?;
    let about = report.pick("audit log", "审计日志");
    if audit["ok"] == true {
        report.add(
            Severity::Good,
            about,
            format!("{} {}", audit["records"], report.pick("records, its chain is whole", "条记录，哈希链完整")),
        );
    } else {
        let text = audit[report.pick("problem", "problem_zh")].as_str().unwrap_or_default();
        report.add(Severity::Problem, about, format!("{text} ({})", audit["broken_at"]));
    }
    for network in api.list("/v1/networks", 1000).await? {
        network_of(report, &api, &network).await?;
    }
    Ok(())
}

async fn network_of(report: &mut Report, api: &Api, network: &Value) -> anyhow::Result<()> {
    let (id, name) = (network["id"].as_str().unwrap_or_default(), network["name"].as_str().unwrap_or_default());
    let last = api.list(&format!("/v1/operations?network={id}"), 1).await?;
    if let Some(operation) = last.first().filter(|operation| operation["state"] == "failed") {
        let text = report.pick(
            "the last operation failed; see `konsort operation show",
            "最近一次操作失败，请执行 `konsort operation show",
        );
        report.add(Severity::Problem, name, format!("{text} {}`", operation["id"].as_str().unwrap_or_default()));
    }
    if network["state"] == "stopped" {
        report.add(Severity::Good, name, report.pick("it is stopped", "已停止"));
        return Ok(());
    }
    for node in api.list(&format!("/v1/networks/{id}/nodes"), 1000).await? {
        let about = format!("{name}/{}", node["id"].as_str().unwrap_or_default());
        let status = node["status"].as_str().unwrap_or_default();
        let problem = node["problem"].as_str();
        match (status, problem) {
            ("running", None) => {
                report.add(Severity::Good, &about, report.pick("it runs and answers", "运行正常"));
            }
            ("running" | "pending" | "degraded", problem) => {
                report.add(Severity::Warning, &about, format!("{status}: {}", problem.unwrap_or_default()));
            }
            _ => {
                let advice = format!("konsort node start {name} {}", node["id"].as_str().unwrap_or_default());
                report.add(Severity::Problem, &about, format!("{status}: {} ({advice})", problem.unwrap_or_default()));
            }
        }
        if let Some(days) = node["certificate_days"].as_i64().filter(|days| *days < SOON) {
            let severity = if days < 0 { Severity::Problem } else { Severity::Warning };
            report.add(
                severity,
                &about,
                format!("{} {days}", report.pick("days until its certificate expires:", "证书剩余天数：")),
            );
        }
        if let Some(lag) = node["lag"].as_u64().filter(|lag| *lag > BEHIND) {
            report.add(Severity::Warning, &about, format!("{} {lag}", report.pick("blocks behind:", "落后区块数：")));
        }
    }
    Ok(())
}
