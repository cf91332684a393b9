//! Lifecycle results as JSON.

use base64::Engine as _;
use fabric_proto::common::{MspPrincipal, SignaturePolicy, SignaturePolicyEnvelope, signature_policy};
use fabric_proto::lifecycle::{
    ChaincodeSource, CheckCommitReadinessResult, QueryApprovedChaincodeDefinitionResult,
    QueryApprovedChaincodeDefinitionsResult, QueryChaincodeDefinitionResult, QueryChaincodeDefinitionsResult,
    QueryInstalledChaincodesResult, chaincode_source,
};
use fabric_proto::protos::{
    ApplicationPolicy, CollectionConfig, CollectionConfigPackage, CollectionPolicyConfig, StaticCollectionConfig,
    application_policy, collection_config, collection_policy_config,
};

use super::Json;

/// Fields of a message; zero values are left out.
#[derive(Default)]
struct Fields(Vec<(String, Json)>);

impl Fields {
    fn put(mut self, name: &str, value: Json) -> Self {
        self.0.push((name.to_owned(), value));
        self
    }

    fn number(self, name: &str, value: impl Into<i128>) -> Self {
        let value = value.into();
        if value == 0 { self } else { self.put(name, Json::Number(value)) }
    }

    fn text(self, name: &str, value: &str) -> Self {
        if value.is_empty() { self } else { self.put(name, Json::text(value)) }
    }

    fn bytes(self, name: &str, value: &[u8]) -> Self {
        if value.is_empty() {
            self
        } else {
            self.put(name, Json::text(base64::engine::general_purpose::STANDARD.encode(value)))
        }
    }

    fn switch(self, name: &str, value: bool) -> Self {
        if value { self.put(name, Json::Bool(true)) } else { self }
    }

    fn message<T>(self, name: &str, value: Option<&T>, convert: impl FnOnce(&T) -> Json) -> Self {
        match value {
            Some(value) => self.put(name, convert(value)),
            None => self,
        }
    }

    fn list<T>(self, name: &str, values: &[T], convert: impl FnMut(&T) -> Json) -> Self {
        if values.is_empty() { self } else { self.put(name, Json::List(values.iter().map(convert).collect())) }
    }

    fn done(self) -> Json {
        Json::Object(self.0)
    }
}

/// A one-of field: the Go name of the alternative around its value.
fn choice(name: &str, value: Option<(&str, Json)>) -> Json {
    let inner = value.map_or(Json::Null, |(kind, value)| Json::object([(kind, value)]));
    Json::object([(name, inner)])
}

fn rule(rule: &SignaturePolicy) -> Json {
    choice(
        "Type",
        rule.r#type.as_ref().map(|kind| match kind {
            signature_policy::Type::SignedBy(index) => ("SignedBy", Json::number(*index)),
            signature_policy::Type::NOutOf(n_out_of) => {
                ("NOutOf", Fields::default().number("n", n_out_of.n).list("rules", &n_out_of.rules, self::rule).done())
            }
        }),
    )
}

fn principal(principal: &MspPrincipal) -> Json {
    Fields::default()
        .number("principal_classification", principal.principal_classification)
        .bytes("principal", &principal.principal)
        .done()
}

fn signature_policy(policy: &SignaturePolicyEnvelope) -> Json {
    Fields::default()
        .number("version", policy.version)
        .message("rule", policy.rule.as_ref(), rule)
        .list("identities", &policy.identities, principal)
        .done()
}

fn endorsement_policy(policy: &ApplicationPolicy) -> Json {
    choice(
        "Type",
        policy.r#type.as_ref().map(|kind| match kind {
            application_policy::Type::SignaturePolicy(policy) => ("SignaturePolicy", signature_policy(policy)),
            application_policy::Type::ChannelConfigPolicyReference(reference) => {
                ("ChannelConfigPolicyReference", Json::text(reference))
            }
        }),
    )
}

fn members(policy: &CollectionPolicyConfig) -> Json {
    let kind = policy.payload.as_ref().map(|payload| match payload {
        collection_policy_config::Payload::SignaturePolicy(policy) => ("SignaturePolicy", signature_policy(policy)),
    });
    choice("Payload", kind)
}

fn static_collection(config: &StaticCollectionConfig) -> Json {
    Fields::default()
        .text("name", &config.name)
        .message("member_orgs_policy", config.member_orgs_policy.as_ref(), members)
        .number("required_peer_count", config.required_peer_count)
        .number("maximum_peer_count", config.maximum_peer_count)
        .number("block_to_live", config.block_to_live)
        .switch("member_only_read", config.member_only_read)
        .switch("member_only_write", config.member_only_write)
        .message("endorsement_policy", config.endorsement_policy.as_ref(), endorsement_policy)
        .done()
}

