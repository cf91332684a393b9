//! Whether a certificate is a valid member: path, revocation, organisational units.

use konsort_crypto::KeyKind;
use konsort_pki::{Certificate, Crl};

use super::organization::Inner;
use super::{Context as _, Identity, MspError, MspVersion};

impl Inner {
    pub(super) fn validate(&self, identity: &Identity) -> Result<(), MspError> {
        self.check_key_kind(&identity.certificate)?;
        let chain = self.chain_of(identity).clone().context("could not obtain certification chain")?;
        self.validate_with_chain(&identity.certificate, &chain)
    }

    /// The same for a certificate that is no identity yet.
    pub(super) fn validate_certificate(&self, certificate: &Certificate) -> Result<(), MspError> {
        self.check_key_kind(certificate)?;
        let chain = self.identity_chain(certificate).context("could not obtain certification chain")?;
        self.validate_with_chain(certificate, &chain)
    }

    fn check_key_kind(&self, certificate: &Certificate) -> Result<(), MspError> {
        let kind = certificate.public_key().kind();
        let supported = kind.is_ecdsa() || (kind == KeyKind::Ed25519 && self.version >= MspVersion::V3_0);
        if supported {
            return Ok(());
        }
        Err(MspError::KeyAlgorithm(kind.algorithm_name())).context("could not validate identity's public key algorithm")
    }

    fn validate_with_chain(&self, certificate: &Certificate, chain: &[Certificate]) -> Result<(), MspError> {
        check_revocation(certificate, chain, &self.crls)
            .context("could not validate identity against certification chain")?;
        let certifiers = self.certifiers(&chain[1..]);
        self.check_units(certificate, &certifiers).context("could not validate identity's OUs")
    }

    /// The path of an identity, computed once.
    pub(super) fn chain_of<'a>(&self, identity: &'a Identity) -> &'a Result<Vec<Certificate>, MspError> {
        identity.chain.get_or_init(|| self.identity_chain(&identity.certificate))
    }

    pub(super) fn identity_chain(&self, certificate: &Certificate) -> Result<Vec<Certificate>, MspError> {
        if certificate.is_ca() {
            return Err(MspError::AuthorityAsIdentity);
        }
        self.validation_chain(certificate, false)
    }

    /// The identity's organisational units with the identifier of the authorities they come from; none without a path.
    pub(super) fn units_of<'a>(&self, identity: &'a Identity) -> &'a [(String, Vec<u8>)] {
        identity.units.get_or_init(|| match self.chain_of(identity) {
            Ok(chain) => {
                let certifiers = self.certifiers(&chain[1..]);
                let units = identity.certificate.organizational_units();
                units.iter().map(|unit| (unit.clone(), certifiers.clone())).collect()
            }
            Err(_) => Vec::new(),
        })
    }

    fn check_units(&self, certificate: &Certificate, certifiers: &[u8]) -> Result<(), MspError> {
        let units = certificate.organizational_units();
        if !self.units.is_empty() {
            let known = |unit: &String| {
                self.units.get(unit).is_some_and(|accepted| accepted.iter().any(|one| one == certifiers))
            };
            if units.is_empty() {
                return Err(MspError::Units(
                    "the identity certificate does not contain an Organizational Unit (OU)".into(),
                ));
            }
            if !units.iter().any(known) {
                return Err(MspError::Units(format!(
                    "none of the identity's organizational units {} are in MSP {}",
                    unit_list(units, certifiers),
                    self.name
                )));
            }
        }
        if !self.enforce_roles {
            return Ok(());
        }
        let roles = [&self.roles.client, &self.roles.peer, &self.roles.admin, &self.roles.orderer];
        let mut found = 0;
        for unit in units {
            // Two roles may share a unit; the later of the four then counts, as in upstream's map.
            let role = roles.iter().rev().filter_map(|role| role.as_ref()).find(|role| role.unit == *unit);
            let Some(role) = role else { continue };
            if !role.certifiers.is_empty() && role.certifiers != certifiers {
                return Err(MspError::Units(format!(
                    "certifiersIdentifier does not match: {}, MSP: [{}]",
                    unit_list(units, certifiers),
                    self.name
                )));
            }
            found += 1;
        }
        let list = || format!("{}, MSP: [{}]", unit_list(units, certifiers), self.name);
        let v142 = self.version >= MspVersion::V1_4_3;
        match found {
            1 => Ok(()),
            0 if v142 => Err(MspError::Units(format!(
                "the identity does not have an OU that resolves to client, peer, orderer, or admin role. OUs: {}",
                list()
            ))),
            0 => Err(MspError::Units(format!(
                "the identity does not have an OU that resolves to client or peer. OUs: {}",
                list()
            ))),
            _ if v142 => Err(MspError::Units(format!(
                "the identity must have a client, a peer, an orderer, or an admin OU role to be valid, not a \
                 combination of them. OUs: {}",
                list()
            ))),
            _ => Err(MspError::Units(format!(
                "the identity must be a client or a peer identity to be valid, not a combination of them. OUs: {}",
                list()
            ))),
        }
    }
}

fn unit_list(units: &[String], certifiers: &[u8]) -> String {
    let prefix = hex::encode_upper(&certifiers[..certifiers.len().min(8)]);
    let list: Vec<String> = units.iter().map(|unit| format!("{unit}({prefix})")).collect();
    format!("[{}]", list.join(" "))
}

/// Looks the certificate up in the revocation lists of its issuer. Lists are matched by key identifier and count only when
/// the issuer signed them; the time of revocation plays no part, because the same list must give the same answer for old
/// blocks on every peer.
pub(super) fn check_revocation(certificate: &Certificate, chain: &[Certificate], crls: &[Crl]) -> Result<(), MspError> {
    let issuer = &chain[1];
    let Some(issuer_id) = issuer.subject_key_id() else {
        return Err(MspError::Setup("subjectKeyIdentifier not found in certificate".into()))
            .context("could not obtain Subject Key Identifier for signer cert");
    };
    for crl in crls {
        let Some(authority) = crl.authority_key_id() else {
            return Err(MspError::Setup("authorityKeyIdentifier not found in certificate".into()))
                .context("could not obtain Authority Key Identifier for crl");
        };
        if authority != issuer_id || !crl.is_revoked(certificate.serial()) {
            continue;
        }
        match crl.check_signed_by(issuer) {
            Ok(()) => return Err(MspError::Revoked),
            Err(error) => tracing::warn!(%error, "invalid signature over the identified CRL"),
        }
    }
    Ok(())
}
