//! Setting up an organisation from its definition, with the checks that refuse a broken one.

use std::collections::{BTreeMap, HashSet};

use fabric_proto::msp::{FabricMspConfig, FabricOuIdentifier};
use konsort_crypto::HashAlgorithm;
use konsort_pki::{Certificate, CertificatePool, Crl, PkiError};

use super::organization::{Inner, NodeUnit, NodeUnits, sanitize, unique_chain};
use super::validate::check_revocation;
use super::{Context as _, MspError, MspVersion};

pub(super) fn organization(config: &FabricMspConfig, version: MspVersion) -> Result<Inner, MspError> {
    let (signature_hash, identity_hash) = hashes(config)?;
    let (roots, intermediates) = authorities(config)?;
    let mut inner = Inner {
        name: config.name.as_str().into(),
        version,
        config: FabricMspConfig { signing_identity: None, ..config.clone() },
        roots,
        intermediates,
        superior_authorities: HashSet::new(),
        admins: Vec::new(),
        crls: revocation_lists(config)?,
        units: BTreeMap::new(),
        enforce_roles: false,
        roles: NodeUnits::default(),
        identity_hash,
        signature_hash,
    };
    check_authorities(&mut inner)?;
    check_tls_authorities(config, &inner.crls)?;
    inner.units = unit_identifiers(config, &inner)?;
    if version >= MspVersion::V1_1 {
        roles(config, &mut inner)?;
    }
    for admin in &config.admins {
        let certificate = certificate_from_pem(admin)?;
        inner.admins.push(inner.sanitize(&certificate)?);
    }
    if version >= MspVersion::V1_4_3 && inner.admins.is_empty() && (!inner.enforce_roles || inner.roles.admin.is_none())
    {
        return Err(MspError::Setup("administrators must be declared when no admin ou classification is set".into()));
    }
    check_admins(&inner)?;
    Ok(inner)
}

fn hashes(config: &FabricMspConfig) -> Result<(Option<HashAlgorithm>, HashAlgorithm), MspError> {
    let (family, identity) = config.crypto_config.as_ref().map_or(("", ""), |crypto| {
        (crypto.signature_hash_family.as_str(), crypto.identity_identifier_hash_function.as_str())
    });
    let signature_hash = match family {
        "" | "SHA2" => Some(HashAlgorithm::Sha256),
        "SHA3" => Some(HashAlgorithm::Sha3_256),
        _ => None,
    };
    let identity_hash = match identity {
        "" | "SHA256" => HashAlgorithm::Sha256,
        "SHA384" => HashAlgorithm::Sha384,
        "SHA3_256" => HashAlgorithm::Sha3_256,
        "SHA3_384" => HashAlgorithm::Sha3_384,
        other => {
            return Err(MspError::Setup(format!(
                "failed getting hash function options: hash function not recognized [{other}]"
            )));
        }
    };
    Ok((signature_hash, identity_hash))
}

fn certificate_from_pem(pem: &[u8]) -> Result<Certificate, MspError> {
    Certificate::from_pem(pem).map_err(|error| {
        MspError::Setup(match error {
            PkiError::NoPem(_) => {
                format!("getCertFromPem error: could not decode pem bytes [{}]", String::from_utf8_lossy(pem))
            }
            other => format!("getCertFromPem error: failed to parse x509 cert: {other}"),
        })
    })
}

/// Roots and intermediates with their signatures in the lower half. What is given is trusted to find the parents whose
/// curve the rewriting needs.
fn authorities(config: &FabricMspConfig) -> Result<(CertificatePool, CertificatePool), MspError> {
    if config.root_certs.is_empty() {
        return Err(MspError::Setup("expected at least one CA certificate".into()));
    }
    let read = |list: &[bytes::Bytes]| list.iter().map(|pem| certificate_from_pem(pem)).collect::<Result<Vec<_>, _>>();
    let roots = CertificatePool::new(read(&config.root_certs)?);
    let intermediates = CertificatePool::new(read(&config.intermediate_certs)?);
    let rewrite = |pool: &CertificatePool| {
        let rewritten = pool.certificates().iter().map(|certificate| sanitize(certificate, &roots, &intermediates));
        rewritten.collect::<Result<Vec<_>, _>>().map(CertificatePool::new)
    };
    Ok((rewrite(&roots)?, rewrite(&intermediates)?))
}

