//! What a node's container is: rights taken away, folders, ports, names and labels.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;

use aws_lc_rs::digest::{SHA256, digest};
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerState, EndpointSettings, HostConfig, HostConfigLogConfig,
    NetworkConnectRequest, NetworkingConfig, PortBinding, RestartPolicy, RestartPolicyNameEnum,
};

use super::image::PROGRAM;
use crate::record::failed;
use crate::{DriverError, Launch, NodeRef};

/// Label: the network's id.
pub(super) const NETWORK: &str = "konsort.network";
/// Label: the node's id.
pub(super) const NODE: &str = "konsort.node";
/// Label: hash of the launch.
const LAUNCH: &str = "konsort.launch";

/// More processes and threads than any node has.
const MOST_PROCESSES: i64 = 4096;

pub(super) fn container_name(node: &NodeRef) -> String {
    format!("konsort-{}-{}", node.network, node.node)
}

pub(super) fn network_name(network: &str) -> String {
    format!("konsort-{network}")
}

pub(super) fn labels(network: &str) -> HashMap<String, String> {
    HashMap::from([(NETWORK.to_owned(), network.to_owned())])
}

/// Whether a container was made for exactly this launch.
pub(super) fn is_for(found: &ContainerInspectResponse, launch: &Launch) -> bool {
    let labels = found.config.as_ref().and_then(|config| config.labels.as_ref());
    labels.and_then(|labels| labels.get(LAUNCH)) == Some(&fingerprint(launch))
}

fn fingerprint(launch: &Launch) -> String {
    let bytes = serde_json::to_vec(launch).unwrap_or_default();
    hex::encode(&digest(&SHA256, &bytes).as_ref()[..16])
}

/// The container of a launch. `rootless`: the engine itself has no more rights than its user.
pub(super) fn body(launch: &Launch, image: &str, rootless: bool) -> Result<ContainerCreateBody, DriverError> {
    let mut labels = labels(&launch.node.network);
    labels.insert(NODE.to_owned(), launch.node.node.clone());
    labels.insert(LAUNCH.to_owned(), fingerprint(launch));
    let mut binds = vec![bind(&launch.folder, "rw")?];
    for folder in &launch.reads {
        binds.push(bind(folder, "ro")?);
    }
    let port = |port: &u16| format!("{port}/tcp");
    let published = |number: &u16| {
        let binding = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some(number.to_string()) };
        (port(number), Some(vec![binding]))
    };
    let memory = launch.memory.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let host = HostConfig {
        binds: Some(binds),
        port_bindings: Some(launch.ports.iter().map(published).collect()),
        network_mode: Some(network_name(&launch.node.network)),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        readonly_rootfs: Some(true),
        tmpfs: Some(HashMap::from([("/tmp".to_owned(), "rw,nosuid,nodev,size=64m,mode=1777".to_owned())])),
        memory,
        // A node that is away must not hold up those that look for it for the half minute that is usual.
        dns_options: Some(vec!["timeout:2".to_owned(), "attempts:2".to_owned()]),
        pids_limit: Some(MOST_PROCESSES),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::UNLESS_STOPPED),
            maximum_retry_count: None,
        }),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), "16m".to_owned()),
                ("max-file".to_owned(), "4".to_owned()),
            ])),
        }),
        ..HostConfig::default()
    };
    let endpoints = HashMap::from([(network_name(&launch.node.network), endpoint(&launch.hostname))]);
    Ok(ContainerCreateBody {
        image: Some(image.to_owned()),
        // Longer ones than the kernel takes are still names on the network.
        hostname: (launch.hostname.len() <= 63).then(|| launch.hostname.clone()),
        user: Some(user(launch, rootless)?),
        entrypoint: Some(vec![PROGRAM.to_owned()]),
        cmd: Some(launch.args.clone()),
        env: Some(launch.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        working_dir: Some(launch.folder.display().to_string()),
        exposed_ports: Some(launch.ports.iter().map(port).collect()),
        labels: Some(labels),
        host_config: Some(host),
        networking_config: Some(NetworkingConfig { endpoints_config: Some(endpoints) }),
        ..ContainerCreateBody::default()
    })
}

