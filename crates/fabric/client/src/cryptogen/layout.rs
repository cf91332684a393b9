//! Folders, keys and certificates.

use std::fmt::Write as _;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use konsort_crypto::{KeyKind, PrivateKey};
use konsort_pki::{Certificate, CertificateTemplate, KeyUsage, Name, PkiError, key_file};

use super::CryptogenError;
use super::config::{Config, NodeSpec, OrgSpec};

/// Certificates start this long before now, so that clocks may differ a little.
const BACKDATE: i64 = 5 * 60;
/// And end ten years later.
const LIFETIME: i64 = 3_650 * 24 * 3_600;

/// What a member is; decides its organisational unit and the names of its TLS files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Peer,
    Orderer,
    Client,
    Admin,
}

impl Kind {
    fn unit(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Orderer => "orderer",
            Self::Client => "client",
            Self::Admin => "admin",
        }
    }

    fn tls_prefix(self) -> &'static str {
        match self {
            Self::Peer | Self::Orderer => "server",
            Self::Client | Self::Admin => "client",
        }
    }
}

struct Authority {
    name: String,
    certificate: Certificate,
    key: PrivateKey,
    subject: Subject,
    not_before: i64,
}

/// The parts of a subject that an organisation's certificates share.
#[derive(Debug, Clone)]
struct Subject {
    country: String,
    province: String,
    locality: String,
    unit: String,
    street: String,
    postal_code: String,
}

impl Subject {
    fn of(spec: &NodeSpec) -> Self {
        let or = |text: &String, default: &str| if text.is_empty() { default.to_owned() } else { text.clone() };
        Self {
            country: or(&spec.country, "US"),
            province: or(&spec.province, "California"),
            locality: or(&spec.locality, "San Francisco"),
            unit: spec.organizational_unit.clone(),
            street: spec.street_address.clone(),
            postal_code: spec.postal_code.clone(),
        }
    }

    fn name(&self, organization: Option<&str>, role: Option<&str>, common_name: &str) -> Name {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        Name::default()
            .with_country(some(&self.country))
            .with_province(some(&self.province))
            .with_locality(some(&self.locality))
            .with_street(some(&self.street))
            .with_postal_code(some(&self.postal_code))
            .with_organization(organization.map(str::to_owned))
            .with_units(some(&self.unit).into_iter().chain(role.map(str::to_owned)))
            .with_common_name(common_name)
    }
}

fn key_kind(algorithm: &str) -> Result<KeyKind, CryptogenError> {
    match algorithm {
        "" | "ecdsa" => Ok(KeyKind::EcdsaP256),
        "ed25519" => Ok(KeyKind::Ed25519),
        other => Err(CryptogenError::KeyAlgorithm(other.to_owned())),
    }
}

fn certificate_error(context: impl Into<String>) -> impl FnOnce(PkiError) -> CryptogenError {
    let context = context.into();
    |source| CryptogenError::Certificate { context, source }
}

fn make_folder(path: &Path) -> Result<(), CryptogenError> {
    fs::create_dir_all(path).map_err(CryptogenError::io(path))
}

fn write(path: &Path, contents: &[u8]) -> Result<(), CryptogenError> {
    fs::write(path, contents).map_err(CryptogenError::io(path))
}

/// An empty folder beside where a finished one will be; what an interrupted run left in it goes.
fn partial(parent: &Path, name: &str) -> Result<PathBuf, CryptogenError> {
    let folder = parent.join(format!(".{name}.partial"));
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(CryptogenError::io(&folder))?;
    }
    make_folder(&folder)?;
    Ok(folder)
}

fn certificate_file(name: &str) -> String {
    format!("{name}-cert.pem")
}

fn new_key(path: &Path, algorithm: &str) -> Result<PrivateKey, CryptogenError> {
    let key = PrivateKey::generate(key_kind(algorithm)?)?;
    key_file::write(path, &key)?;
    Ok(key)
}

/// Now, to the nearest minute, and a little earlier.
fn start_of_validity() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    (now + 30) / 60 * 60 - BACKDATE
}

/// Names come from a file that a person wrote; none may lead out of its folder.
fn checked(name: &str) -> Result<&str, CryptogenError> {
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(_)), None) if !name.contains(['\0', '\\']) => Ok(name),
        _ => Err(CryptogenError::UnsafeName(name.to_owned())),
    }
}

