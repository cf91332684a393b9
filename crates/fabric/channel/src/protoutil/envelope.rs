//! Envelopes: headers, signed data, and the requests made of them.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use fabric_proto::common::{
    ChannelHeader, ConfigEnvelope, ConfigSignature, ConfigUpdateEnvelope, Envelope, Header, HeaderType, Payload,
    SignatureHeader,
};
use fabric_proto::orderer::{SeekInfo, SeekNewest, SeekOldest, SeekPosition, SeekSpecified, seek_position};
use prost::Message;

use super::{ProtoutilError, SignedData, Signer};

/// The version that upstream's tools write into the channel header of configuration updates.
pub const CONFIG_UPDATE_VERSION: i32 = 0;

/// Decodes a message, naming it in the error.
pub fn decode<T: Message + Default>(what: &'static str, bytes: &Bytes) -> Result<T, ProtoutilError> {
    T::decode(bytes.clone()).map_err(|source| ProtoutilError::Decode { what, source })
}

/// The payload of an envelope.
pub fn payload(envelope: &Envelope) -> Result<Payload, ProtoutilError> {
    decode("Payload", &envelope.payload)
}

/// The channel header of an envelope.
pub fn channel_header(envelope: &Envelope) -> Result<ChannelHeader, ProtoutilError> {
    let header = payload(envelope)?.header.ok_or(ProtoutilError::NoHeader)?;
    decode("ChannelHeader", &header.channel_header)
}

/// The signature header of an envelope.
pub fn signature_header(envelope: &Envelope) -> Result<SignatureHeader, ProtoutilError> {
    let header = payload(envelope)?.header.ok_or(ProtoutilError::NoHeader)?;
    decode("SignatureHeader", &header.signature_header)
}

/// The channel an envelope is for.
pub fn channel_id(envelope: &Envelope) -> Result<String, ProtoutilError> {
    Ok(channel_header(envelope)?.channel_id)
}

