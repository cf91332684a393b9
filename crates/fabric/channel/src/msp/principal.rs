//! Principals: what a policy can ask of an identity.

use bytes::Bytes;
use fabric_proto::common::msp_identity_anonymity::MspIdentityAnonymityType;
use fabric_proto::common::msp_principal::Classification;
use fabric_proto::common::msp_role::MspRoleType;
use fabric_proto::common::{CombinedPrincipal, MspIdentityAnonymity, MspPrincipal, MspRole, OrganizationUnit};
use prost::Message;

use super::organization::Inner;
use super::{Context as _, Identity, MspError, MspVersion};

/// Combined principals nest; nobody nests deeper than a few levels on purpose.
const MAX_NESTING: usize = 32;

/// The four roles that an organisational unit can stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Peer,
    Admin,
    Orderer,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Client => "CLIENT",
            Self::Peer => "PEER",
            Self::Admin => "ADMIN",
            Self::Orderer => "ORDERER",
        }
    }
}

fn decode<T: Message + Default>(what: &str, bytes: &Bytes) -> Result<T, MspError> {
    T::decode(bytes.clone())
        .map_err(|error| MspError::Principal(format!("could not unmarshal {what} from principal: {error}")))
}

fn invalid_kind(kind: i32) -> MspError {
    MspError::Principal(format!("invalid principal type {kind}"))
}

impl Inner {
    pub(super) fn satisfies(&self, identity: &Identity, principal: &MspPrincipal) -> Result<(), MspError> {
        let mut simple = Vec::new();
        self.collect(principal, 0, &mut simple)?;
        simple.iter().try_for_each(|principal| self.satisfies_simple(identity, principal))
    }

    /// Flattens combined principals: all of their parts must be satisfied.
    fn collect(&self, principal: &MspPrincipal, depth: usize, out: &mut Vec<MspPrincipal>) -> Result<(), MspError> {
        if principal.principal_classification != Classification::Combined as i32 {
            out.push(principal.clone());
            return Ok(());
        }
        if self.version <= MspVersion::V1_1 {
            return Err(invalid_kind(principal.principal_classification));
        }
        if depth >= MAX_NESTING {
            return Err(MspError::Principal(format!(
                "combined principals are nested deeper than {MAX_NESTING} levels"
            )));
        }
        let combined: CombinedPrincipal = decode("CombinedPrincipal", &principal.principal)?;
        if combined.principals.is_empty() {
            return Err(MspError::Principal("No principals in CombinedPrincipal".into()));
        }
        combined.principals.iter().try_for_each(|part| self.collect(part, depth + 1, out))
    }

    fn satisfies_simple(&self, identity: &Identity, principal: &MspPrincipal) -> Result<(), MspError> {
        match Classification::try_from(principal.principal_classification) {
            Ok(Classification::Role) => self.satisfies_role(identity, &decode("MSPRole", &principal.principal)?),
            Ok(Classification::Identity) => satisfies_identity(identity, &principal.principal),
            Ok(Classification::OrganizationUnit) => {
                self.satisfies_unit(identity, &decode("OrganizationUnit", &principal.principal)?)
            }
            Ok(Classification::Anonymity) if self.version >= MspVersion::V1_3 => {
                let wanted: MspIdentityAnonymity = decode("MSPIdentityAnonymity", &principal.principal)?;
                match MspIdentityAnonymityType::try_from(wanted.anonymity_type) {
                    Ok(MspIdentityAnonymityType::Nominal) => Ok(()),
                    Ok(MspIdentityAnonymityType::Anonymous) => Err(MspError::Principal(
                        "Principal is anonymous, but X.509 MSP does not support anonymous identities".into(),
                    )),
                    Err(_) => {
                        Err(MspError::Principal(format!("Unknown principal anonymity type: {}", wanted.anonymity_type)))
                    }
                }
            }
            _ => Err(invalid_kind(principal.principal_classification)),
        }
    }