fn revocation_lists(config: &FabricMspConfig) -> Result<Vec<Crl>, MspError> {
    let read = |bytes: &bytes::Bytes| {
        let crl = Crl::from_bytes(bytes)?;
        if crl.is_ecdsa_signed() {
            crl.check_ecdsa_encoding()?;
        }
        Ok(crl)
    };
    let lists: Result<Vec<Crl>, PkiError> = config.revocation_list.iter().map(read).collect();
    lists.map_err(|error| MspError::Setup(format!("could not parse RevocationList: {error}")))
}

fn serial_hex(certificate: &Certificate) -> String {
    let text = hex::encode(certificate.serial());
    text.strip_prefix('0').map_or_else(|| text.clone(), str::to_owned)
}

fn check_authority_shape(certificate: &Certificate) -> Result<(), MspError> {
    let serial = serial_hex(certificate);
    if !certificate.is_ca() {
        return Err(MspError::Setup(format!("CA Certificate did not have the CA attribute, (SN: {serial})")));
    }
    if certificate.subject_key_id().is_none() {
        return Err(MspError::Setup(format!(
            "CA Certificate problem with Subject Key Identifier extension, (SN: {serial}): subjectKeyIdentifier not \
             found in certificate"
        )));
    }
    Ok(())
}

fn check_authorities(inner: &mut Inner) -> Result<(), MspError> {
    let all: Vec<Certificate> =
        inner.roots.certificates().iter().chain(inner.intermediates.certificates()).cloned().collect();
    for certificate in &all {
        check_authority_shape(certificate)?;
        let invalid = format!("CA Certificate is not valid, (SN: {})", certificate.serial_decimal());
        let chain =
            inner.unique_chain(certificate).context("could not obtain certification chain").context(&invalid)?;
        if chain.len() > 1 {
            check_revocation(certificate, &chain, &inner.crls).context(&invalid)?;
        }
    }
    for certificate in inner.intermediates.certificates() {
        let chain = inner.unique_chain(certificate).map_err(|error| {
            error.context(format!("failed getting validation chain, (SN: {})", certificate.serial_decimal()))
        })?;
        inner.superior_authorities.extend(chain[1..].iter().map(|authority| authority.der().to_vec()));
    }
    Ok(())
}

fn check_tls_authorities(config: &FabricMspConfig, crls: &[Crl]) -> Result<(), MspError> {
    let read = |list: &[bytes::Bytes]| list.iter().map(|pem| certificate_from_pem(pem)).collect::<Result<Vec<_>, _>>();
    let roots = CertificatePool::new(read(&config.tls_root_certs)?);
    let intermediates = CertificatePool::new(read(&config.tls_intermediate_certs)?);
    for certificate in roots.certificates().iter().chain(intermediates.certificates()) {
        check_authority_shape(certificate)?;
        let invalid = format!("CA Certificate is not valid, (SN: {})", certificate.serial_decimal());
        let chain = unique_chain(certificate, &roots, &intermediates)
            .context("could not obtain certification chain")
            .context(&invalid)?;
        if chain.len() > 1 {
            check_revocation(certificate, &chain, crls).context(&invalid)?;
        }
    }
    Ok(())
}

