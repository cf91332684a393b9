//! A proposal taken apart, and the checks on its form, time and creator.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fabric_channel::msp::{Identity, MspManager};
use fabric_channel::protoutil;
use fabric_proto::common::{ChannelHeader, Header, HeaderType, SignatureHeader};
use fabric_proto::msp::SerializedIdentity;
use fabric_proto::protos::{
    ChaincodeHeaderExtension, ChaincodeInput, ChaincodeInvocationSpec, ChaincodeProposalPayload, Proposal,
    SignedProposal,
};
use prost::Message;

/// A proposal whose parts all decode.
#[derive(Debug)]
pub(crate) struct UnpackedProposal {
    pub(crate) signed: SignedProposal,
    pub(crate) chaincode: String,
    pub(crate) input: ChaincodeInput,
    pub(crate) proposal_hash: [u8; 32],
    channel_header: ChannelHeader,
    signature_header: SignatureHeader,
}

fn decode<M: Message + Default>(what: &str, bytes: &Bytes) -> Result<M, String> {
    M::decode(bytes.clone())
        .map_err(|error| format!("error unmarshalling {what}: proto: cannot parse invalid wire-format data ({error})"))
}

impl UnpackedProposal {
    /// Takes a signed proposal apart.
    pub(crate) fn unpack(signed: SignedProposal) -> Result<Self, String> {
        let proposal: Proposal = decode("Proposal", &signed.proposal_bytes)?;
        let header: Header = decode("Header", &proposal.header)?;
        let channel_header: ChannelHeader = decode("ChannelHeader", &header.channel_header)?;
        let signature_header: SignatureHeader = decode("SignatureHeader", &header.signature_header)?;
        let extension: ChaincodeHeaderExtension = decode("ChaincodeHeaderExtension", &channel_header.extension)?;
        let Some(chaincode_id) = extension.chaincode_id else {
            return Err("ChaincodeHeaderExtension.ChaincodeId is nil".into());
        };
        if chaincode_id.name.is_empty() {
            return Err("ChaincodeHeaderExtension.ChaincodeId.Name is empty".into());
        }
        let payload: ChaincodeProposalPayload = decode("ChaincodeProposalPayload", &proposal.payload)?;
        let invocation: ChaincodeInvocationSpec = decode("ChaincodeInvocationSpec", &payload.input)?;
        let Some(spec) = invocation.chaincode_spec else {
            return Err("chaincode invocation spec did not contain chaincode spec".into());
        };
        let Some(input) = spec.input else {
            return Err("chaincode input did not contain any input".into());
        };
        let visible = ChaincodeProposalPayload { input: payload.input, ..ChaincodeProposalPayload::default() };
        let proposal_hash = protoutil::proposal_hash_of_parts(
            &header.channel_header,
            &header.signature_header,
            &visible.encode_to_vec(),
        );
        Ok(Self { signed, chaincode: chaincode_id.name, input, proposal_hash, channel_header, signature_header })
    }

    pub(crate) fn channel_id(&self) -> &str {
        &self.channel_header.channel_id
    }

    pub(crate) fn txid(&self) -> &str {
        &self.channel_header.tx_id
    }

    /// Refuses creators whose certificate has lapsed, before anything else is told about them.
    pub(crate) fn check_expiry(&self, members: &MspManager, now: Duration) -> Result<(), String> {
        let creator = &self.signature_header.creator;
        let expires_at = match members.deserialize(creator) {
            Ok(identity) => Some(identity.expires_at()),
            Err(_) => expiry_of(creator),
        };
        if expires_at.is_some_and(|at| (now.as_secs() as i64) > at) {
            return Err("proposal client identity expired".into());
        }
        Ok(())
    }

    /// Refuses proposals made too long ago or in the future.
    pub(crate) fn check_time(&self, now: Duration, window: Duration) -> Result<(), String> {
        let made = self.channel_header.timestamp.unwrap_or_default();
        let made_nanos = i128::from(made.seconds) * 1_000_000_000 + i128::from(made.nanos);
        let now_nanos = now.as_nanos() as i128;
        if (made_nanos - now_nanos).unsigned_abs() > window.as_nanos() {
            let text = |nanos: i128| {
                let (year, month, day, hour, minute, second) =
                    konsort_node::utc_fields(nanos.div_euclid(1_000_000_000).clamp(0, 253_402_300_799) as i64);
                format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
            };
            return Err(format!(
                "request unauthorized due to incorrect timestamp {}, peer time {}, peer.authentication.timewindow {}",
                text(made_nanos),
                text(now_nanos),
                fabric_channel::config::format_duration(window)
            ));
        }
        Ok(())
    }

