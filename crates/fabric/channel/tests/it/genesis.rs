use fabric_channel::config::{self, Bundle};
use fabric_channel::genesis::{
    self, Application, Consensus, Content, MspSource, Orderer, Organization, PolicyRule, Profile, RaftConsenter,
    TopLevel,
};
use fabric_channel::protoutil;
use fabric_proto::common::Block;

use crate::golden;

fn file() -> TopLevel {
    TopLevel::from_yaml(&golden::text("configtx.yaml"), &|_| None).unwrap()
}

#[test]
fn the_recorded_file_gives_the_recorded_genesis_block() {
    let profile = file().profile("Golden", &golden::path("")).unwrap();
    profile.check_for_genesis().unwrap();
    let made = genesis::block("goldenchannel", profile.channel_group().unwrap());
    let recorded: Block = golden::message("genesis.block");
    let (channel, made_config) = protoutil::config_of_block(&made).unwrap();
    let (recorded_channel, recorded_config) = protoutil::config_of_block(&recorded).unwrap();
    assert_eq!(channel, recorded_channel);
    // A comparison element by element keeps a failure readable.
    assert_eq!(
        config::compute(&recorded_config, &made_config).unwrap_err().to_string(),
        "no differences detected between original and updated config"
    );
    assert!(made_config == recorded_config);
    assert_eq!(made.metadata, recorded.metadata);
    let headers = |block: &Block| {
        let envelope = protoutil::envelope_at(block, 0).unwrap();
        assert!(envelope.signature.is_empty());
        let mut header = protoutil::channel_header(&envelope).unwrap();
        let creator = protoutil::signature_header(&envelope).unwrap();
        assert_eq!(creator.nonce.len(), 24);
        protoutil::check_tx_id(&header.tx_id, &creator.nonce, &creator.creator).unwrap();
        assert_eq!(header.timestamp.take().unwrap().nanos, 0);
        header.tx_id.clear();
        (header, creator.creator)
    };
    assert_eq!(headers(&made), headers(&recorded));
    assert_eq!(made.header.as_ref().unwrap().previous_hash, "");
    Bundle::from_config_block(&made).unwrap();
}

#[test]
fn a_new_organization_is_the_one_that_was_added() {
    let group = file().organization("Org3MSP", &golden::path("")).unwrap();
    assert_eq!(group.id, "Org3MSP");
    let MspSource::Folder(folder) = &group.msp else { panic!("a folder") };
    assert!(folder.ends_with("crypto-config/peerOrganizations/org3.example.com/msp"));
}

fn policies(rules: [(&str, &str); 3]) -> std::collections::BTreeMap<String, PolicyRule> {
    rules.into_iter().map(|(name, rule)| (name.to_owned(), PolicyRule::implicit_meta(rule))).collect()
}

fn profile_in_code() -> Profile {
    let recorded = file().profile("Golden", &golden::path("")).unwrap();
    let organization = |organization: &Organization| {
        let MspSource::Folder(folder) = &organization.msp else { panic!("a folder") };
        let config = fabric_channel::msp::folder_config(folder, &organization.id).unwrap();
        Organization { msp: MspSource::Config(Box::new(config)), ..organization.clone() }
    };
    let rules = [("Readers", "ANY Readers"), ("Writers", "ANY Writers"), ("Admins", "MAJORITY Admins")];
    let mut orderer_policies = policies(rules);
    orderer_policies.insert("BlockValidation".into(), PolicyRule::implicit_meta("ANY Writers"));
    let certificate =
        golden::bytes("crypto-config/ordererOrganizations/example.com/orderers/orderer.example.com/tls/server.crt");
    let consenter = RaftConsenter {
        host: "127.0.0.1".into(),
        port: 7050,
        client_tls_cert: Content::Bytes(certificate.clone()),
        server_tls_cert: Content::Bytes(certificate),
    };
    let mut profile = Profile {
        capabilities: [("V3_0".to_owned(), true)].into(),
        policies: policies(rules),
        orderer: Some(Orderer {
            orderer_type: "etcdraft".into(),
            consensus: Consensus { raft: Some((vec![consenter], None)), ..Consensus::default() },
            organizations: recorded.orderer.as_ref().unwrap().organizations.iter().map(organization).collect(),
            policies: orderer_policies,
            capabilities: [("V2_0".to_owned(), true)].into(),
            ..Orderer::default()
        }),
        application: Some(Application {
            organizations: recorded.application.as_ref().unwrap().organizations.iter().map(organization).collect(),
            policies: policies(rules),
            capabilities: [("V2_5".to_owned(), true)].into(),
            ..Application::default()
        }),
        ..Profile::default()
    };
    profile.complete().unwrap();
    profile
}

