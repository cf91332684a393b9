//! Certification paths, built and judged as Go's `Certificate.Verify` does.

use crate::certificate::{Certificate, SUBJECT_ALT_NAME};
use crate::extensions::ExtendedKeyUsage;
use crate::time::rfc3339;

/// Go gives up after this many signature checks for one certificate; so do we, against hostile path mazes.
const MAX_SIGNATURE_CHECKS: usize = 100;

/// Why there is no acceptable path. Texts are those Go prints, because they reach clients and logs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// No path to a trusted root.
    #[error("x509: certificate signed by unknown authority{}", hint_text(.hint.as_deref()))]
    UnknownAuthority {
        /// The first failed candidate, if there was one: what failed and the candidate's name.
        hint: Option<Box<(String, String)>>,
    },
    /// The certificate, or one above it, is not valid at the time asked for.
    #[error("x509: certificate has expired or is not yet valid: current time {at} is {relation} {limit}")]
    Expired {
        /// The time asked for.
        at: String,
        /// `before` or `after`.
        relation: &'static str,
        /// The limit that was passed.
        limit: String,
    },
    /// An intermediate is no authority.
    #[error("x509: certificate is not authorized to sign other certificates")]
    NotAuthorizedToSign,
    /// More intermediates than an authority allows.
    #[error("x509: too many intermediates for path length constraint")]
    TooManyIntermediates,
    /// Issuer and subject do not fit.
    #[error("x509: issuer name does not match subject from issuing certificate")]
    NameMismatch,
    /// An authority may not certify this name.
    #[error("x509: a root or intermediate certificate is not authorized to sign for this name: {0} is not permitted")]
    NameConstraint(String),
    /// Extended key usage excludes the purpose.
    #[error("x509: certificate specifies an incompatible key usage")]
    IncompatibleUsage,
    /// A critical extension is not understood.
    #[error("x509: unhandled critical extension")]
    UnhandledCriticalExtension,
    /// The signature does not verify under the parent's key.
    #[error("x509: {0} verification failure")]
    BadSignature(&'static str),
    /// The parent is no authority or may not sign certificates.
    #[error("x509: invalid signature: parent certificate cannot sign this kind of certificate")]
    ParentCannotSign,
    /// The signature algorithm is unknown or not secure any more.
    #[error("x509: cannot verify signature: algorithm unimplemented")]
    UnsupportedAlgorithm,
    /// The signature algorithm is for another kind of key.
    #[error("x509: signature algorithm specifies another kind of public key than the parent has")]
    WrongKeyKind,
    /// Too much work for one certificate.
    #[error("x509: signature check attempts limit reached while verifying certificate chain")]
    TooManyChecks,
    /// The certificate does not speak for this host.
    #[error("x509: certificate is valid for {names}, not {host}")]
    Host {
        /// The host asked for.
        host: String,
        /// The names in the certificate.
        names: String,
    },
}

fn hint_text(hint: Option<&(String, String)>) -> String {
    hint.map_or_else(String::new, |(error, name)| {
        format!(" (possibly because of {error:?} while trying to verify candidate authority certificate {name:?})")
    })
}

/// Certificates to look issuers up in, each once.
#[derive(Debug, Clone, Default)]
pub struct CertificatePool {
    certificates: Vec<Certificate>,
}

impl CertificatePool {
    /// A pool of these certificates.
    pub fn new(certificates: impl IntoIterator<Item = Certificate>) -> Self {
        let mut pool = Self::default();
        for certificate in certificates {
            pool.add(certificate);
        }
        pool
    }

    /// Adds a certificate unless it is there.
    pub fn add(&mut self, certificate: Certificate) {
        if !self.contains(&certificate) {
            self.certificates.push(certificate);
        }
    }

    /// True when exactly this certificate is there.
    pub fn contains(&self, certificate: &Certificate) -> bool {
        self.certificates.contains(certificate)
    }

    /// All certificates.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Candidates by name, best key identifier first: equal, then missing on one side, then different.
    fn potential_parents<'a>(&'a self, child: &Certificate) -> Vec<&'a Certificate> {
        let mut candidates: Vec<_> =
            self.certificates.iter().filter(|parent| parent.raw_subject() == child.raw_issuer()).collect();
        candidates.sort_by_key(|parent| match (parent.subject_key_id(), child.authority_key_id()) {
            (Some(parent_id), Some(child_id)) if parent_id == child_id => 0,
            (Some(_), Some(_)) => 2,
            (None, None) => 0,
            _ => 1,
        });
        candidates
    }
}

/// The purpose that extended key usages must allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Usage {
    /// TLS server; also what Go asks for when nothing is said, and so what membership providers ask for.
    #[default]
    ServerAuth,
    /// TLS client.
    ClientAuth,
    /// Anything.
    Any,
}

/// What to verify against.
#[derive(Debug, Clone, Copy)]
pub struct VerifyOptions<'a> {
    /// Trusted certificates.
    pub roots: &'a CertificatePool,
    /// Certificates that may stand in between.
    pub intermediates: &'a CertificatePool,
    /// The time at which everything must be valid, seconds since 1970.
    pub at: i64,
    /// The purpose.
    pub usage: Usage,
}