impl Authority {
    fn create(folder: &Path, organization: &OrgSpec, name: String) -> Result<Self, CryptogenError> {
        make_folder(folder)?;
        let spec = &organization.ca;
        let key = new_key(&folder.join("priv_sk"), &spec.public_key_algorithm)?;
        let subject = Subject::of(spec);
        let not_before = start_of_validity();
        let subject_name = subject.name(Some(&organization.domain), None, &name);
        let mut template = CertificateTemplate::ca(subject_name, not_before, not_before + LIFETIME);
        template.serial = konsort_crypto::random_bytes::<16>().to_vec();
        let certificate = template.self_sign(&key).map_err(certificate_error(&name))?;
        write(&folder.join(certificate_file(&name)), certificate.pem().as_bytes())?;
        Ok(Self { name, certificate, key, subject, not_before })
    }

    /// The authority of an organisation that exists already.
    fn load(folder: &Path, organization: &OrgSpec, name: String) -> Result<Self, CryptogenError> {
        let entries = fs::read_dir(folder).map_err(CryptogenError::io(folder))?;
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        let ending = |suffix: &str| {
            paths.iter().rfind(|path| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(suffix)))
        };
        let (Some(certificate_path), Some(key_path)) = (ending(".pem"), ending("_sk")) else {
            return Err(CryptogenError::NoAuthority(folder.to_owned()));
        };
        let pem = fs::read(certificate_path).map_err(CryptogenError::io(certificate_path))?;
        let certificate =
            Certificate::from_pem(&pem).map_err(certificate_error(certificate_path.display().to_string()))?;
        let key = key_file::read(key_path)?;
        let subject = Subject::of(&organization.ca);
        Ok(Self { name, certificate, key, subject, not_before: start_of_validity() })
    }

    fn sign(&self, mut template: CertificateTemplate, key: &PrivateKey) -> Result<Certificate, CryptogenError> {
        template.serial = konsort_crypto::random_bytes::<16>().to_vec();
        let context = template.subject.to_string();
        template.issue(key.public_key(), &self.certificate, &self.key).map_err(certificate_error(context))
    }

    fn identity(&self, name: &str, role: Option<&str>, key: &PrivateKey) -> Result<Certificate, CryptogenError> {
        let subject = self.subject.name(None, role, name);
        let mut template = CertificateTemplate::leaf(subject, self.not_before, self.not_before + LIFETIME);
        template.key_usage = KeyUsage::DIGITAL_SIGNATURE;
        self.sign(template, key)
    }

    fn tls(&self, name: &str, sans: &[String], key: &PrivateKey) -> Result<Certificate, CryptogenError> {
        let subject = self.subject.name(None, None, name);
        let template = CertificateTemplate::tls(subject, self.not_before, self.not_before + LIFETIME).with_sans(sans);
        self.sign(template, key)
    }
}

/// The folders and authorities of one organisation.
struct Organization<'a> {
    spec: &'a OrgSpec,
    folder: PathBuf,
    sign: Authority,
    tls: Authority,
}

