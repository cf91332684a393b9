//! Serialized identities as every message carries them, against one organisation: nothing panics, and nobody without
//! the authority's signature becomes a member.
#![no_main]

use std::sync::OnceLock;

use bytes::Bytes;
use fabric_channel::msp::{Msp, MspManager, MspVersion};
use fabric_proto::msp::{FabricMspConfig, FabricNodeOUs, FabricOuIdentifier, SerializedIdentity};
use libfuzzer_sys::fuzz_target;
use prost::Message as _;

const AUTHORITY: &[u8] = include_bytes!("../seeds/authority.pem");

fn manager() -> &'static MspManager {
    static MANAGER: OnceLock<MspManager> = OnceLock::new();
    MANAGER.get_or_init(|| {
        let unit = |name: &str| {
            Some(FabricOuIdentifier { certificate: Bytes::new(), organizational_unit_identifier: name.to_owned() })
        };
        let config = FabricMspConfig {
            name: "Org1MSP".to_owned(),
            root_certs: vec![Bytes::from_static(AUTHORITY)],
            fabric_node_ous: Some(FabricNodeOUs {
                enable: true,
                client_ou_identifier: unit("client"),
                peer_ou_identifier: unit("peer"),
                admin_ou_identifier: unit("admin"),
                orderer_ou_identifier: unit("orderer"),
            }),
            ..FabricMspConfig::default()
        };
        MspManager::new(vec![Msp::from_config(&config, MspVersion::V3_0).expect("an organisation")])
    })
}

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(decoded) = SerializedIdentity::decode(bytes.clone()) {
        let _ = manager().is_well_formed(&decoded);
    }
    let Ok(identity) = manager().deserialize(&bytes) else { return };
    assert_eq!(identity.serialized(), &bytes);
    if manager().validate(&identity).is_ok() {
        assert!(manager().root_signed(&identity));
    }
    let _ = identity.verify(b"message", data);
});

trait RootSigned {
    fn root_signed(&self, identity: &fabric_channel::msp::Identity) -> bool;
}

impl RootSigned for MspManager {
    fn root_signed(&self, identity: &fabric_channel::msp::Identity) -> bool {
        let msp = self.msp(identity.mspid()).expect("deserialized by it");
        identity.certificate().check_signed_by(&msp.root_certs()[0]).is_ok()
    }
}