/// Whether the envelope holds a whole configuration (not an update of one).
pub fn is_config_envelope(envelope: &Envelope) -> bool {
    channel_header(envelope).is_ok_and(|header| header.r#type == HeaderType::Config as i32)
}

/// The channel header and the content of an envelope that must be of the given type.
pub fn envelope_of_type<T: Message + Default>(
    envelope: &Envelope,
    expected: HeaderType,
    what: &'static str,
) -> Result<(ChannelHeader, T), ProtoutilError> {
    let payload = payload(envelope)?;
    let header = payload.header.ok_or(ProtoutilError::NoHeader)?;
    let channel_header: ChannelHeader = decode("ChannelHeader", &header.channel_header)?;
    if channel_header.r#type != expected as i32 {
        let found = HeaderType::try_from(channel_header.r#type)
            .map_or_else(|_| channel_header.r#type.to_string(), |known| known.as_str_name().to_owned());
        return Err(ProtoutilError::WrongType { found, expected: expected.as_str_name() });
    }
    Ok((channel_header, decode(what, &payload.data)?))
}

/// The configuration update envelope inside an envelope of type CONFIG_UPDATE.
pub fn config_update_envelope(envelope: &Envelope) -> Result<ConfigUpdateEnvelope, ProtoutilError> {
    Ok(envelope_of_type(envelope, HeaderType::ConfigUpdate, "ConfigUpdateEnvelope")?.1)
}

/// The configuration envelope inside an envelope of type CONFIG.
pub fn config_envelope(envelope: &Envelope) -> Result<ConfigEnvelope, ProtoutilError> {
    Ok(envelope_of_type(envelope, HeaderType::Config, "ConfigEnvelope")?.1)
}

/// The creator's signature on an envelope.
pub fn envelope_signed_data(envelope: &Envelope) -> Result<SignedData, ProtoutilError> {
    Ok(SignedData {
        data: envelope.payload.clone(),
        identity: signature_header(envelope)?.creator,
        signature: envelope.signature.clone(),
    })
}

/// The administrators' signatures on a configuration update; each is over its signature header and the update.
pub fn config_update_signed_data(update: &ConfigUpdateEnvelope) -> Result<Vec<SignedData>, ProtoutilError> {
    update
        .signatures
        .iter()
        .map(|signature| {
            let header: SignatureHeader = decode("SignatureHeader", &signature.signature_header)?;
            Ok(SignedData {
                data: [signature.signature_header.as_ref(), &update.config_update].concat().into(),
                identity: header.creator,
                signature: signature.signature.clone(),
            })
        })
        .collect()
}

/// The present moment as a header carries it.
pub fn now() -> prost_types::Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    prost_types::Timestamp { seconds: since.as_secs() as i64, nanos: since.subsec_nanos() as i32 }
}

/// 24 random bytes, the length upstream uses everywhere.
pub fn nonce() -> Bytes {
    Bytes::copy_from_slice(&konsort_crypto::random_bytes::<24>())
}

/// A channel header of this second.
pub fn make_channel_header(header_type: HeaderType, version: i32, channel_id: &str, epoch: u64) -> ChannelHeader {
    let timestamp = prost_types::Timestamp { seconds: now().seconds, nanos: 0 };
    ChannelHeader {
        r#type: header_type as i32,
        version,
        timestamp: Some(timestamp),
        channel_id: channel_id.to_owned(),
        epoch,
        ..ChannelHeader::default()
    }
}

/// A signature header of the identity with a fresh nonce.
pub fn make_signature_header(creator: Bytes) -> SignatureHeader {
    SignatureHeader { creator, nonce: nonce() }
}

/// Both headers, encoded.
pub fn payload_header(channel_header: &ChannelHeader, signature_header: &SignatureHeader) -> Header {
    Header {
        channel_header: channel_header.encode_to_vec().into(),
        signature_header: signature_header.encode_to_vec().into(),
    }
}

/// An envelope around `data`, signed when there is a signer. `tls_cert_hash` binds the request to a TLS client certificate.
pub fn signed_envelope(
    header_type: HeaderType,
    channel_id: &str,
    signer: Option<&dyn Signer>,
    data: Bytes,
    tls_cert_hash: Option<Bytes>,
) -> Envelope {
    let mut channel_header = make_channel_header(header_type, 0, channel_id, 0);
    channel_header.tls_cert_hash = tls_cert_hash.unwrap_or_default();
    let signature_header = signer.map(|signer| make_signature_header(signer.serialized())).unwrap_or_default();
    let header = payload_header(&channel_header, &signature_header);
    let payload: Bytes = Payload { header: Some(header), data }.encode_to_vec().into();
    let signature = signer.map(|signer| signer.sign(&payload).into()).unwrap_or_default();
    Envelope { payload, signature }
}

/// The position of the newest block.
pub fn seek_newest() -> SeekPosition {
    SeekPosition { r#type: Some(seek_position::Type::Newest(SeekNewest {})) }
}

/// The position of the oldest block.
pub fn seek_oldest() -> SeekPosition {
    SeekPosition { r#type: Some(seek_position::Type::Oldest(SeekOldest {})) }
}

/// The position of the block with this number.
pub fn seek_specified(number: u64) -> SeekPosition {
    SeekPosition { r#type: Some(seek_position::Type::Specified(SeekSpecified { number })) }
}

/// A request for the blocks from `start` to `stop` that waits for those not there yet.
pub fn seek(start: SeekPosition, stop: SeekPosition) -> SeekInfo {
    SeekInfo { start: Some(start), stop: Some(stop), ..SeekInfo::default() }
}

/// The envelope of a deliver request.
pub fn seek_envelope(
    channel_id: &str,
    signer: Option<&dyn Signer>,
    info: &SeekInfo,
    tls_cert_hash: Option<Bytes>,
) -> Envelope {
    signed_envelope(HeaderType::DeliverSeekInfo, channel_id, signer, info.encode_to_vec().into(), tls_cert_hash)
}

/// One administrator's signature on the bytes of a `ConfigUpdate`.
pub fn sign_config_update(config_update: &[u8], signer: &dyn Signer) -> ConfigSignature {
    let signature_header = make_signature_header(signer.serialized()).encode_to_vec();
    let signature = signer.sign(&[signature_header.as_slice(), config_update].concat());
    ConfigSignature { signature_header: signature_header.into(), signature: signature.into() }
}

/// The envelope by which a configuration update is sent to the orderer.
pub fn signed_config_update(channel_id: &str, update: &ConfigUpdateEnvelope, signer: Option<&dyn Signer>) -> Envelope {
    signed_envelope(HeaderType::ConfigUpdate, channel_id, signer, update.encode_to_vec().into(), None)
}
