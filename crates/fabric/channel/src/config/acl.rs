//! Which policy guards which resource when the channel does not say.

/// The role that the local MSP must grant, for resources that belong to no channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalPolicy {
    /// Administrators of the peer's own organisation.
    Admins,
    /// Any member of the peer's own organisation.
    Members,
}

const READERS: &str = "/Channel/Application/Readers";
const WRITERS: &str = "/Channel/Application/Writers";

/// Resources that are guarded by the local MSP whatever the channel says.
const LOCAL: [(&str, LocalPolicy); 15] = [
    ("_lifecycle/InstallChaincode", LocalPolicy::Admins),
    ("_lifecycle/QueryInstalledChaincode", LocalPolicy::Admins),
    ("_lifecycle/GetInstalledChaincodePackage", LocalPolicy::Admins),
    ("_lifecycle/QueryInstalledChaincodes", LocalPolicy::Admins),
    ("_lifecycle/ApproveChaincodeDefinitionForMyOrg", LocalPolicy::Admins),
    ("_lifecycle/QueryApprovedChaincodeDefinition", LocalPolicy::Admins),
    ("_lifecycle/QueryApprovedChaincodeDefinitions", LocalPolicy::Admins),
    ("snapshot/submitrequest", LocalPolicy::Admins),
    ("snapshot/cancelrequest", LocalPolicy::Admins),
    ("snapshot/listpending", LocalPolicy::Admins),
    ("lscc/Install", LocalPolicy::Admins),
    ("lscc/GetInstalledChaincodes", LocalPolicy::Admins),
    ("cscc/JoinChain", LocalPolicy::Admins),
    ("cscc/JoinChainBySnapshot", LocalPolicy::Admins),
    ("cscc/JoinBySnapshotStatus", LocalPolicy::Admins),
];

const CHANNEL: [(&str, &str); 22] = [
    ("_lifecycle/CommitChaincodeDefinition", WRITERS),
    ("_lifecycle/QueryChaincodeDefinition", WRITERS),
    ("_lifecycle/QueryChaincodeDefinitions", WRITERS),
    ("_lifecycle/CheckCommitReadiness", WRITERS),
    ("lscc/ChaincodeExists", READERS),
    ("lscc/GetDeploymentSpec", READERS),
    ("lscc/GetChaincodeData", READERS),
    ("lscc/GetInstantiatedChaincodes", READERS),
    ("lscc/GetCollectionsConfig", READERS),
    ("qscc/GetChainInfo", READERS),
    ("qscc/GetBlockByNumber", READERS),
    ("qscc/GetBlockByHash", READERS),
    ("qscc/GetTransactionByID", READERS),
    ("qscc/GetBlockByTxID", READERS),
    ("cscc/GetConfigBlock", READERS),
    ("cscc/GetChannelConfig", READERS),
    ("peer/Propose", WRITERS),
    ("peer/ChaincodeToChaincode", WRITERS),
    ("event/Block", READERS),
    ("event/FilteredBlock", READERS),
    ("gateway/CommitStatus", READERS),
    ("gateway/ChaincodeEvents", READERS),
];

/// The local role that guards a resource, if the local MSP does.
pub fn local_default(resource: &str) -> Option<LocalPolicy> {
    if resource == "cscc/GetChannels" {
        return Some(LocalPolicy::Members);
    }
    LOCAL.iter().find(|(name, _)| *name == resource).map(|(_, policy)| *policy)
}

/// The path of the channel policy that guards a resource by default.
pub fn channel_default(resource: &str) -> Option<&'static str> {
    CHANNEL.iter().find(|(name, _)| *name == resource).map(|(_, policy)| *policy)
}
