//! Changes of a channel's configuration: computed from the configuration that is and the one that should be, signed by as many
//! administrators as the policies want, sent to an orderer.
//!
//! ```no_run
//! # async fn example(orderer: fabric_client::OrdererClient, admins: Vec<std::sync::Arc<dyn fabric_client::Signer>>)
//! # -> Result<(), fabric_client::ClientError> {
//! use fabric_client::config_update::ConfigUpdateDraft;
//!
//! let before = orderer.config("mychannel").await?;
//! let mut after = before.clone();
//! // … change `after` …
//! if let Some(mut draft) = ConfigUpdateDraft::between("mychannel", &before, &after)? {
//!     for admin in &admins {
//!         draft.sign(&**admin);
//!     }
//!     orderer.broadcast(draft.envelope(&*admins[0])).await?;
//! }
//! # Ok(())
//! # }
//! ```

use bytes::Bytes;
use fabric_channel::config::{UpdateError, compute};
use fabric_channel::protoutil;
use fabric_proto::common::{Config, ConfigSignature, ConfigUpdateEnvelope, Envelope};
use prost::Message as _;

use crate::{ClientError, Signer};

/// An update that collects signatures.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigUpdateDraft {
    channel: String,
    update: Bytes,
    signatures: Vec<ConfigSignature>,
}

impl ConfigUpdateDraft {
    /// The update that leads from one configuration to the other; `None` when they are the same.
    pub fn between(channel: &str, before: &Config, after: &Config) -> Result<Option<Self>, ClientError> {
        match compute(before, after) {
            Ok(mut update) => {
                channel.clone_into(&mut update.channel_id);
                let update = update.encode_to_vec().into();
                Ok(Some(Self { channel: channel.to_owned(), update, signatures: Vec::new() }))
            }
            Err(UpdateError::NoDifferences) => Ok(None),
            Err(error) => Err(ClientError::Input(format!("cannot compute the update of {channel}: {error}"))),
        }
    }

    /// Adds one administrator's signature.
    pub fn sign(&mut self, signer: &dyn Signer) {
        self.signatures.push(protoutil::sign_config_update(&self.update, signer));
    }

    /// How many have signed.
    pub fn signatures(&self) -> usize {
        self.signatures.len()
    }

    /// The envelope for the orderer, sent by `sender`.
    pub fn envelope(&self, sender: &dyn Signer) -> Envelope {
        let update = ConfigUpdateEnvelope { config_update: self.update.clone(), signatures: self.signatures.clone() };
        protoutil::signed_config_update(&self.channel, &update, Some(sender))
    }
}

#[cfg(test)]
mod tests {
    use fabric_proto::common::{ConfigGroup, ConfigUpdate, ConfigValue};

    use super::*;

    struct Someone;

    impl Signer for Someone {
        fn serialized(&self) -> Bytes {
            Bytes::from_static(b"someone")
        }

        fn sign(&self, _: &[u8]) -> Vec<u8> {
            vec![7]
        }
    }

    fn config(value: &'static [u8]) -> Config {
        let value =
            ConfigValue { value: Bytes::from_static(value), mod_policy: "Admins".into(), ..ConfigValue::default() };
        let group = ConfigGroup { values: [("Key".to_owned(), value)].into(), ..ConfigGroup::default() };
        Config { sequence: 3, channel_group: Some(group) }
    }

    #[test]
    fn a_draft_names_its_channel_and_keeps_every_signature() {
        assert_eq!(ConfigUpdateDraft::between("c", &config(b"a"), &config(b"a")).unwrap(), None);
        let mut draft = ConfigUpdateDraft::between("c", &config(b"a"), &config(b"b")).unwrap().unwrap();
        draft.sign(&Someone);
        draft.sign(&Someone);
        let envelope = protoutil::config_update_envelope(&draft.envelope(&Someone)).unwrap();
        assert_eq!((draft.signatures(), envelope.signatures.len()), (2, 2));
        assert_eq!(ConfigUpdate::decode(envelope.config_update).unwrap().channel_id, "c");
    }
}