    fn check_same_organization(&self, asked: &str, identity: &Identity) -> Result<(), MspError> {
        if asked == &*self.name {
            return Ok(());
        }
        Err(MspError::Principal(format!(
            "the identity is a member of a different MSP (expected {asked}, got {})",
            identity.mspid()
        )))
    }

    fn satisfies_role(&self, identity: &Identity, asked: &MspRole) -> Result<(), MspError> {
        self.check_same_organization(&asked.msp_identifier, identity)?;
        let enforced = self.version >= MspVersion::V1_4_3 && self.enforce_roles;
        match MspRoleType::try_from(asked.role) {
            Ok(MspRoleType::Member) => identity.validate(),
            Ok(MspRoleType::Admin) => {
                // Admins by certificate were validated when the organisation was set up.
                if self.admins.contains(&identity.certificate) {
                    return Ok(());
                }
                if !enforced {
                    return Err(MspError::Principal("This identity is not an admin".into()));
                }
                self.satisfies_node_role(identity, Role::Admin, "an admin")
            }
            Ok(MspRoleType::Client) => self.satisfies_node_role(identity, Role::Client, "a [CLIENT]"),
            Ok(MspRoleType::Peer) => self.satisfies_node_role(identity, Role::Peer, "a [PEER]"),
            Ok(MspRoleType::Orderer) if enforced => self.satisfies_node_role(identity, Role::Orderer, "a [ORDERER]"),
            _ => Err(MspError::Principal(format!("invalid MSP role type {}", asked.role))),
        }
    }

    fn satisfies_node_role(&self, identity: &Identity, role: Role, description: &str) -> Result<(), MspError> {
        identity.validate().context(&format!("The identity is not valid under this MSP [{}]", self.name))?;
        self.has_role(identity.certificate.organizational_units(), role)
            .context(&format!("The identity is not {description} under this MSP [{}]", self.name))
    }

    /// Whether one of the units stands for the role. Certifiers were looked at when the identity was validated.
    pub(super) fn has_role(&self, units: &[String], role: Role) -> Result<(), MspError> {
        if !self.enforce_roles {
            return Err(MspError::Principal("NodeOUs not activated. Cannot tell apart identities.".into()));
        }
        let unit = match role {
            Role::Client => &self.roles.client,
            Role::Peer => &self.roles.peer,
            Role::Admin => &self.roles.admin,
            Role::Orderer => &self.roles.orderer,
        };
        let Some(unit) = unit else {
            return Err(MspError::Principal(format!(
                "cannot test for classification, node ou for type [{}], not defined, msp: [{}]",
                role.name(),
                self.name
            )));
        };
        if units.contains(&unit.unit) {
            return Ok(());
        }
        Err(MspError::Principal(format!("The identity does not contain OU [{}], MSP: [{}]", role.name(), self.name)))
    }

    fn satisfies_unit(&self, identity: &Identity, asked: &OrganizationUnit) -> Result<(), MspError> {
        self.check_same_organization(&asked.msp_identifier, identity)?;
        identity.validate()?;
        let matches = |(unit, certifiers): &(String, Vec<u8>)| {
            *unit == asked.organizational_unit_identifier && certifiers[..] == asked.certifiers_identifier[..]
        };
        if self.units_of(identity).iter().any(matches) {
            return Ok(());
        }
        Err(MspError::Principal("The identities do not match".into()))
    }
}

/// The principal is exactly this certificate, which must be valid.
fn satisfies_identity(identity: &Identity, asked: &Bytes) -> Result<(), MspError> {
    // The bytes are most often those of the identity itself.
    if *asked == identity.serialized {
        return identity.validate();
    }
    let wanted = identity.msp.deserialize(asked).context("invalid identity principal, not a certificate")?;
    if wanted.certificate != identity.certificate {
        return Err(MspError::Principal("The identities do not match".into()));
    }
    wanted.validate()
}