fn collection(config: &CollectionConfig) -> Json {
    let kind = config.payload.as_ref().map(|payload| match payload {
        collection_config::Payload::StaticCollectionConfig(config) => {
            ("StaticCollectionConfig", static_collection(config))
        }
    });
    choice("Payload", kind)
}

fn collections(package: &CollectionConfigPackage) -> Json {
    Fields::default().list("config", &package.config, collection).done()
}

fn source(source: &ChaincodeSource) -> Json {
    choice(
        "Type",
        source.r#type.as_ref().map(|kind| match kind {
            chaincode_source::Type::Unavailable(_) => ("Unavailable", Json::Object(Vec::new())),
            chaincode_source::Type::LocalPackage(local) => {
                ("LocalPackage", Fields::default().text("package_id", &local.package_id).done())
            }
        }),
    )
}

/// The installed packages.
pub(crate) fn installed(result: &QueryInstalledChaincodesResult) -> Json {
    Fields::default()
        .list("installed_chaincodes", &result.installed_chaincodes, |package| {
            let mut fields = Fields::default().text("package_id", &package.package_id).text("label", &package.label);
            if !package.references.is_empty() {
                let references = package.references.iter().map(|(channel, used)| {
                    let chaincodes = Fields::default()
                        .list("chaincodes", &used.chaincodes, |chaincode| {
                            Fields::default().text("name", &chaincode.name).text("version", &chaincode.version).done()
                        })
                        .done();
                    (channel.clone(), chaincodes)
                });
                fields = fields.put("references", Json::object(references));
            }
            fields.done()
        })
        .done()
}

/// Approvals, and mismatches when they were asked for.
pub(crate) fn readiness(result: &CheckCommitReadinessResult) -> Json {
    let mut fields = Fields::default();
    if !result.approvals.is_empty() {
        let approvals = result.approvals.iter().map(|(org, approved)| (org.clone(), Json::Bool(*approved)));
        fields = fields.put("approvals", Json::object(approvals));
    }
    if !result.mismatches.is_empty() {
        let mismatches = result.mismatches.iter().map(|(org, found)| {
            (org.clone(), Fields::default().list("items", &found.items, |item| Json::text(item)).done())
        });
        fields = fields.put("mismatches", Json::object(mismatches));
    }
    fields.done()
}

/// This organisation's approval of one definition.
pub(crate) fn approved(result: &QueryApprovedChaincodeDefinitionResult) -> Json {
    Fields::default()
        .number("sequence", result.sequence)
        .text("version", &result.version)
        .text("endorsement_plugin", &result.endorsement_plugin)
        .text("validation_plugin", &result.validation_plugin)
        .bytes("validation_parameter", &result.validation_parameter)
        .message("collections", result.collections.as_ref(), collections)
        .switch("init_required", result.init_required)
        .message("source", result.source.as_ref(), source)
        .done()
}

/// All approvals of this organisation.
pub(crate) fn all_approved(result: &QueryApprovedChaincodeDefinitionsResult) -> Json {
    Fields::default()
        .list("approved_chaincode_definitions", &result.approved_chaincode_definitions, |found| {
            Fields::default()
                .text("name", &found.name)
                .number("sequence", found.sequence)
                .text("version", &found.version)
                .text("endorsement_plugin", &found.endorsement_plugin)
                .text("validation_plugin", &found.validation_plugin)
                .bytes("validation_parameter", &found.validation_parameter)
                .message("collections", found.collections.as_ref(), collections)
                .switch("init_required", found.init_required)
                .message("source", found.source.as_ref(), source)
                .done()
        })
        .done()
}

/// One committed definition with its approvals.
pub(crate) fn committed(result: &QueryChaincodeDefinitionResult) -> Json {
    let mut fields = Fields::default()
        .number("sequence", result.sequence)
        .text("version", &result.version)
        .text("endorsement_plugin", &result.endorsement_plugin)
        .text("validation_plugin", &result.validation_plugin)
        .bytes("validation_parameter", &result.validation_parameter)
        .message("collections", result.collections.as_ref(), collections)
        .switch("init_required", result.init_required);
    if !result.approvals.is_empty() {
        let approvals = result.approvals.iter().map(|(org, approved)| (org.clone(), Json::Bool(*approved)));
        fields = fields.put("approvals", Json::object(approvals));
    }
    fields.done()
}

/// All committed definitions.
pub(crate) fn all_committed(result: &QueryChaincodeDefinitionsResult) -> Json {
    Fields::default()
        .list("chaincode_definitions", &result.chaincode_definitions, |found| {
            Fields::default()
                .text("name", &found.name)
                .number("sequence", found.sequence)
                .text("version", &found.version)
                .text("endorsement_plugin", &found.endorsement_plugin)
                .text("validation_plugin", &found.validation_plugin)
                .bytes("validation_parameter", &found.validation_parameter)
                .message("collections", found.collections.as_ref(), collections)
                .switch("init_required", found.init_required)
                .done()
        })
        .done()
}