impl Organization<'_> {
    fn node_units_file(&self) -> String {
        let file = certificate_file(&self.sign.name);
        let mut out = "NodeOUs:\n    Enable: true\n".to_owned();
        for (key, unit) in [("Client", "client"), ("Peer", "peer"), ("Admin", "admin"), ("Orderer", "orderer")] {
            let _never_fails = write!(
                out,
                "    {key}OUIdentifier:\n        Certificate: cacerts/{file}\n        OrganizationalUnitIdentifier: {unit}\n"
            );
        }
        out
    }

    /// What every MSP folder has: authorities, and roles or an empty `admincerts`.
    fn public_part(&self, msp: &Path) -> Result<(), CryptogenError> {
        for (folder, authority) in [("cacerts", &self.sign), ("tlscacerts", &self.tls)] {
            let folder = msp.join(folder);
            make_folder(&folder)?;
            write(&folder.join(certificate_file(&authority.name)), authority.certificate.pem().as_bytes())?;
        }
        make_folder(&msp.join("admincerts"))?;
        if self.spec.enable_node_ous {
            write(&msp.join("config.yaml"), self.node_units_file().as_bytes())?;
        }
        Ok(())
    }

    /// A member's folder, unless it exists. It appears under its name only when it is complete.
    fn member(&self, parent: &Path, kind: Kind, spec: &NodeSpec) -> Result<(), CryptogenError> {
        let name = checked(&spec.common_name)?;
        let finished = parent.join(name);
        if finished.exists() {
            return Ok(());
        }
        let folder = partial(parent, name)?;
        let msp = folder.join("msp");
        self.public_part(&msp)?;
        for part in ["keystore", "signcerts"] {
            make_folder(&msp.join(part))?;
        }
        let key = new_key(&msp.join("keystore").join("priv_sk"), &spec.public_key_algorithm)?;
        let role = self.spec.enable_node_ous.then_some(kind.unit());
        let certificate = self.sign.identity(name, role, &key)?;
        let pem = certificate.pem();
        write(&msp.join("signcerts").join(certificate_file(name)), pem.as_bytes())?;
        if !self.spec.enable_node_ous {
            write(&msp.join("admincerts").join(certificate_file(name)), pem.as_bytes())?;
        }

        let tls = folder.join("tls");
        make_folder(&tls)?;
        let prefix = kind.tls_prefix();
        let tls_key = new_key(&tls.join(format!("{prefix}.key")), &spec.public_key_algorithm)?;
        let tls_certificate = self.tls.tls(name, &spec.sans, &tls_key)?;
        write(&tls.join(format!("{prefix}.crt")), tls_certificate.pem().as_bytes())?;
        write(&tls.join("ca.crt"), self.tls.certificate.pem().as_bytes())?;
        fs::rename(&folder, &finished).map_err(CryptogenError::io(&finished))
    }

    fn administrator(&self) -> NodeSpec {
        NodeSpec { common_name: format!("Admin@{}", self.spec.domain), ..NodeSpec::default() }
    }

    /// Without roles by unit, the administrator is known by certificate: it goes into every `admincerts` folder.
    fn spread_admin(&self, nodes: &Path, own: bool) -> Result<(), CryptogenError> {
        if self.spec.enable_node_ous {
            return Ok(());
        }
        let admin = self.administrator().common_name;
        let file = certificate_file(&admin);
        let source = self.folder.join("users").join(&admin).join("msp").join("signcerts").join(&file);
        let contents = fs::read(&source).map_err(CryptogenError::io(&source))?;
        let nodes = self.spec.specs.iter().map(|spec| nodes.join(&spec.common_name).join("msp"));
        for msp in nodes.chain(own.then(|| self.folder.join("msp"))) {
            let folder = msp.join("admincerts");
            if folder.join(&file).exists() {
                continue;
            }
            if folder.exists() {
                fs::remove_dir_all(&folder).map_err(CryptogenError::io(&folder))?;
            }
            make_folder(&folder)?;
            write(&folder.join(&file), &contents)?;
        }
        Ok(())
    }
}

/// The two kinds of organisation and what differs between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OrgKind {
    Peer,
    Orderer,
}

impl OrgKind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Orderer => "orderer",
        }
    }

    fn folder(self, base: &Path, domain: &str) -> PathBuf {
        base.join(format!("{}Organizations", self.prefix())).join(domain)
    }

    fn nodes(self, folder: &Path) -> PathBuf {
        folder.join(format!("{}s", self.prefix()))
    }

    fn node_kind(self) -> Kind {
        match self {
            Self::Peer => Kind::Peer,
            Self::Orderer => Kind::Orderer,
        }
    }
}

fn rendered(config: &Config) -> impl Iterator<Item = (OrgKind, Result<OrgSpec, CryptogenError>)> {
    let peers = config.peer_orgs.iter().map(|spec| (OrgKind::Peer, spec));
    let orderers = config.orderer_orgs.iter().map(|spec| (OrgKind::Orderer, spec));
    peers.chain(orderers).map(|(kind, spec)| (kind, spec.rendered(kind.prefix())))
}

/// `announce` is told the domain of each peer organisation before it is made.
pub(super) fn generate(config: &Config, output: &Path, announce: &mut dyn FnMut(&str)) -> Result<(), CryptogenError> {
    for (kind, spec) in rendered(config) {
        create(kind, &spec?, output, announce)?;
    }
    Ok(())
}

