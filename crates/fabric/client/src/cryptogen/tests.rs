use std::collections::BTreeMap;
use std::path::Path;

use fabric_channel::msp::{Msp, MspVersion, SigningIdentity};
use konsort_pki::{Certificate, verify_chain};

use super::*;

fn golden(name: &str) -> String {
    let path = format!("{}/../../../tests/golden/fabric/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// A recorded run of upstream's tool.
fn recorded(name: &str) -> serde_json::Value {
    serde_json::from_str(&golden(&format!("cli/{name}.json"))).unwrap()
}

/// Paths of all files and folders below, with the mode of files.
fn tree(root: &Path) -> BTreeMap<String, u32> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                found.insert(name, 0);
                open.push(path);
            } else {
                found.insert(name, path.metadata().unwrap().permissions().mode() & 0o700);
            }
        }
    }
    found
}

/// What the real tool made from the same configuration.
fn real_tree() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = format!("{}/../../../tests/golden/fabric/crypto/crypto-config.tar.gz", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::File::open(path).unwrap();
    tar::Archive::new(flate2::read::GzDecoder::new(file)).unpack(folder.path()).unwrap();
    let root = folder.path().join("crypto-config");
    (folder, root)
}

fn run_tool(args: &[&str]) -> (i32, String, String) {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let code = run(&args, &mut stdout, &mut stderr);
    (code, String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn the_folders_are_those_of_the_original() {
    let (_keep, real) = real_tree();
    let ours = tempfile::tempdir().unwrap();
    let config = Config::parse(&golden("crypto-config.yaml")).unwrap();
    generate(&config, ours.path()).unwrap();
    assert_eq!(tree(ours.path()), tree(&real));

    // And so are the certificates, apart from keys, numbers and times.
    for (name, mode) in tree(&real) {
        let extension = Path::new(&name).extension().unwrap_or_default();
        if mode == 0 || !(extension == "pem" || extension == "crt") {
            continue;
        }
        let read = |root: &Path| Certificate::from_pem(&std::fs::read(root.join(&name)).unwrap()).unwrap();
        let (made, wanted) = (read(ours.path()), read(&real));
        assert_eq!(made.raw_subject(), wanted.raw_subject(), "{name}");
        assert_eq!(made.raw_issuer(), wanted.raw_issuer(), "{name}");
        assert_eq!(made.not_after() - made.not_before(), wanted.not_after() - wanted.not_before(), "{name}");
        let extensions = |certificate: &Certificate| {
            let list = certificate.extensions().iter();
            // Key identifiers differ with the keys.
            list.map(|one| {
                let value = if one.oid == "2.5.29.14" || one.oid == "2.5.29.35" { vec![] } else { one.value.clone() };
                (one.oid.clone(), one.critical, value)
            })
            .collect::<Vec<_>>()
        };
        assert_eq!(extensions(&made), extensions(&wanted), "{name}");
    }
    let units = "peerOrganizations/org1.example.com/msp/config.yaml";
    assert_eq!(
        std::fs::read_to_string(ours.path().join(units)).unwrap(),
        std::fs::read_to_string(real.join(units)).unwrap()
    );
}

#[test]
fn what_is_made_works_as_organisations() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::parse(&golden("crypto-config.yaml")).unwrap();
    config.peer_orgs[1].enable_node_ous = false;
    config.peer_orgs[2].users.public_key_algorithm = "ed25519".to_owned();
    generate(&config, folder.path()).unwrap();
    for (org, member) in [
        ("peerOrganizations/org1.example.com", "users/Admin@org1.example.com"),
        ("peerOrganizations/org2.example.com", "peers/peer0.org2.example.com"),
        ("peerOrganizations/org3.example.com", "users/User1@org3.example.com"),
        ("ordererOrganizations/example.com", "orderers/orderer.example.com"),
    ] {
        let org = folder.path().join(org);
        let msp = Msp::from_folder(&org.join("msp"), "Org", MspVersion::V3_0).unwrap();
        let signer = SigningIdentity::from_folder(&org.join(member).join("msp"), "Org").unwrap();
        let identity = msp.deserialize(signer.serialized()).unwrap();
        msp.validate(&identity).unwrap();
        identity.verify(b"m", &signer.sign(b"m")).unwrap();

        let read = |path: &Path| Certificate::from_pem(&std::fs::read(path).unwrap()).unwrap();
        let tls = org.join(member).join("tls");
        let leaf = ["server.crt", "client.crt"].iter().map(|name| tls.join(name)).find(|path| path.exists()).unwrap();
        let leaf = read(&leaf);
        verify_chain(&leaf, &[read(&tls.join("ca.crt"))], &[], leaf.not_before()).unwrap();
        if !member.starts_with("users") {
            leaf.verify_hostname("localhost").unwrap();
            leaf.verify_hostname("127.0.0.1").unwrap();
        }
    }
    // Without roles by unit, the administrator is known by certificate everywhere.
    let org2 = folder.path().join("peerOrganizations/org2.example.com");
    for msp in ["msp", "peers/peer0.org2.example.com/msp"] {
        let found: Vec<_> = std::fs::read_dir(org2.join(msp).join("admincerts"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(found, ["Admin@org2.example.com-cert.pem"]);
    }
    assert!(!org2.join("msp/config.yaml").exists());
}

#[test]
fn extending_adds_and_leaves_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let parse = |count: u32, users: u32| {
        Config::parse(&format!(
            "PeerOrgs: [{{Domain: a.b, EnableNodeOUs: true, Template: {{Count: {count}}}, Users: {{Count: {users}}}}}]"
        ))
        .unwrap()
    };
    generate(&parse(1, 1), folder.path()).unwrap();
    let before = tree(folder.path());
    let org = folder.path().join("peerOrganizations/a.b");
    let key = std::fs::read(org.join("peers/peer0.a.b/msp/keystore/priv_sk")).unwrap();
    extend(&parse(2, 3), folder.path()).unwrap();
    let after = tree(folder.path());
    assert!(before.keys().all(|name| after.contains_key(name)));
    assert!(after.contains_key("peerOrganizations/a.b/peers/peer1.a.b/tls/server.key"));
    assert!(after.contains_key("peerOrganizations/a.b/users/User3@a.b/msp/signcerts/User3@a.b-cert.pem"));
    assert_eq!(std::fs::read(org.join("peers/peer0.a.b/msp/keystore/priv_sk")).unwrap(), key);
    let msp = Msp::from_folder(&org.join("msp"), "A", MspVersion::V3_0).unwrap();
    let signer = SigningIdentity::from_folder(&org.join("peers/peer1.a.b/msp"), "A").unwrap();
    msp.validate(&msp.deserialize(signer.serialized()).unwrap()).unwrap();

    std::fs::remove_file(org.join("ca/priv_sk")).unwrap();
    let error = extend(&parse(3, 3), folder.path()).unwrap_err().to_string();
    assert!(error.starts_with("no certificate authority in "), "{error}");
}

#[test]
fn names_come_from_templates_and_stay_in_their_folder() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config::parse(
        "PeerOrgs:\n- Domain: a.b\n  EnableNodeOUs: true\n  Specs: [{Hostname: foo, CommonName: '{{.Hostname}}-x.{{.Domain}}', \
         SANS: ['alt.{{.CommonName}}', 10.0.0.1]}]\n  CA: {Hostname: ca2, PostalCode: 94016, Country: CN}\n  Template: {Count: 2, \
         Start: 5, Hostname: 'node{{.Index}}'}\n",
    )
    .unwrap();
    generate(&config, folder.path()).unwrap();
    let org = folder.path().join("peerOrganizations/a.b");
    let tls = Certificate::from_pem(&std::fs::read(org.join("peers/foo-x.a.b/tls/server.crt")).unwrap()).unwrap();
    assert_eq!(tls.dns_names(), ["foo-x.a.b", "foo", "alt.foo-x.a.b"]);
    assert_eq!(tls.ip_addresses().len(), 1);
    assert_eq!(tls.issuer().cn(), "tlsca2.a.b");
    assert!(tls.subject().to_string().contains("POSTALCODE=94016") && tls.subject().to_string().contains("C=CN"));
    assert!(org.join("peers/node6.a.b").exists() && !org.join("peers/node7.a.b").exists());

    for bad in ["../x", "a/b", "..", ""] {
        let config = Config::parse(&format!("PeerOrgs: [{{Domain: {bad:?}}}]")).unwrap();
        assert!(generate(&config, folder.path()).is_err(), "{bad}");
    }
    let error = generate(
        &Config::parse("PeerOrgs: [{Domain: c.d, Template: {Count: 1, Hostname: '{{.Wrong}}'}}]").unwrap(),
        folder.path(),
    );
    assert!(
        error.unwrap_err().to_string().starts_with("Error processing peer configuration: Error executing template")
    );
}

#[test]
fn texts_and_exit_codes_are_those_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("crypto-config.yaml");
    std::fs::write(&config, golden("crypto-config.yaml")).unwrap();
    let config = format!("--config={}", config.display());
    let output = folder.path().join("crypto-config").display().to_string();

    let wanted = recorded("001_cryptogen_generate");
    let (code, stdout, stderr) = run_tool(&["generate", &config, "--output", &output]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, wanted["stdout"].as_str().unwrap(), ""));

    let wanted = recorded("005_cryptogen_extend");
    let (code, stdout, stderr) = run_tool(&["extend", &config, "--input", &output]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, wanted["stdout"].as_str().unwrap(), ""));

    let wanted = recorded("004_cryptogen_generate_missing_config");
    let (code, stdout, stderr) = run_tool(&["generate", "--config=nofile.yaml"]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (1, "", wanted["stderr"].as_str().unwrap()));

    // Another program says another commit and compiler; the lines are the same.
    let wanted = recorded("003_cryptogen_version");
    let keys = |text: &str| text.lines().map(|line| line.split(':').next().unwrap().to_owned()).collect::<Vec<_>>();
    let (code, stdout, _) = run_tool(&["version"]);
    assert_eq!((code, keys(&stdout)), (0, keys(wanted["stdout"].as_str().unwrap())));
    assert!(stdout.contains(" Version: 3.1.5\n"));
}

