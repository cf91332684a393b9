//! `peer channel …`.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use bytes::Bytes;
use fabric_channel::protoutil;
use fabric_proto::common::{Block, ConfigUpdateEnvelope, Envelope, HeaderType, Payload};
use prost::Message;

use super::super::connect::{Failure, Session, call_text, file_text, read};
use super::super::gojson::Json;
use crate::envelope::Seek;
use crate::{AdminClient, ClientError, OrdererClient};

const LOGGER: &str = "channelCmd";

fn initialized(session: &mut Session<'_, '_>) {
    session.info(LOGGER, "InitCmdFactory", "Endorser and orderer connections initialized");
}

/// The peer of the settings.
async fn peer(session: &mut Session<'_, '_>) -> Result<AdminClient, Failure> {
    let peer = session
        .peer("", "")
        .await
        .map_err(|error| Failure::plain(format!("error getting endorser client for channel: {error}")))?;
    initialized(session);
    Ok(peer)
}

/// `peer channel join`.
pub(super) async fn join(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let path = session.parsed.text("blockpath").to_owned();
    if path.is_empty() {
        return Err(Failure::with_usage("Must supply genesis block path"));
    }
    let peer = peer(session).await?;
    let block =
        read(Path::new(&path)).map_err(|error| Failure::plain(format!("genesis block file not found {error}")))?;
    peer.join_channel(Bytes::from(block)).await.map_err(|error| {
        let reason = match error {
            ClientError::Endorsement { status, message } => format!("bad proposal response {status}: {message}"),
            other => call_text(&other),
        };
        Failure::plain(format!("proposal failed (err: {reason})"))
    })?;
    session.info(LOGGER, "executeJoin", "Successfully submitted proposal to join channel");
    Ok(())
}

/// `peer channel list`.
pub(super) async fn list(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    if !session.parsed.args.is_empty() {
        let args = session.parsed.args.join(" ");
        return Err(Failure::with_usage(format!("trailing args detected: [{args}]")));
    }
    let peer = peer(session).await?;
    let channels = peer.channels().await.map_err(|error| match error {
        ClientError::Endorsement { status, message } => {
            Failure::plain(format!("Received bad response, status {status}: {message}"))
        }
        other => Failure::plain(format!("Failed sending proposal, got {}", call_text(&other))),
    })?;
    session.console.out("Channels peers has joined: \n");
    for channel in channels {
        session.console.out(&format!("{channel}\n"));
    }
    Ok(())
}

/// `peer channel getinfo`.
pub(super) async fn getinfo(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let channel = session.parsed.text("channelID").to_owned();
    if channel.is_empty() {
        return Err(Failure::with_usage("Must supply channel ID"));
    }
    let peer = peer(session).await?;
    let info = peer.channel_info(&channel).await.map_err(|error| match error {
        ClientError::Endorsement { status, message } => {
            Failure::plain(format!("received bad response, status {status}: {message}"))
        }
        other => Failure::plain(format!("failed sending proposal: {}", call_text(&other))),
    })?;
    let base64 = |bytes: &Bytes| base64::engine::general_purpose::STANDARD.encode(bytes);
    let mut fields = Vec::new();
    if info.height != 0 {
        fields.push(("height", Json::number(info.height)));
    }
    if !info.current_block_hash.is_empty() {
        fields.push(("currentBlockHash", Json::text(base64(&info.current_block_hash))));
    }
    if !info.previous_block_hash.is_empty() {
        fields.push(("previousBlockHash", Json::text(base64(&info.previous_block_hash))));
    }
    session.console.out(&format!("Blockchain info: {}\n", Json::object(fields).compact()));
    Ok(())
}

/// Where blocks are fetched from.
enum Source {
    Orderer(OrdererClient),
    Peer(AdminClient),
}

impl Source {
    async fn block(&self, session: &mut Session<'_, '_>, channel: &str, at: Seek) -> Result<Block, Failure> {
        let best_effort = session.parsed.switch("bestEffort");
        let found = match self {
            Self::Orderer(orderer) => orderer.block(channel, at, best_effort).await,
            Self::Peer(peer) => peer.block(channel, at, best_effort).await,
        };
        let block = match found {
            Ok(Some(block)) => block,
            Ok(None) => return Err(Failure::plain("error receiving: EOF")),
            Err(ClientError::BadAnswer { reason, .. }) => {
                let status = reason.rsplit(' ').next().unwrap_or_default().to_owned();
                session.info("cli.common", "readBlock", &format!("Expect block, but got status: &{{{status}}}"));
                return Err(Failure::plain(format!("can't read the block: &{{{status}}}")));
            }
            Err(error) => return Err(Failure::plain(format!("error receiving: {}", call_text(&error)))),
        };
        let number = block.header.as_ref().map_or(0, |header| header.number);
        session.info("cli.common", "readBlock", &format!("Received block: {number}"));
        Ok(block)
    }
}

