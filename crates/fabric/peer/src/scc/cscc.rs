//! `cscc`: the channels of this peer and their configuration.

use bytes::Bytes;
use fabric_channel::config::Bundle;
use fabric_channel::protoutil;
use fabric_proto::common::Block;
use fabric_proto::protos::{ChannelInfo, ChannelQueryResponse, Response};
use prost::Message;

use super::{SystemCall, error, success};
use crate::endorser::ChannelAccess;

pub(super) fn invoke(call: &SystemCall) -> Response {
    let count = call.args.len();
    if count < 1 {
        return error(format!("Incorrect number of arguments, {count}"));
    }
    let function = call.text(0);
    if !matches!(function.as_str(), "GetChannels" | "JoinBySnapshotStatus") && count < 2 {
        return error(format!("Incorrect number of arguments, {count}"));
    }
    if call.original != "cscc" {
        return error(format!(
            "Rejecting invoke of CSCC from another chaincode, original invocation for '{}'",
            call.original
        ));
    }
    let result = match function.as_str() {
        "JoinChain" => join(call),
        "GetConfigBlock" => config_block(call),
        "GetChannelConfig" => channel_config(call),
        "GetChannels" => channels(call),
        other => Err(format!("Requested function {other} not found.")),
    };
    result.map_or_else(error, success)
}

fn join(call: &SystemCall) -> Result<Bytes, String> {
    let bytes = call.args.get(1).cloned().unwrap_or_default();
    let block = Block::decode(bytes).map_err(|error| {
        format!("Failed to reconstruct the genesis block, error unmarshalling Block: proto: cannot parse invalid wire-format data ({error})")
    })?;
    let channel = protoutil::channel_id_of_block(&block).map_err(|error| {
        format!("\"JoinChain\" request failed to extract channel id from the block due to [{error}]")
    })?;
    check_config(&block).map_err(|reason| {
        format!(
            "\"JoinChain\" for channelID = {channel} failed because of validation of configuration block, because of {reason}"
        )
    })?;
    call.check("cscc/JoinChain", None)
        .map_err(|reason| format!("access denied for [JoinChain][{channel}]: [{reason}]"))?;
    call.shared.channels.join(block)?;
    Ok(Bytes::new())
}

fn check_config(block: &Block) -> Result<(), String> {
    let envelope =
        protoutil::config_envelope_of_block(block).map_err(|error| format!("Bad configuration envelope: {error}"))?;
    let config = envelope.config.ok_or("Nil config envelope Config")?;
    let group = config.channel_group.ok_or("Nil channel group")?;
    if group.groups.is_empty() {
        return Err("No channel configuration groups are available".into());
    }
    if !group.groups.contains_key("Application") {
        return Err("Invalid configuration block, missing Application configuration group".into());
    }
    let bundle = Bundle::from_config_block(block).map_err(|error| error.to_string())?;
    bundle.check_peer_capabilities().map_err(|error| format!("Failed capabilities check: [{error}]"))
}

/// The channel that an argument names. Access to an unknown one is refused before its absence is told, as the original does.
fn named(call: &SystemCall, function: &str) -> Result<ChannelAccess, String> {
    let name = call.text(1);
    let Some(channel) = call.shared.channels.get(&name) else {
        return Err(format!(
            "access denied for [{function}][{name}]: Failed to get policy manager for channel [{name}]"
        ));
    };
    call.check(&format!("cscc/{function}"), Some(&channel))
        .map_err(|reason| format!("access denied for [{function}][{name}]: {reason}"))?;
    Ok(channel)
}

fn config_block(call: &SystemCall) -> Result<Bytes, String> {
    let channel = named(call, "GetConfigBlock")?;
    let blocks = channel.ledger.blocks();
    let read = |number: u64| -> Result<Bytes, String> {
        blocks
            .block(number)
            .map_err(|error| error.to_string())?
            .ok_or_else(|| format!("block {number} is not in the ledger"))
    };
    let newest = Block::decode(read(blocks.height().saturating_sub(1))?).map_err(|error| error.to_string())?;
    let index = protoutil::last_config_index(&newest).map_err(|error| error.to_string())?;
    read(index)
}

fn channel_config(call: &SystemCall) -> Result<Bytes, String> {
    if call.argument(1).is_empty() {
        return Err("empty channel name provided".into());
    }
    let channel = named(call, "GetChannelConfig")?;
    Ok(channel.bundle.config().encode_to_vec().into())
}

fn channels(call: &SystemCall) -> Result<Bytes, String> {
    call.check("cscc/GetChannels", None).map_err(|reason| format!("access denied for [GetChannels]: {reason}"))?;
    let channels = call.shared.channels.list().into_iter().map(|channel_id| ChannelInfo { channel_id }).collect();
    Ok(ChannelQueryResponse { channels }.encode_to_vec().into())
}