#[test]
fn the_template_shown_means_the_same_as_the_original() {
    let (code, stdout, _) = run_tool(&["showtemplate"]);
    let wanted = recorded("002_cryptogen_showtemplate");
    assert_eq!(code, 0);
    let yaml = |text: &str| serde_yaml_ng::from_str::<serde_yaml_ng::Value>(text).unwrap();
    assert_eq!(yaml(&stdout), yaml(wanted["stdout"].as_str().unwrap()));
    // It is also what runs without a configuration file.
    let folder = tempfile::tempdir().unwrap();
    let (code, stdout, _) = run_tool(&["generate", "--output", &folder.path().display().to_string()]);
    assert_eq!((code, stdout.as_str()), (0, "org1.example.com\norg2.example.com\n"));
}

#[test]
fn mistakes_on_the_command_line_are_named() {
    let stderr = |args: &[&str]| {
        let (code, stdout, stderr) = run_tool(args);
        assert_eq!((code, stdout.as_str()), (1, ""));
        stderr
    };
    assert_eq!(stderr(&[]), "cryptogen: error: command not specified, try --help\n");
    assert_eq!(stderr(&["make"]), "cryptogen: error: expected command but got \"make\", try --help\n");
    assert_eq!(stderr(&["generate", "--what"]), "cryptogen: error: unknown long flag '--what', try --help\n");
    assert_eq!(
        stderr(&["generate", "--output"]),
        "cryptogen: error: expected argument for flag '--output', try --help\n"
    );
    assert_eq!(stderr(&["version", "more"]), "cryptogen: error: unexpected more, try --help\n");
    let (code, stdout, _) = run_tool(&["--help"]);
    assert_eq!(code, 0);
    assert!(stdout.starts_with("usage: cryptogen"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.yaml");
    std::fs::write(&path, "PeerOrgs: 5").unwrap();
    let (code, stdout, _) = run_tool(&["generate", "--config", &path.display().to_string()]);
    assert_eq!(code, 255);
    assert!(stdout.starts_with("Error reading config: Error Unmarshalling YAML: "), "{stdout}");
}

#[test]
fn an_identity_of_any_name_is_issued_once_by_the_organisations_authority() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config::parse("PeerOrgs: [{Name: Org1, Domain: org1.example.com, EnableNodeOUs: true}]").unwrap();
    generate(&config, folder.path()).unwrap();
    let organization = folder.path().join("peerOrganizations/org1.example.com");
    let user = super::issue_user(&organization, "org1.example.com", "alice", "client").unwrap();
    let read = || std::fs::read(user.join("msp/signcerts/alice@org1.example.com-cert.pem")).unwrap();
    let certificate = Certificate::from_pem(&read()).unwrap();
    assert_eq!(certificate.common_name(), "alice@org1.example.com");
    assert_eq!(certificate.organizational_units(), ["client"]);
    let before = read();
    super::issue_user(&organization, "org1.example.com", "alice", "client").unwrap();
    assert_eq!(read(), before);
    assert!(super::issue_user(&organization, "org1.example.com", "../eve", "client").is_err());
    assert!(super::issue_user(&organization, "org1.example.com", "eve", "king").is_err());
    let leftovers = std::fs::read_dir(organization.join("users")).unwrap().count();
    assert_eq!(leftovers, 2, "the administrator and alice");
}