/// `peer channel fetch`.
pub(super) async fn fetch(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let args = session.parsed.args.clone();
    let Some(target) = args.first() else {
        return Err(Failure::with_usage("fetch target required, oldest, newest, config, or a number"));
    };
    if args.len() > 2 {
        return Err(Failure::with_usage("trailing args detected"));
    }
    let channel = session.parsed.text("channelID").to_owned();
    let orderer = session.parsed.text("orderer").to_owned();
    let source = if orderer.split(':').count() == 2 {
        Source::Orderer(
            session
                .orderer(&orderer)
                .await
                .map_err(|error| Failure::plain(format!("failed to create deliver client for orderer: {error}")))?,
        )
    } else {
        let peer = session.peer("", "").await.map_err(|error| {
            let error = error.replacen("endorser client", "deliver client", 1);
            Failure::plain(format!(
                "error getting deliver client for channel: failed to create deliver client for peer: {error}"
            ))
        })?;
        Source::Peer(peer)
    };
    initialized(session);
    let block = match target.as_str() {
        "oldest" => source.block(session, &channel, Seek::Oldest).await?,
        "newest" => source.block(session, &channel, Seek::Newest).await?,
        "config" => {
            let newest = source.block(session, &channel, Seek::Newest).await?;
            let index = protoutil::last_config_index(&newest).map_err(|error| Failure::plain(error.to_string()))?;
            session.info(LOGGER, "fetch", &format!("Retrieving last config block: {index}"));
            source.block(session, &channel, Seek::Number(index)).await?
        }
        number => {
            let number = number.parse().map_err(|_| Failure::plain(format!("fetch target illegal: {number}")))?;
            source.block(session, &channel, Seek::Number(number)).await?
        }
    };
    let file = args.get(1).cloned().unwrap_or_else(|| format!("{channel}_{target}.block"));
    write(Path::new(&file), &block.encode_to_vec())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes).map_err(|error| Failure::plain(file_text("open", path, &error)))
}

/// `peer channel signconfigtx`.
pub(super) fn signconfigtx(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let file = update_file(session)?;
    initialized(session);
    let envelope = signed_update(session, &file, "")?;
    write(&file, &envelope.encode_to_vec())
}

/// `peer channel update`.
pub(super) async fn update(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let channel = session.parsed.text("channelID").to_owned();
    if channel.is_empty() {
        return Err(Failure::with_usage("Must supply channel ID"));
    }
    let file = update_file(session)?;
    initialized(session);
    let envelope = signed_update(session, &file, &channel)?;
    let address = session.parsed.text("orderer").to_owned();
    let orderers = session
        .orderers(&address)
        .await
        .map_err(|error| Failure::plain(format!("Error getting broadcast client: {error}")))?;
    orderers.broadcast(&envelope).await.map_err(|error| Failure::plain(call_text(&error)))?;
    session.info(LOGGER, "update", "Successfully submitted channel update");
    Ok(())
}

fn update_file(session: &Session<'_, '_>) -> Result<PathBuf, Failure> {
    let file = session.parsed.text("file");
    if file.is_empty() {
        return Err(Failure::with_usage("Invalid channel create transaction : No configtx file name supplied"));
    }
    Ok(PathBuf::from(file))
}

/// Adds this identity's signature to a configuration update and signs the envelope.
fn signed_update(session: &Session<'_, '_>, file: &Path, channel: &str) -> Result<Envelope, Failure> {
    let invalid = |text: &str| Failure::plain(format!("Invalid channel create transaction : {text}"));
    let bytes = read(file)
        .map_err(|error| Failure::plain(format!("channel create configuration tx file not found {error}")))?;
    let envelope = Envelope::decode(bytes.as_slice()).map_err(|error| {
        Failure::plain(format!("error unmarshalling Envelope: proto: cannot parse invalid wire-format data ({error})"))
    })?;
    let payload = Payload::decode(envelope.payload).map_err(|_| invalid("bad payload"))?;
    let header =
        payload.header.filter(|header| !header.channel_header.is_empty()).ok_or_else(|| invalid("bad header"))?;
    let channel_header = fabric_proto::common::ChannelHeader::decode(header.channel_header)
        .map_err(|_| invalid("could not unmarshall channel header"))?;
    if channel_header.r#type != HeaderType::ConfigUpdate as i32 {
        return Err(invalid("bad type"));
    }
    if channel_header.channel_id.is_empty() {
        return Err(invalid("empty channel id"));
    }
    let channel = if channel.is_empty() { channel_header.channel_id.as_str() } else { channel };
    if channel_header.channel_id != channel {
        return Err(invalid(&format!("mismatched channel ID {} != {channel}", channel_header.channel_id)));
    }
    let mut update = ConfigUpdateEnvelope::decode(payload.data).map_err(|_| invalid("Bad config update env"))?;
    update.signatures.push(protoutil::sign_config_update(&update.config_update, &*session.signer));
    Ok(protoutil::signed_config_update(channel, &update, Some(&*session.signer)))
}
