//! Membership against a real network's folders and against certificates made to be refused.

mod folders;
mod hostile;
mod principals;
mod units;

use std::path::Path;
use std::sync::OnceLock;

use bytes::Bytes;
use fabric_proto::common::msp_principal::Classification;
use fabric_proto::common::msp_role::MspRoleType;
use fabric_proto::common::{MspPrincipal, MspRole};
use fabric_proto::msp::{FabricMspConfig, FabricNodeOUs, FabricOuIdentifier, SerializedIdentity};
use konsort_crypto::{KeyKind, PrivateKey};
use konsort_pki::{Certificate, CertificateTemplate, Name};
use prost::Message;

use super::*;

const START: i64 = 1_700_000_000;
const END: i64 = 1_900_000_000;

/// The unpacked folders of the real network.
fn real_network() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    FOLDER
        .get_or_init(|| {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/golden/fabric/crypto/crypto-config.tar.gz");
            let folder = tempfile::tempdir().unwrap();
            let file = std::fs::File::open(path).unwrap();
            tar::Archive::new(flate2::read::GzDecoder::new(file)).unpack(folder.path()).unwrap();
            folder
        })
        .path()
}

/// An organisation made here.
struct Org {
    ca: Certificate,
    ca_key: PrivateKey,
    config: FabricMspConfig,
}

fn new_key() -> PrivateKey {
    PrivateKey::generate(KeyKind::EcdsaP256).unwrap()
}

fn pem(certificate: &Certificate) -> Bytes {
    certificate.pem().into()
}

fn unit(name: &str) -> FabricOuIdentifier {
    FabricOuIdentifier { certificate: Bytes::new(), organizational_unit_identifier: name.to_owned() }
}

fn template(units: &[&str]) -> CertificateTemplate {
    CertificateTemplate::leaf(subject("member", units), START, END)
}

fn subject(name: &str, units: &[&str]) -> Name {
    Name::default().with_units(units.iter().map(|unit| (*unit).to_owned())).with_common_name(name)
}

impl Org {
    /// With roles by unit.
    fn new() -> Self {
        let ca_key = new_key();
        let ca = CertificateTemplate::ca(subject("ca", &[]), START, END).self_sign(&ca_key).unwrap();
        let config = FabricMspConfig {
            name: "Org".to_owned(),
            root_certs: vec![pem(&ca)],
            fabric_node_ous: Some(FabricNodeOUs {
                enable: true,
                client_ou_identifier: Some(unit("client")),
                peer_ou_identifier: Some(unit("peer")),
                admin_ou_identifier: Some(unit("admin")),
                orderer_ou_identifier: Some(unit("orderer")),
            }),
            ..FabricMspConfig::default()
        };
        Self { ca, ca_key, config }
    }

    fn msp(&self) -> Msp {
        self.version(MspVersion::V3_0)
    }

    fn version(&self, version: MspVersion) -> Msp {
        Msp::from_config(&self.config, version).unwrap()
    }

    fn issue(&self, template: &CertificateTemplate) -> Certificate {
        template.issue(new_key().public_key(), &self.ca, &self.ca_key).unwrap()
    }

    fn member(&self, units: &[&str]) -> Certificate {
        self.issue(&template(units))
    }
}

fn serialize(mspid: &str, certificate: &Certificate) -> Bytes {
    SerializedIdentity { mspid: mspid.to_owned(), id_bytes: pem(certificate) }.encode_to_vec().into()
}

fn judge(msp: &Msp, certificate: &Certificate) -> Result<(), String> {
    let identity = msp.deserialize(&serialize(msp.name(), certificate)).map_err(|error| error.to_string())?;
    msp.validate(&identity).map_err(|error| error.to_string())
}

fn role_principal(mspid: &str, role: MspRoleType) -> MspPrincipal {
    let role = MspRole { msp_identifier: mspid.to_owned(), role: role as i32 };
    MspPrincipal { principal_classification: Classification::Role as i32, principal: role.encode_to_vec().into() }
}
