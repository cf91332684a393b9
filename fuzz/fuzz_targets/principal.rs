//! Principals as policies carry them, asked of a member: nothing panics or nests without bound, answers are stable.
#![no_main]

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use fabric_channel::msp::{Identity, Msp, MspManager, MspVersion};
use fabric_proto::common::MspPrincipal;
use fabric_proto::msp::{FabricMspConfig, SerializedIdentity};
use libfuzzer_sys::fuzz_target;
use prost::Message as _;

const AUTHORITY: &[u8] = include_bytes!("../seeds/authority.pem");
const MEMBER: &[u8] = include_bytes!("../seeds/member.pem");

fn member() -> &'static (MspManager, Arc<Identity>) {
    static MEMBERSHIP: OnceLock<(MspManager, Arc<Identity>)> = OnceLock::new();
    MEMBERSHIP.get_or_init(|| {
        let config = FabricMspConfig {
            name: "Org1MSP".to_owned(),
            root_certs: vec![Bytes::from_static(AUTHORITY)],
            admins: vec![Bytes::from_static(MEMBER)],
            ..FabricMspConfig::default()
        };
        let manager = MspManager::new(vec![Msp::from_config(&config, MspVersion::V3_0).expect("an organisation")]);
        let identity = SerializedIdentity { mspid: "Org1MSP".to_owned(), id_bytes: Bytes::from_static(MEMBER) };
        let identity = manager.deserialize(&identity.encode_to_vec().into()).expect("a member");
        (manager, identity)
    })
}

fuzz_target!(|data: &[u8]| {
    let Ok(principal) = MspPrincipal::decode(Bytes::copy_from_slice(data)) else { return };
    let (manager, identity) = member();
    let first = manager.satisfies(identity, &principal);
    assert_eq!(first, manager.satisfies(identity, &principal));
});
