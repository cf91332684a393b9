//! The Raft settings in a channel's configuration, and what a change of them must respect.

use std::collections::BTreeSet;
use std::time::Duration;

use fabric_channel::config::{Bundle, parse_duration};
use fabric_channel::protoutil;
use fabric_proto::etcdraft::{ConfigMetadata, Consenter};
use konsort_pki::Certificate;

use super::{Change, Members};
use crate::error::ChannelError;

/// Snapshot interval when the configuration names none, in bytes of log.
const DEFAULT_SNAPSHOT_INTERVAL: u64 = 16 << 20;

/// The Raft part of a configuration.
pub(crate) fn metadata_of(bundle: &Bundle) -> Result<ConfigMetadata, ChannelError> {
    let orderer = bundle.orderer().ok_or_else(|| ChannelError::unusable("config does not contain orderer config"))?;
    if orderer.consensus_type != "etcdraft" {
        return Err(ChannelError::unusable(format!(
            "its consensus type is {:?}; this orderer runs etcdraft only",
            orderer.consensus_type
        )));
    }
    Ok(protoutil::decode("etcdraft.ConfigMetadata", &orderer.consensus_metadata)?)
}

/// Raft options in the units of this crate.
#[derive(Clone, Debug)]
pub(super) struct Timing {
    pub tick: Duration,
    pub election_ticks: u32,
    pub heartbeat_ticks: u32,
    pub max_in_flight: usize,
    pub snapshot_interval: u64,
}

impl Timing {
    pub(super) fn new(settings: &ConfigMetadata) -> Result<Self, ChannelError> {
        let options = settings.options.clone().unwrap_or_default();
        let tick = parse_duration(&options.tick_interval).map_err(|e| {
            ChannelError::unusable(format!(
                "failed to parse TickInterval ({}) to time duration: {e}",
                options.tick_interval
            ))
        })?;
        if options.election_tick <= options.heartbeat_tick
            || options.heartbeat_tick == 0
            || options.max_inflight_blocks == 0
            || tick.is_zero()
        {
            return Err(ChannelError::unusable(
                "its etcdraft options are invalid: TickInterval, HeartbeatTick and MaxInflightBlocks must be above zero and ElectionTick above HeartbeatTick",
            ));
        }
        let interval = u64::from(options.snapshot_interval_size);
        Ok(Self {
            tick,
            election_ticks: options.election_tick,
            heartbeat_ticks: options.heartbeat_tick,
            max_in_flight: options.max_inflight_blocks as usize,
            snapshot_interval: if interval == 0 { DEFAULT_SNAPSHOT_INTERVAL } else { interval },
        })
    }
}

fn check_options(settings: &ConfigMetadata) -> Result<(), String> {
    let Some(options) = &settings.options else { return Err("nil Raft config metadata options".to_owned()) };
    let (heartbeat, election, in_flight) = (options.heartbeat_tick, options.election_tick, options.max_inflight_blocks);
    if heartbeat == 0 || election == 0 || in_flight == 0 {
        return Err(format!(
            "none of HeartbeatTick ({heartbeat}), ElectionTick ({election}) and MaxInflightBlocks ({in_flight}) can be zero"
        ));
    }
    if election <= heartbeat {
        return Err(format!("ElectionTick ({election}) must be greater than HeartbeatTick ({heartbeat})"));
    }
    match parse_duration(&options.tick_interval) {
        Err(error) => {
            Err(format!("failed to parse TickInterval ({}) to time duration: {error}", options.tick_interval))
        }
        Ok(tick) if tick.is_zero() => Err("TickInterval cannot be zero".to_owned()),
        Ok(_) => Ok(()),
    }
}

/// Checks one consenter's certificates against the orderer organisations' TLS authorities.
fn check_certificates(consenter: &Consenter, bundle: &Bundle, at: Option<i64>) -> Result<(), String> {
    let name = format!("{}:{}", consenter.host, consenter.port);
    let mut roots = Vec::new();
    let mut intermediates = Vec::new();
    for organization in bundle.orderer().into_iter().flat_map(|o| o.organizations.values()) {
        if let Some(msp) = bundle.msp_manager().msp(&organization.msp_id) {
            roots.extend(msp.tls_root_certs().iter().filter_map(|pem| Certificate::from_pem(pem).ok()));
            intermediates.extend(msp.tls_intermediate_certs().iter().filter_map(|pem| Certificate::from_pem(pem).ok()));
        }
    }
    for (kind, pem) in [("client", &consenter.client_tls_cert), ("server", &consenter.server_tls_cert)] {
        let certificate = Certificate::from_pem(pem).map_err(|e| format!("parsing tls {kind} cert of {name}: {e}"))?;
        // Without a time the chain is judged at the certificate's own beginning, which leaves expiry out.
        let at = at.unwrap_or_else(|| certificate.not_before());
        konsort_pki::verify_chain(&certificate, &roots, &intermediates, at).map_err(|e| {
            format!("verifying tls {kind} cert with serial number {}: {e}", certificate.serial_decimal())
        })?;
    }
    Ok(())
}

/// Upstream's rules for a change of the consensus metadata.
pub(super) fn check_update(_now: &Bundle, next: &Bundle, members: &Members, active: &[u64]) -> Result<(), String> {
    let Some(orderer) = next.orderer() else { return Err("next config is missing orderer group".to_owned()) };
    if orderer.consensus_type != "etcdraft" {
        return Ok(());
    }
    let settings: ConfigMetadata = protoutil::decode("etcdraft.ConfigMetadata", &orderer.consensus_metadata)
        .map_err(|e| format!("failed to unmarshal new etcdraft metadata configuration: {e}"))?;
    let invalid = |text: String| format!("invalid new config metadata: {text}");
    check_options(&settings).map_err(invalid)?;
    if settings.consenters.is_empty() {
        return Err(invalid("empty consenter set".to_owned()));
    }
    for consenter in &settings.consenters {
        check_certificates(consenter, next, None).map_err(|e| {
            invalid(format!("consenter {}:{} has invalid certificate: {e}", consenter.host, consenter.port))
        })?;
    }
    let mut seen = BTreeSet::new();
    for consenter in &settings.consenters {
        if seen.contains(&consenter.server_tls_cert) || seen.contains(&consenter.client_tls_cert) {
            return Err(invalid(format!(
                "duplicate consenter: server cert: {}, client cert: {}",
                String::from_utf8_lossy(&consenter.server_tls_cert),
                String::from_utf8_lossy(&consenter.client_tls_cert)
            )));
        }
        seen.insert(consenter.server_tls_cert.clone());
        seen.insert(consenter.client_tls_cert.clone());
    }
    let change = Change::between(members, &settings.consenters)?;
    for consenter in &change.added {
        check_certificates(consenter, next, Some(crate::filters::unix_seconds()))
            .map_err(|e| format!("consenter {}:{} has invalid certificates: {e}", consenter.host, consenter.port))?;
    }
    if change.loses_quorum(active) {
        return Err(format!(
            "{} out of {} nodes are alive, configuration will result in quorum loss",
            active.len(),
            members.consenters.len()
        ));
    }
    Ok(())
}
