use fabric_channel::config::{self, Bundle};
use fabric_proto::common::{Block, Config, ConfigEnvelope, ConfigUpdate, Envelope};

use crate::golden;

const UPDATES: [&str; 7] = [
    "01_anchor_peer_org1",
    "02_anchor_peer_org2",
    "03_batch_size_refused",
    "04_batch_size",
    "05_acl",
    "06_add_org3_refused",
    "07_add_org3",
];

#[test]
fn computed_updates_are_the_recorded_ones() {
    for name in UPDATES {
        let before: Config = golden::message(&format!("updates/{name}/before.pb"));
        let after: Config = golden::message(&format!("updates/{name}/after.pb"));
        let recorded: ConfigUpdate = golden::message(&format!("updates/{name}/update.pb"));
        let mut computed = config::compute(&before, &after).unwrap();
        computed.channel_id = "goldenchannel".into();
        assert_eq!(computed, recorded, "{name}");
        let same = config::compute(&before, &before).unwrap_err();
        assert_eq!(same.to_string(), "no differences detected between original and updated config");
    }
}

#[test]
fn recorded_updates_lead_to_the_recorded_configurations() {
    for name in UPDATES.iter().filter(|name| !name.ends_with("refused")) {
        let block: Block = golden::message(&format!("updates/{name}/config_block.pb"));
        let bundle = Bundle::from_config_block(&block).unwrap();
        let update: Envelope = golden::message(&format!("updates/{name}/last_update.pb"));
        let proposed = bundle.propose_update(&update).unwrap();
        let expected: Config = golden::message(&format!("updates/{name}/resulting_config.pb"));
        assert_eq!(proposed.config.as_ref(), Some(&expected), "{name}");
        bundle.validate(&proposed).unwrap();
        let next = Bundle::from_config(bundle.channel_id(), expected).unwrap();
        bundle.validate_new(&next).unwrap();
        assert_eq!(next.sequence(), bundle.sequence() + 1);

        let mut other: ConfigEnvelope = proposed.clone();
        other.config.as_mut().unwrap().channel_group.as_mut().unwrap().mod_policy = "Writers".into();
        let error = bundle.validate(&other).unwrap_err().to_string();
        assert_eq!(error, "ConfigEnvelope LastUpdate did not produce the supplied config result");
        // The same update does not fit the configuration it has led to.
        let error = next.propose_update(&update).unwrap_err().to_string();
        let stale = [
            "error authorizing update: error validating ReadSet: proposed update requires that key",
            "error authorizing update: error validating DeltaSet: attempt to set key",
        ];
        assert!(stale.iter().any(|text| error.starts_with(text)), "{error}");
    }
}

#[test]
fn refused_updates_are_refused_with_the_recorded_text() {
    // The submitter's own signature is not in the recorded envelopes, so the one-signature case is taken from the next update,
    // which carries exactly one.
    for (name, key, needed) in [
        (
            "03_batch_size_refused",
            "[Value]  /Channel/Orderer/BatchSize",
            "0 sub-policies were satisfied, but this policy requires 1 of the 'Admins' sub-policies to be satisfied",
        ),
        (
            "07_add_org3",
            "[Group]  /Channel/Application",
            "1 sub-policies were satisfied, but this policy requires 2 of the 'Admins' sub-policies to be satisfied",
        ),
    ] {
        let block: Block = golden::message(&format!("updates/{name}/config_block.pb"));
        let bundle = Bundle::from_config_block(&block).unwrap();
        let envelope: Envelope = golden::message(&format!("updates/{name}/envelope.pb"));
        let error = bundle.propose_update(&envelope).unwrap_err();
        let expected = format!(
            "error authorizing update: error validating DeltaSet: policy for {key} not satisfied: implicit policy evaluation failed - {needed}"
        );
        assert_eq!(error.to_string(), expected, "{name}");
        let explanation = error.explanation().unwrap();
        assert!(explanation.contains("Org"), "{explanation}");
    }
}