fn endpoint(hostname: &str) -> EndpointSettings {
    EndpointSettings { aliases: Some(vec![hostname.to_owned()]), ..EndpointSettings::default() }
}

/// The request that puts a disconnected node back on its network.
pub(super) fn connection(launch: &Launch) -> NetworkConnectRequest {
    NetworkConnectRequest { container: container_name(&launch.node), endpoint_config: Some(endpoint(&launch.hostname)) }
}

/// The same path inside as outside.
fn bind(folder: &std::path::Path, mode: &str) -> Result<String, DriverError> {
    let path = folder.display().to_string();
    let what = || format!("give {path} to a container");
    if !folder.is_absolute() || path.contains(':') || folder.to_str().is_none() {
        return Err(failed(&what(), &"the path must be absolute and without colons"));
    }
    // The engine would make a missing folder itself, owned by root.
    if !folder.exists() {
        return Err(failed(&what(), &"it is not there; make the node's files first"));
    }
    Ok(format!("{path}:{path}:{mode}"))
}

/// The owner of the node's files, so that nobody else's rights are needed. Where the engine has only its user's rights, that user
/// is root inside.
fn user(launch: &Launch, rootless: bool) -> Result<String, DriverError> {
    if rootless {
        return Ok("0:0".to_owned());
    }
    let owner = std::fs::metadata(&launch.folder)
        .map_err(|error| failed(&format!("find the owner of {}", launch.folder.display()), &error))?;
    Ok(format!("{}:{}", owner.uid(), owner.gid()))
}

/// How the last run of a container ended.
pub(super) fn describe_end(state: &ContainerState) -> Option<String> {
    if state.oom_killed == Some(true) {
        return Some("it was killed because it used more memory than its limit".to_owned());
    }
    if let Some(error) = state.error.as_ref().filter(|error| !error.is_empty()) {
        return Some(format!("it could not be started: {error}"));
    }
    state.exit_code.map(describe_code)
}

pub(super) fn describe_code(code: i64) -> String {
    match code {
        0 => "it ended by itself without an error".to_owned(),
        129..=192 => format!("it was killed by signal {}", code - 128),
        code => format!("it ended with exit code {code}; its log tells why"),
    }
}

/// A failed start in the words of this crate: the port that is taken, if it was that.
pub(super) fn refine(error: DriverError, launch: &Launch) -> DriverError {
    let DriverError::Failed { why, .. } = &error else { return error };
    let text = why.to_lowercase();
    if !text.contains("already allocated") && !text.contains("already in use") {
        return error;
    }
    let named = launch.ports.iter().find(|port| {
        let port = format!(":{port}");
        text.match_indices(&port)
            .any(|(at, _)| !text[at + port.len()..].starts_with(|next: char| next.is_ascii_digit()))
    });
    let Some(&port) = named else { return error };
    let why = konsort_node::ports::describe_owner(port)
        .map_or_else(|| "another container has it".to_owned(), |owner| format!("{owner} listens there"));
    DriverError::PortTaken { node: launch.node.node.clone(), port, why }
}