pub(super) fn extend(config: &Config, input: &Path, announce: &mut dyn FnMut(&str)) -> Result<(), CryptogenError> {
    for (kind, spec) in rendered(config) {
        let spec = spec?;
        let folder = kind.folder(input, checked(&spec.domain)?);
        if !folder.exists() {
            create(kind, &spec, input, announce)?;
            continue;
        }
        let sign = Authority::load(&folder.join("ca"), &spec, spec.ca.common_name.clone())?;
        let tls = Authority::load(&folder.join("tlsca"), &spec, format!("tls{}", spec.ca.common_name))?;
        let organization = Organization { spec: &spec, folder, sign, tls };
        populate(kind, &organization, false)?;
    }
    Ok(())
}

fn create(kind: OrgKind, spec: &OrgSpec, base: &Path, announce: &mut dyn FnMut(&str)) -> Result<(), CryptogenError> {
    let domain = checked(&spec.domain)?;
    checked(&spec.ca.common_name)?;
    if kind == OrgKind::Peer {
        announce(domain);
    }
    let in_organization = |what| {
        move |source| CryptogenError::Organization { what, organization: spec.domain.clone(), source: Box::new(source) }
    };
    let finished = kind.folder(base, domain);
    // A new organisation appears under its name only when it is complete; one that is there is written over, as upstream does.
    let folder = match finished.parent() {
        Some(parent) if !finished.exists() => partial(parent, domain)?,
        _ => finished.clone(),
    };
    let sign =
        Authority::create(&folder.join("ca"), spec, spec.ca.common_name.clone()).map_err(in_organization("signCA"))?;
    let tls = Authority::create(&folder.join("tlsca"), spec, format!("tls{}", spec.ca.common_name))
        .map_err(in_organization("tlsCA"))?;
    let organization = Organization { spec, folder, sign, tls };
    organization.public_part(&organization.folder.join("msp")).map_err(in_organization("MSP"))?;
    populate(kind, &organization, true)?;
    if organization.folder != finished {
        fs::rename(&organization.folder, &finished).map_err(CryptogenError::io(&finished))?;
    }
    Ok(())
}

pub(super) fn issue_user(folder: &Path, domain: &str, name: &str, role: &str) -> Result<PathBuf, CryptogenError> {
    let kind = match role {
        "client" => Kind::Client,
        "admin" => Kind::Admin,
        "peer" => Kind::Peer,
        "orderer" => Kind::Orderer,
        other => return Err(CryptogenError::UnsafeName(other.to_owned())),
    };
    let spec = OrgSpec { domain: domain.to_owned(), enable_node_ous: true, ..OrgSpec::default() }.rendered("peer")?;
    let sign = Authority::load(&folder.join("ca"), &spec, spec.ca.common_name.clone())?;
    let tls = Authority::load(&folder.join("tlsca"), &spec, format!("tls{}", spec.ca.common_name))?;
    let organization = Organization { spec: &spec, folder: folder.to_owned(), sign, tls };
    let users = folder.join("users");
    make_folder(&users)?;
    let user = NodeSpec { common_name: format!("{name}@{domain}"), ..NodeSpec::default() };
    organization.member(&users, kind, &user)?;
    Ok(users.join(user.common_name))
}

/// Nodes and users. An organisation that is new gets an administrator too.
fn populate(kind: OrgKind, organization: &Organization<'_>, new: bool) -> Result<(), CryptogenError> {
    let spec = organization.spec;
    let nodes = kind.nodes(&organization.folder);
    let users = organization.folder.join("users");
    make_folder(&users)?;
    for node in &spec.specs {
        organization.member(&nodes, kind.node_kind(), node)?;
    }
    if new {
        // Without roles by unit there is no admin unit either: the certificate is a plain member's.
        organization.member(&users, Kind::Admin, &organization.administrator())?;
    }
    organization.spread_admin(&nodes, new)?;
    if kind == OrgKind::Peer {
        for number in 1..=spec.users.count {
            let user = NodeSpec {
                common_name: format!("User{number}@{}", spec.domain),
                public_key_algorithm: spec.users.public_key_algorithm.clone(),
                ..NodeSpec::default()
            };
            organization.member(&users, Kind::Client, &user)?;
        }
    }
    Ok(())
}