#[test]
fn a_profile_made_in_code_gives_a_working_channel_with_defaults() {
    let bundle =
        Bundle::from_config_block(&genesis::block("mychannel", profile_in_code().channel_group().unwrap())).unwrap();
    let orderer = bundle.orderer().unwrap();
    assert_eq!(orderer.batch_timeout.as_secs(), 2);
    assert_eq!(orderer.batch_size.max_message_count, 500);
    assert_eq!(orderer.batch_size.absolute_max_bytes, 10 * 1024 * 1024);
    assert_eq!(bundle.application().unwrap().organizations.len(), 2);
}

#[test]
fn profiles_that_cannot_work_are_refused_with_upstreams_text() {
    let refuse = |change: &dyn Fn(&mut Profile)| {
        let mut profile = profile_in_code();
        change(&mut profile);
        match profile.complete() {
            Ok(()) => profile.channel_group().unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    };
    assert_eq!(
        refuse(&|profile| profile.orderer.as_mut().unwrap().orderer_type = "kafka".into()),
        "unknown orderer type: kafka"
    );
    assert_eq!(
        refuse(&|profile| profile.orderer.as_mut().unwrap().consensus.raft = None),
        "etcdraft configuration missing"
    );
    let error = |change: &dyn Fn(&mut Profile)| {
        let mut text = String::new();
        let mut profile = profile_in_code();
        change(&mut profile);
        let error = profile.channel_group().unwrap_err();
        let mut source: Option<&dyn std::error::Error> = Some(&error);
        while let Some(inner) = source {
            text = inner.to_string();
            source = inner.source();
        }
        (error.to_string(), text)
    };
    assert_eq!(
        error(&|profile| profile.policies.clear()).0,
        "error adding policies to channel group: no policies defined"
    );
    assert_eq!(
        error(&|profile| {
            profile.orderer.as_mut().unwrap().policies.remove("BlockValidation");
        })
        .1,
        "no BlockValidation policy defined"
    );
    assert!(
        error(&|profile| profile.orderer.as_mut().unwrap().addresses.push("a:1".into()))
            .0
            .contains("global orderer endpoints exist, but can not be used with V3_0 capability: [a:1]")
    );
    assert!(
        error(&|profile| profile.orderer.as_mut().unwrap().organizations[0].orderer_endpoints.clear())
            .0
            .contains("orderer endpoints for organization OrdererOrg are missing")
    );
    assert!(
        error(&|profile| profile.application.as_mut().unwrap().organizations[0].msp =
            MspSource::Folder("/nowhere".into()))
        .0
        .contains("1 - Error loading MSP configuration for org")
    );
}

#[test]
fn files_are_read_as_upstream_reads_them() {
    let parse = |text: &str| TopLevel::from_yaml(text, &|_| None);
    let text = "\
Common: &common
  Type: Signature
";
    assert!(parse(text).unwrap_err().to_string().contains("has invalid keys: Common"));
    let top = parse(
        "profiles:\n  One: &one\n    ORDERER: {BatchTimeout: 1m, batchsize: {maxmessagecount: '7', AbsoluteMaxBytes: 2 MB}}\n  Two:\n    <<: *one\n    Consortium: C\n    Capabilities: {V2_0: true, V1_1: false}\n",
    )
    .unwrap();
    let two = &top.profiles["Two"];
    let orderer = two.orderer.as_ref().unwrap();
    assert_eq!(orderer.batch_timeout.as_secs(), 60);
    assert_eq!(orderer.batch_size.max_message_count, 7);
    assert_eq!(orderer.batch_size.absolute_max_bytes, 2 << 20);
    assert_eq!(two.capabilities.len(), 2);
    assert!(
        parse("Profiles: {A: {Orderer: {BatchTimeout: soon}}}").unwrap_err().to_string().contains("invalid duration")
    );
    assert!(parse("Profiles: [").unwrap_err().to_string().starts_with("Error reading configuration"));
    let env = |name: &str| (name == "CONFIGTX_PROFILES_GOLDEN_ORDERER_BATCHTIMEOUT").then(|| "5s".to_owned());
    let top = TopLevel::from_yaml(&golden::text("configtx.yaml"), &env).unwrap();
    assert_eq!(top.profiles["Golden"].orderer.as_ref().unwrap().batch_timeout.as_secs(), 5);
    assert_eq!(file().profile("Nope", &golden::path("")).unwrap_err().to_string(), "Could not find profile: Nope");
}

#[test]
fn a_channel_creation_needs_a_consortium() {
    let mut profile = profile_in_code();
    let error = genesis::create_channel_update("c", &profile).unwrap_err();
    assert_eq!(
        error.to_string(),
        "config update generation failure: cannot define a new channel with no Consortium value"
    );
    profile.consortium = "Sample".into();
    let update = genesis::create_channel_update("c", &profile).unwrap();
    assert_eq!(update.channel_id, "c");
    assert!(update.write_set.unwrap().values.contains_key(config::keys::CONSORTIUM));
}