/// Milliseconds since 1970 of a time like `2026-01-31T12:00:00.123456789Z`; offsets as podman writes them are understood.
pub(super) fn time_ms(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let rest = text.get(19..)?;
    let digits = rest.strip_prefix('.').map_or("", |rest| {
        let end = rest.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(rest.len());
        &rest[..end]
    });
    let millis = digits.chars().chain("000".chars()).take(3).collect::<String>().parse::<i64>().ok()?;
    let zone = if digits.is_empty() { rest } else { &rest[digits.len() + 1..] };
    let offset = match zone.as_bytes() {
        [b'Z'] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let minutes = zone.get(1..3)?.parse::<i64>().ok()? * 60 + zone.get(4..6)?.parse::<i64>().ok()?;
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    // Days since 1970 in the proleptic Gregorian calendar, years counted from March.
    let (shifted, month_index) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * month_index + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    Some((((days * 24 + hour) * 60 + minute - offset) * 60 + second) * 1000 + millis)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn launch(folder: &Path) -> Launch {
        let node = NodeRef { network: "net_1".into(), node: "peer0".into() };
        Launch { ports: vec![7051, 705], ..crate::tests::launch(node, folder) }
    }

    #[test]
    fn a_container_has_as_few_rights_as_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let mut launch = launch(folder.path());
        launch.reads = vec![folder.path().to_owned()];
        let made = body(&launch, "konsort-node:1", false).unwrap();
        let host = made.host_config.unwrap();
        assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
        assert_eq!(host.security_opt.unwrap(), ["no-new-privileges"]);
        assert_eq!((host.readonly_rootfs, host.privileged), (Some(true), None));
        // Machines without the right to raise limits exist.
        assert_eq!((host.ulimits, host.oom_score_adj), (None, None));
        let path = folder.path().display();
        assert_eq!(host.binds.unwrap(), [format!("{path}:{path}:rw"), format!("{path}:{path}:ro")]);
        for bindings in host.port_bindings.unwrap().into_values() {
            assert_eq!(bindings.unwrap()[0].host_ip.as_deref(), Some("127.0.0.1"));
        }
        let owner = std::fs::metadata(folder.path()).unwrap();
        assert_eq!(made.user.unwrap(), format!("{}:{}", owner.uid(), owner.gid()));
        assert_eq!(body(&launch, "i", true).unwrap().user.unwrap(), "0:0");
        launch.folder = folder.path().join("none");
        assert!(body(&launch, "i", false).unwrap_err().to_string().contains("make the node's files first"));
        launch.folder = "relative".into();
        assert!(body(&launch, "i", false).is_err());
    }

    #[test]
    fn a_taken_port_is_recognised_in_the_engines_words() {
        let launch = launch(Path::new("/"));
        let fail = |why: &str| DriverError::Failed { what: "start".into(), why: why.into() };
        for why in [
            "driver failed programming external connectivity on endpoint x: Bind for 127.0.0.1:7051 failed: port is already allocated",
            "listen tcp4 127.0.0.1:7051: bind: address already in use",
        ] {
            let text = refine(fail(why), &launch).to_string();
            assert!(text.starts_with("peer0 cannot listen on port 7051: "), "{text}");
        }
        assert!(matches!(refine(fail("no space left on device"), &launch), DriverError::Failed { .. }));
    }

    #[test]
    fn times_of_both_engines() {
        assert_eq!(time_ms("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(time_ms("2026-11-23T02:10:46.123456789Z"), Some(1_795_399_846_123));
        assert_eq!(time_ms("2026-11-23T03:10:46.1+01:00"), Some(1_795_399_846_100));
        assert_eq!(time_ms("2024-02-29T00:00:00-00:30"), Some(1_709_166_600_000));
        assert_eq!(time_ms("0001-01-01T00:00:00Z"), Some(-62_135_596_800_000));
        for bad in ["", "now", "2026-11-23", "2026-11-23T02:10:46", "2026-11-23T02:10:46+1", "２026-11-23T02:10:46Z"] {
            assert_eq!(time_ms(bad), None, "{bad}");
        }
    }

    #[test]
    fn ends_in_words() {
        let state = |code, oom, error: &str| ContainerState {
            exit_code: Some(code),
            oom_killed: Some(oom),
            error: Some(error.into()),
            ..ContainerState::default()
        };
        assert_eq!(describe_end(&state(137, false, "")).unwrap(), "it was killed by signal 9");
        assert!(describe_end(&state(137, true, "")).unwrap().contains("more memory"));
        assert!(describe_end(&state(127, false, "no such file")).unwrap().contains("no such file"));
        assert!(describe_end(&state(3, false, "")).unwrap().contains("exit code 3"));
    }
}
