//! People who should not get in: of no organisation, of the wrong one, expired, revoked.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use fabric_channel::config::compute;
use fabric_channel::msp::SigningIdentity;
use fabric_channel::protoutil;
use fabric_client::ClientError;
use fabric_client::envelope::Seek;
use fabric_proto::common::ConfigUpdateEnvelope;
use fabric_proto::msp::{FabricMspConfig, MspConfig};
use konsort_crypto::{KeyKind, PrivateKey};
use konsort_pki::{Certificate, CertificateTemplate, CrlTemplate, Name};
use prost::Message as _;

use super::World;

const DAY: i64 = 86_400;

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// A certificate authority of the test's own or of the network.
struct Authority {
    certificate: Certificate,
    key: PrivateKey,
}

impl Authority {
    fn of_network(world: &World, domain: &str) -> Self {
        let folder = world.network.data().join("crypto/peerOrganizations").join(domain).join("ca");
        let certificate = std::fs::read(folder.join(format!("ca.{domain}-cert.pem"))).unwrap();
        let key = std::fs::read_to_string(folder.join("priv_sk")).unwrap();
        Self { certificate: Certificate::from_pem(&certificate).unwrap(), key: PrivateKey::from_pem(&key).unwrap() }
    }

    /// Has the names of the authority it imitates, but a key of its own.
    fn imitation(of: &Self) -> Self {
        let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
        let template = CertificateTemplate::ca(of.certificate.subject().clone(), now() - DAY, now() + DAY);
        Self { certificate: template.self_sign(&key).unwrap(), key }
    }

    fn client(&self, mspid: &str, not_after: i64) -> Arc<SigningIdentity> {
        let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
        let subject = Name::common_name("somebody").with_units(["client".to_owned()]);
        let template = CertificateTemplate::leaf(subject, self.certificate.not_before(), not_after);
        let certificate = template.issue(key.public_key(), &self.certificate, &self.key).unwrap();
        Arc::new(SigningIdentity::from_parts(mspid, certificate, key).unwrap())
    }
}

/// Who appears in the tests.
pub(crate) struct Cast {
    authority: Authority,
    /// Certified by an authority that only bears the right name.
    pub(crate) imitator: Arc<SigningIdentity>,
    /// Of an organisation that nobody knows.
    pub(crate) stranger: Arc<SigningIdentity>,
    /// Certified by the second organisation, claims to be of the first.
    pub(crate) turncoat: Arc<SigningIdentity>,
    /// Certified rightly, some time ago.
    pub(crate) expired: Arc<SigningIdentity>,
    /// Will be revoked.
    victim: Arc<SigningIdentity>,
}

impl Cast {
    pub(crate) fn of(world: &World) -> Self {
        let authority = Authority::of_network(world, "org1.example.com");
        let other = Authority::of_network(world, "org2.example.com");
        Self {
            imitator: Authority::imitation(&authority).client("Org1MSP", now() + DAY),
            stranger: Authority::imitation(&authority).client("Org9MSP", now() + DAY),
            turncoat: other.client("Org1MSP", now() + DAY),
            expired: authority.client("Org1MSP", now() - 30),
            victim: authority.client("Org1MSP", now() + DAY),
            authority,
        }
    }
}

/// A member whose certificate the organisation revokes by an update of the channel is refused everywhere from then on.
pub(crate) async fn revocation(world: &World, cast: &Cast) {
    let victim = &cast.victim;
    let (peer, orderer) = (world.client(victim).await, world.orderer(victim).await);
    let call = world.put("before-revocation").sign(&**victim);
    let endorsed = peer.propose(&call).await.unwrap();
    assert_eq!(endorsed.response.as_ref().unwrap().status, 200);
    let left_over = call.transaction(&**victim, &[endorsed]).unwrap();

    let administrator = &world.administrator;
    let config = world.client(administrator).await.channel_config(world.channel()).await.unwrap();
    let mut changed = config.clone();
    let group = changed.channel_group.as_mut().unwrap().groups.get_mut("Application").unwrap();
    let value = group.groups.get_mut("Org1MSP").unwrap().values.get_mut("MSP").unwrap();
    let mut msp = MspConfig::decode(value.value.clone()).unwrap();
    let mut fabric = FabricMspConfig::decode(msp.config.clone()).unwrap();
    let list = CrlTemplate {
        revoked: vec![(victim.certificate().serial().to_vec(), now())],
        this_update: now() - 60,
        next_update: Some(now() + DAY),
        number: 1,
    };
    let list = list.issue(&cast.authority.certificate, &cast.authority.key).unwrap();
    fabric.revocation_list.push(Bytes::from(list.pem()));
    msp.config = fabric.encode_to_vec().into();
    value.value = msp.encode_to_vec().into();
    let mut update = compute(&config, &changed).unwrap();
    world.channel().clone_into(&mut update.channel_id);
    let update = Bytes::from(update.encode_to_vec());
    let signatures = vec![protoutil::sign_config_update(&update, &**administrator)];
    let update = ConfigUpdateEnvelope { config_update: update, signatures };

    // The same update, signed by a user: nothing changes.
    let refused = world.orderer(&world.user).await;
    let mut unsigned = update.clone();
    unsigned.signatures = vec![protoutil::sign_config_update(&update.config_update, &*world.user)];
    let envelope = protoutil::signed_config_update(world.channel(), &unsigned, Some(&*world.user));
    let error = refused.broadcast(envelope).await.unwrap_err().to_string();
    assert!(
        error.contains(
            "BAD_REQUEST -- error applying config update to existing channel 'mychannel': error authorizing update:"
        ),
        "{error}"
    );

    let before = world.client(administrator).await.channel_info(world.channel()).await.unwrap().height;
    let envelope = protoutil::signed_config_update(world.channel(), &update, Some(&**administrator));
    world.orderer(administrator).await.broadcast(envelope).await.unwrap();
    let started = Instant::now();
    while world.client(administrator).await.channel_info(world.channel()).await.unwrap().height == before {
        assert!(started.elapsed() < Duration::from_secs(10), "the configuration update does not arrive");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let error = peer.propose(&world.put("revoked").sign(&**victim)).await.unwrap_err();
    assert_eq!(error.code(), Some(tonic::Code::Unknown));
    let error = error.to_string();
    assert!(
        error.contains("error validating proposal: access denied: channel [mychannel] creator org [Org1MSP]"),
        "{error}"
    );
    let error = orderer.broadcast(left_over).await.unwrap_err();
    assert!(
        matches!(&error, ClientError::Broadcast { status, info, .. } if status == "FORBIDDEN" && info.ends_with("permission denied")),
        "{error}"
    );
    for error in [
        peer.block(world.channel(), Seek::Oldest, false).await.unwrap_err().to_string(),
        orderer.block(world.channel(), Seek::Oldest, false).await.unwrap_err().to_string(),
    ] {
        assert!(error.contains("FORBIDDEN"), "{error}");
    }
    let kept = world.client(&world.user).await.propose(&world.put("others-go-on").sign(&*world.user)).await.unwrap();
    assert_eq!(kept.response.unwrap().status, 200);
}