/// Every acceptable path from `leaf` to a root, `leaf` first; at least one. A leaf that is itself a root is a path
/// of one.
pub fn verify(leaf: &Certificate, options: &VerifyOptions<'_>) -> Result<Vec<Vec<Certificate>>, ChainError> {
    is_valid(leaf, Role::Leaf, &[], options)?;
    let candidates = if options.roots.contains(leaf) {
        vec![vec![leaf.clone()]]
    } else {
        let mut checks = 0;
        build(leaf, std::slice::from_ref(leaf), &mut checks, options)?
    };
    let chains: Vec<_> = candidates.into_iter().filter(|chain| allows_usage(chain, options.usage)).collect();
    if chains.is_empty() { Err(ChainError::IncompatibleUsage) } else { Ok(chains) }
}

/// The first acceptable path, whatever the extended key usages say.
pub fn verify_chain(
    leaf: &Certificate,
    roots: &[Certificate],
    intermediates: &[Certificate],
    at: i64,
) -> Result<Vec<Certificate>, ChainError> {
    let roots = CertificatePool::new(roots.iter().cloned());
    let intermediates = CertificatePool::new(intermediates.iter().cloned());
    let options = VerifyOptions { roots: &roots, intermediates: &intermediates, at, usage: Usage::Any };
    verify(leaf, &options)?.into_iter().next().ok_or(ChainError::UnknownAuthority { hint: None })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Leaf,
    Intermediate,
    Root,
}

fn is_valid(
    certificate: &Certificate,
    role: Role,
    below: &[Certificate],
    options: &VerifyOptions<'_>,
) -> Result<(), ChainError> {
    if certificate.has_unhandled_critical() {
        return Err(ChainError::UnhandledCriticalExtension);
    }
    if below.last().is_some_and(|child| child.raw_issuer() != certificate.raw_subject()) {
        return Err(ChainError::NameMismatch);
    }
    let expired = |relation, limit| ChainError::Expired { at: rfc3339(options.at), relation, limit: rfc3339(limit) };
    if options.at < certificate.not_before() {
        return Err(expired("before", certificate.not_before()));
    }
    if options.at > certificate.not_after() {
        return Err(expired("after", certificate.not_after()));
    }
    if role != Role::Leaf
        && let Some(constraints) = certificate.name_constraints()
        && let Some(name) = below.iter().find_map(|child| constraints.violation(child.alt_names()))
    {
        return Err(ChainError::NameConstraint(name));
    }
    if role == Role::Intermediate && !(certificate.has_basic_constraints() && certificate.is_ca()) {
        return Err(ChainError::NotAuthorizedToSign);
    }
    if let Some(limit) = certificate.max_path_len()
        && below.len().saturating_sub(1) as u64 > limit
    {
        return Err(ChainError::TooManyIntermediates);
    }
    Ok(())
}

fn build(
    child: &Certificate,
    chain: &[Certificate],
    checks: &mut usize,
    options: &VerifyOptions<'_>,
) -> Result<Vec<Vec<Certificate>>, ChainError> {
    let mut chains = Vec::new();
    let mut hint = None;
    let mut failure = None;
    let candidates =
        options.roots.potential_parents(child).into_iter().map(|candidate| (Role::Root, candidate)).chain(
            options.intermediates.potential_parents(child).into_iter().map(|parent| (Role::Intermediate, parent)),
        );
    for (role, candidate) in candidates {
        if chain.iter().any(|earlier| same_subject(earlier, candidate)) {
            continue;
        }
        *checks += 1;
        if *checks > MAX_SIGNATURE_CHECKS {
            failure = Some(ChainError::TooManyChecks);
            break;
        }
        let judged = child.check_signed_by(candidate).and_then(|()| is_valid(candidate, role, chain, options));
        if let Err(error) = judged {
            hint.get_or_insert_with(|| Box::new((error.to_string(), display_name(candidate))));
            continue;
        }
        let mut longer = chain.to_vec();
        longer.push(candidate.clone());
        if role == Role::Root {
            chains.push(longer);
        } else {
            match build(candidate, &longer, checks, options) {
                Ok(found) => chains.extend(found),
                Err(error) => failure = Some(error),
            }
        }
    }
    if chains.is_empty() { Err(failure.unwrap_or(ChainError::UnknownAuthority { hint })) } else { Ok(chains) }
}

/// A path does not pass twice through the same subject with the same key and alternative names.
fn same_subject(one: &Certificate, other: &Certificate) -> bool {
    one.raw_subject() == other.raw_subject()
        && one.public_key() == other.public_key()
        && one.extension(SUBJECT_ALT_NAME) == other.extension(SUBJECT_ALT_NAME)
}

fn display_name(certificate: &Certificate) -> String {
    if !certificate.common_name().is_empty() {
        return certificate.common_name().to_owned();
    }
    match certificate.subject().organizations().first() {
        Some(organization) => (*organization).to_owned(),
        None => format!("serial:{}", certificate.serial_decimal()),
    }
}

/// Every certificate of the path that restricts its usage must allow this one.
fn allows_usage(chain: &[Certificate], usage: Usage) -> bool {
    let wanted = match usage {
        Usage::Any => return true,
        Usage::ServerAuth => ExtendedKeyUsage::ServerAuth,
        Usage::ClientAuth => ExtendedKeyUsage::ClientAuth,
    };
    chain.iter().all(|certificate| {
        let allowed = certificate.extended_key_usage();
        allowed.is_empty() || allowed.contains(&ExtendedKeyUsage::Any) || allowed.contains(&wanted)
    })
}