    /// Checks headers, transaction id, creator and signature; gives the creator.
    pub(crate) fn validate(&self, members: &MspManager) -> Result<Arc<Identity>, String> {
        let kind = HeaderType::try_from(self.channel_header.r#type);
        if !matches!(kind, Ok(HeaderType::EndorserTransaction | HeaderType::Config)) {
            let name =
                kind.map_or_else(|_| self.channel_header.r#type.to_string(), |kind| kind.as_str_name().to_owned());
            return Err(format!("invalid header type {name}"));
        }
        if self.channel_header.epoch != 0 {
            return Err("epoch is non-zero".into());
        }
        let SignatureHeader { creator, nonce } = &self.signature_header;
        if nonce.is_empty() {
            return Err("nonce is empty".into());
        }
        if creator.is_empty() {
            return Err("creator is empty".into());
        }
        let expected = protoutil::tx_id(nonce, creator);
        if self.txid() != expected {
            return Err(format!("incorrectly computed txid '{}' -- expected '{expected}'", self.txid()));
        }
        if self.signed.proposal_bytes.is_empty() {
            return Err("empty proposal bytes".into());
        }
        if self.signed.signature.is_empty() {
            return Err("empty signature bytes".into());
        }
        let channel = self.channel_id();
        let identity = members.deserialize(creator).map_err(|error| {
            tracing::warn!(channel, %error, "access denied: the creator cannot be read");
            format!("access denied: channel [{channel}] creator org unknown, creator is malformed")
        })?;
        let denied = || format!("access denied: channel [{channel}] creator org [{}]", identity.mspid());
        members.validate(&identity).map_err(|error| {
            tracing::warn!(channel, mspid = identity.mspid(), %error, "access denied: the identity is not valid");
            denied()
        })?;
        identity.verify(&self.signed.proposal_bytes, &self.signed.signature).map_err(|error| {
            tracing::warn!(channel, mspid = identity.mspid(), %error, "access denied: the signature over the proposal is not valid");
            denied()
        })?;
        Ok(identity)
    }
}

/// Takes a signed proposal apart and makes every check that needs no ledger: form, time, creator and signature.
///
/// `now` is the time since the epoch. The error is the text that the client gets.
pub fn check_proposal(
    signed: SignedProposal,
    members: &MspManager,
    now: Duration,
    window: Duration,
) -> Result<Arc<Identity>, String> {
    let unpacked = UnpackedProposal::unpack(signed)?;
    unpacked.check_expiry(members, now)?;
    unpacked.check_time(now, window)?;
    unpacked.validate(members)
}

/// When the certificate of an identity of any organisation ends.
fn expiry_of(creator: &Bytes) -> Option<i64> {
    let identity = SerializedIdentity::decode(creator.clone()).ok()?;
    let certificate = konsort_pki::Certificate::from_pem(&identity.id_bytes).ok()?;
    Some(certificate.not_after())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden(folder: &str) -> SignedProposal {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/golden/fabric/proposals/");
        let bytes = std::fs::read(format!("{root}{folder}/signed_proposal.pb")).unwrap();
        SignedProposal::decode(bytes.as_slice()).unwrap()
    }

    #[test]
    fn proposals_of_a_real_network_unpack_to_their_recorded_hashes() {
        for folder in ["01_put", "07_range_merkle", "11_put_pvt", "14_call_other"] {
            let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/golden/fabric/proposals/");
            let text = std::fs::read_to_string(format!("{root}{folder}/expected.json")).unwrap();
            let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
            let unpacked = UnpackedProposal::unpack(golden(folder)).unwrap();
            assert_eq!(unpacked.txid(), expected["txid"].as_str().unwrap());
            assert_eq!(hex::encode(unpacked.proposal_hash), expected["proposal_hash"].as_str().unwrap());
            assert_eq!(unpacked.chaincode, expected["chaincode"].as_str().unwrap());
        }
    }

    #[test]
    fn broken_parts_are_named() {
        let broken = SignedProposal { proposal_bytes: Bytes::from_static(b"\xff"), signature: Bytes::new() };
        assert!(UnpackedProposal::unpack(broken).unwrap_err().starts_with("error unmarshalling Proposal: "));
        assert_eq!(
            UnpackedProposal::unpack(SignedProposal::default()).unwrap_err(),
            "ChaincodeHeaderExtension.ChaincodeId is nil"
        );
    }

    #[test]
    fn time_is_checked_both_ways() {
        let unpacked = UnpackedProposal::unpack(golden("01_put")).unwrap();
        let made = unpacked.channel_header.timestamp.unwrap().seconds as u64;
        let window = Duration::from_mins(15);
        unpacked.check_time(Duration::from_secs(made + 899), window).unwrap();
        unpacked.check_time(Duration::from_secs(made - 899), window).unwrap();
        let text = unpacked.check_time(Duration::from_secs(made + 902), window).unwrap_err();
        assert!(text.starts_with("request unauthorized due to incorrect timestamp 2026-11-22T"), "{text}");
        assert!(text.ends_with("peer.authentication.timewindow 15m0s"), "{text}");
        assert!(unpacked.check_time(Duration::from_secs(made - 902), window).is_err());
    }
}