/// The identifier of the path above and including an authority that is one of the organisation's own.
fn certifiers_identifier(pem: &[u8], inner: &Inner) -> Result<Vec<u8>, MspError> {
    let certificate = certificate_from_pem(pem).context("Failed getting certificate")?;
    let certificate = inner.sanitize(&certificate).context("sanitizeCert failed")?;
    if inner.roots.contains(&certificate) {
        return Ok(inner.certifiers(&[certificate]));
    }
    if !inner.intermediates.contains(&certificate) {
        return Err(MspError::Setup(format!(
            "Failed adding OU. Certificate [{certificate:?}] not in root or intermediate certs."
        )));
    }
    let chain = inner.validation_chain(&certificate, true).context("Failed computing validation chain")?;
    Ok(inner.certifiers(&chain))
}

fn unit_identifiers(config: &FabricMspConfig, inner: &Inner) -> Result<BTreeMap<String, Vec<Vec<u8>>>, MspError> {
    let mut units: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for unit in &config.organizational_unit_identifiers {
        let name = &unit.organizational_unit_identifier;
        let certifiers = certifiers_identifier(&unit.certificate, inner)
            .map_err(|error| error.context(format!("failed getting certificate for [{name}]")))?;
        let known = units.entry(name.clone()).or_default();
        if !known.contains(&certifiers) {
            known.push(certifiers);
        }
    }
    Ok(units)
}

fn roles(config: &FabricMspConfig, inner: &mut Inner) -> Result<(), MspError> {
    let Some(node_units) = &config.fabric_node_ous else { return Ok(()) };
    let read = |unit: &Option<FabricOuIdentifier>, inner: &Inner| -> Result<Option<NodeUnit>, MspError> {
        let Some(unit) = unit else { return Ok(None) };
        let certifiers =
            if unit.certificate.is_empty() { Vec::new() } else { certifiers_identifier(&unit.certificate, inner)? };
        Ok(Some(NodeUnit { unit: unit.organizational_unit_identifier.clone(), certifiers }))
    };
    inner.enforce_roles = node_units.enable;
    let mut found = NodeUnits {
        client: read(&node_units.client_ou_identifier, inner)?,
        peer: read(&node_units.peer_ou_identifier, inner)?,
        ..NodeUnits::default()
    };
    if inner.version < MspVersion::V1_4_3 {
        let missing = |unit: &Option<NodeUnit>| unit.as_ref().is_none_or(|unit| unit.unit.is_empty());
        for (unit, name) in [(&found.client, "ClientOU"), (&found.peer, "PeerOU")] {
            if missing(unit) {
                return Err(MspError::Setup(format!("Failed setting up NodeOUs. {name} must be different from nil.")));
            }
        }
    } else {
        found.admin = read(&node_units.admin_ou_identifier, inner)?;
        found.orderer = read(&node_units.orderer_ou_identifier, inner)?;
        if [&found.client, &found.peer, &found.admin, &found.orderer].iter().all(|unit| unit.is_none()) {
            inner.enforce_roles = false;
        }
    }
    inner.roles = found;
    Ok(())
}

/// Declared administrators must be valid members, and clients (or admins) where roles are enforced.
fn check_admins(inner: &Inner) -> Result<(), MspError> {
    for (index, admin) in inner.admins.iter().enumerate() {
        if !inner.enforce_roles {
            inner.validate_certificate(admin).map_err(|error| error.context(format!("admin {index} is invalid")))?;
            continue;
        }
        let client = inner.has_role(admin.organizational_units(), super::principal::Role::Client);
        if inner.version < MspVersion::V1_4_3 {
            inner
                .validate_certificate(admin)
                .and(client)
                .map_err(|error| error.context(format!("admin {index} is invalid")))?;
            continue;
        }
        // A path is needed for a certificate's units to count at all.
        let units: &[String] = if inner.identity_chain(admin).is_ok() { admin.organizational_units() } else { &[] };
        let client = inner.has_role(units, super::principal::Role::Client);
        let as_admin = inner.has_role(units, super::principal::Role::Admin);
        if let (Err(first), Err(second)) = (client, as_admin) {
            return Err(MspError::Setup(format!("admin {index} is invalid [{first},{second}]")));
        }
    }
    Ok(())
}