#[test]
fn the_bundle_of_the_genesis_block_says_what_the_configuration_file_said() {
    let block: Block = golden::message("genesis.block");
    let bundle = Bundle::from_config_block(&block).unwrap();
    assert_eq!((bundle.channel_id(), bundle.sequence()), ("goldenchannel", 0));
    bundle.check_peer_capabilities().unwrap();
    bundle.check_orderer_capabilities().unwrap();
    let orderer = bundle.orderer().unwrap();
    assert_eq!(orderer.consensus_type, "etcdraft");
    assert_eq!(orderer.batch_timeout.as_millis(), 300);
    assert_eq!(orderer.batch_size.max_message_count, 10);
    let endpoints: Vec<&str> = orderer.endpoints().map(|(_, endpoint)| endpoint).collect();
    assert_eq!(endpoints.len(), 1);
    let application = bundle.application().unwrap();
    assert!(application.capabilities.lifecycle_v20() && application.capabilities.purge_private_data());
    assert_eq!(application.organizations.keys().map(String::as_str).collect::<Vec<_>>(), ["Org1MSP", "Org2MSP"]);
    assert_eq!(application.policy_for_resource("peer/Propose"), Some("/Channel/Application/Writers"));
    assert_eq!(application.policy_for_resource("no/Such"), None);
    assert!(bundle.capabilities().consensus_type_bft());
}

#[test]
fn block_signatures_satisfy_the_block_validation_policy() {
    let mut bundle = Bundle::from_config_block(&golden::block(0)).unwrap();
    for number in 1..golden::BLOCKS {
        let block = golden::block(number);
        let set = bundle.block_signature_set(block.header.as_ref().unwrap(), block.metadata.as_ref().unwrap()).unwrap();
        let policy = bundle.policies().policy("/Channel/Orderer/BlockValidation");
        policy.evaluate(&set).unwrap_or_else(|error| panic!("block {number}: {error}"));
        let mut forged = set.clone();
        forged[0].data = [forged[0].data.as_ref(), b"x"].concat().into();
        assert!(policy.evaluate(&forged).is_err());
        if fabric_channel::protoutil::is_config_block(&block) {
            let envelope = fabric_channel::protoutil::config_envelope_of_block(&block).unwrap();
            bundle.validate(&envelope).unwrap();
            let next = Bundle::from_config_block(&block).unwrap();
            bundle.validate_new(&next).unwrap();
            bundle = next;
        }
    }
}

fn with(change: impl FnOnce(&mut Config)) -> Result<Bundle, fabric_channel::config::ConfigError> {
    let block: Block = golden::message("genesis.block");
    let (channel, mut config) = fabric_channel::protoutil::config_of_block(&block).unwrap();
    change(&mut config);
    Bundle::from_config(&channel, config)
}

#[test]
fn broken_configurations_are_refused_by_name() {
    use fabric_proto::common::{Capabilities, Capability, ConfigValue};
    use prost::Message as _;

    let unknown = Capabilities { capabilities: [("V9_9".to_owned(), Capability {})].into() };
    let bundle = with(|config| {
        let root = config.channel_group.as_mut().unwrap();
        let application = root.groups.get_mut("Application").unwrap();
        application.values.get_mut("Capabilities").unwrap().value = unknown.encode_to_vec().into();
    })
    .unwrap();
    assert_eq!(
        bundle.check_peer_capabilities().unwrap_err().to_string(),
        "Application capability V9_9 is required but not supported"
    );
    bundle.check_orderer_capabilities().unwrap();

    let error = with(|config| {
        let root = config.channel_group.as_mut().unwrap();
        root.groups.get_mut("Orderer").unwrap().values.insert("Extra".into(), ConfigValue::default());
    })
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "initializing channelconfig failed: could not create channel Orderer sub-group config: failed to deserialize values: Unexpected key Extra"
    );
    let error = with(|config| {
        let root = config.channel_group.as_mut().unwrap();
        root.groups.get_mut("Orderer").unwrap().values.remove("BatchSize");
    })
    .unwrap_err();
    assert!(error.to_string().ends_with("Attempted to set the batch size max message count to an invalid value: 0"));
    let error = with(|config| {
        let root = config.channel_group.as_mut().unwrap();
        root.groups.get_mut("Orderer").unwrap().values.remove("Capabilities");
    })
    .unwrap_err();
    assert_eq!(error.to_string(), "cannot enable channel capabilities without orderer support first");
    assert_eq!(
        with(|config| config.channel_group = None).unwrap_err().to_string(),
        "config must contain a channel group"
    );

    let before = with(|_| {}).unwrap();
    let after = with(|config| {
        config.channel_group.as_mut().unwrap().groups.remove("Application");
    })
    .unwrap();
    assert_eq!(
        before.validate_new(&after).unwrap_err().to_string(),
        "current config has application section, but new config does not"
    );
    let swapped = with(|config| {
        let application = config.channel_group.as_mut().unwrap().groups.get_mut("Application").unwrap();
        let second = application.groups["Org2MSP"].clone();
        application.groups.insert("Org1MSP".into(), second);
    })
    .unwrap();
    assert_eq!(
        before.validate_new(&swapped).unwrap_err().to_string(),
        "application org Org1MSP attempted to change MSP ID from Org1MSP to Org2MSP"
    );
}
