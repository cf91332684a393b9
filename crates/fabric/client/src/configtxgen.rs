//! The command line of `configtxgen`: genesis blocks from `configtx.yaml`, and blocks and organisations as JSON.

mod flags;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use fabric_channel::genesis::{self, GenesisError, Profile, TopLevel, create_channel_update};
use fabric_channel::protoutil;
use fabric_proto::common::{ConfigUpdateEnvelope, HeaderType};
use prost::Message as _;

use self::flags::{Flags, Parsed};
use crate::protolator::{self, GroupKind};
use crate::tools::log::Log;
use crate::tools::{Console, version_text};

const MAIN: &str = "common.tools.configtxgen";
const LOCAL: &str = "common.tools.configtxgen.localconfig";
const DEFAULT_FOLDERS: [&str; 2] = [".", "/etc/hyperledger/fabric"];
const WHERE: &str =
    "Please make sure that FABRIC_CFG_PATH or -configPath is set to a path which contains configtx.yaml";

/// How a run goes wrong: which exit code, after the lines were written.
struct Stop(i32);

/// Runs the tool with the arguments behind its name; returns the exit code.
pub fn run(args: &[String], console: &mut Console<'_>) -> i32 {
    let flags = match flags::parse(args) {
        Parsed::Flags(flags) => flags,
        Parsed::Usage { problem, exit_code } => {
            console.err(&problem);
            return exit_code;
        }
    };
    match (Run { flags: &flags, log: Log::default() }).run(console) {
        Ok(()) => 0,
        Err(Stop(code)) => code,
    }
}

struct Run<'a> {
    flags: &'a Flags,
    log: Log,
}

impl Run<'_> {
    fn fatal<T>(&mut self, console: &mut Console<'_>, message: &str) -> Result<T, Stop> {
        self.log.fatal(console, MAIN, "main", message);
        Err(Stop(1))
    }

    fn info(&mut self, console: &mut Console<'_>, function: &str, message: &str) {
        self.log.info(console, MAIN, function, message);
    }

    fn run(mut self, console: &mut Console<'_>) -> Result<(), Stop> {
        let flags = self.flags;
        let makes_something = flags.is_set("outputBlock") || flags.is_set("outputCreateChannelTx");
        if !flags.is_set("channelID") && makes_something {
            return self.fatal(console, "Missing channelID, please specify it with '-channelID'");
        }
        if flags.version {
            console.out(&version_text("configtxgen"));
            return Ok(());
        }
        self.info(console, "main", "Loading configuration");
        let mut profile = None;
        if makes_something {
            if !flags.is_set("profile") {
                let message = "The '-profile' is required when '-outputBlock', '-outputChannelCreateTx' is specified";
                return self.fatal(console, message);
            }
            profile = Some(self.load_profile(console, flags.value("profile"))?);
        }
        if flags.is_set("channelCreateTxBaseProfile") {
            let message = "'channelCreateTxBaseProfile' needs a system channel, which version 3 does not have; create the channel with '-outputBlock' and osnadmin";
            return self.fatal(console, message);
        }
        if let Some(profile) = &profile {
            if flags.is_set("outputBlock")
                && let Err(error) = self.output_block(console, profile)
            {
                return self.fatal(console, &format!("Error on outputBlock: {error}"));
            }
            if flags.is_set("outputCreateChannelTx")
                && let Err(error) = self.output_channel_tx(console, profile)
            {
                return self.fatal(console, &format!("Error on outputChannelCreateTx: {error}"));
            }
        }
        if flags.is_set("inspectBlock")
            && let Err(error) = self.inspect_block(console, flags.value("inspectBlock"))
        {
            return self.fatal(console, &format!("Error on inspectBlock: {error}"));
        }
        if flags.is_set("inspectChannelCreateTx")
            && let Err(error) = self.inspect_tx(console, flags.value("inspectChannelCreateTx"))
        {
            return self.fatal(console, &format!("Error on inspectChannelCreateTx: {error}"));
        }
        if flags.is_set("printOrg") {
            let (top, folder) = self.load_file(console, "LoadTopLevel")?;
            // The section of the file that no profile has used is checked as upstream does.
            let mut orderer = Profile { orderer: top.orderer.clone(), ..Profile::default() };
            if let Err(error) = orderer.complete() {
                return self.panic(console, "completeInitialization", &error.to_string());
            }
            if let Err(error) = print_org(console, &top, &folder, flags.value("printOrg")) {
                return self.fatal(console, &format!("Error on printOrg: {error}"));
            }
        }
        Ok(())
    }

    /// Where upstream's program panics: the line, the line of the handler, and exit code 2.
    fn panic<T>(&mut self, console: &mut Console<'_>, function: &str, message: &str) -> Result<T, Stop> {
        self.log.panic(console, LOCAL, function, message);
        self.log.panic(console, MAIN, "func1", message);
        console.err(&format!("panic: {message}\n"));
        Err(Stop(2))
    }

    /// The file that is found first, with its folder.
    fn find_file(&self, console: &Console<'_>) -> Option<(PathBuf, PathBuf)> {
        let mut folders: Vec<String> = Vec::new();
        if self.flags.is_set("configPath") {
            folders.push(self.flags.value("configPath").to_owned());
        } else {
            folders.extend((console.env)("FABRIC_CFG_PATH").filter(|folder| !folder.is_empty()));
            folders.extend(DEFAULT_FOLDERS.map(str::to_owned));
        }
        folders.into_iter().map(PathBuf::from).find_map(|folder| {
            ["configtx.yaml", "configtx.yml"].into_iter().find_map(|name| {
                let file = folder.join(name);
                file.exists().then(|| (file, folder.clone()))
            })
        })
    }

    fn load_file(&mut self, console: &mut Console<'_>, function: &str) -> Result<(TopLevel, PathBuf), Stop> {
        let Some((file, folder)) = self.find_file(console) else {
            self.log.error(console, MAIN, "func1", &format!("Could not find configtx.yaml. {WHERE}"));
            return Err(Stop(1));
        };
        let read = std::fs::read_to_string(&file)
            .map_err(|error| format!("Error reading configuration: open {}: {error}", file.display()))
            .and_then(|text| TopLevel::from_yaml(&text, console.env).map_err(|error| error.to_string()));
        match read {
            Ok(top) => {
                if function == "LoadTopLevel" {
                    self.loaded(console, function, &file);
                }
                Ok((top, folder))
            }
            Err(message) => self.panic(console, function, &message),
        }
    }

    fn loaded(&mut self, console: &mut Console<'_>, function: &str, file: &Path) {
        let file = file.strip_prefix(".").unwrap_or(file).display().to_string();
        self.log.info(console, LOCAL, function, &format!("Loaded configuration: {file}"));
    }

    fn load_profile(&mut self, console: &mut Console<'_>, name: &str) -> Result<Profile, Stop> {
        let (top, folder) = self.load_file(console, "Load")?;
        match top.profile(name, &folder) {
            Ok(profile) => {
                if let Some(orderer) = &profile.orderer {
                    let message = format!("orderer type: {}", orderer.orderer_type);
                    self.log.info(console, LOCAL, "completeInitialization", &message);
                }
                self.loaded(console, "Load", &folder.join("configtx.yaml"));
                Ok(profile)
            }
            Err(error @ GenesisError::NoProfile(_)) => {
                self.log.panic(console, LOCAL, "Load", &error.to_string());
                let message = format!("{error}. {WHERE} with the specified profile");
                self.log.error(console, MAIN, "func1", &message);
                Err(Stop(1))
            }
            Err(error) => self.panic(console, "completeInitialization", &error.to_string()),
        }
    }

    fn output_block(&mut self, console: &mut Console<'_>, profile: &Profile) -> Result<(), String> {
        let function = "doOutputBlock";
        let bootstrapper = |error: GenesisError| format!("could not create bootstrapper: {error}");
        profile.check_for_genesis().map_err(bootstrapper)?;
        let group = profile
            .channel_group()
            .map_err(|error| format!("could not create bootstrapper: could not create channel group: {error}"))?;
        self.info(console, function, "Generating genesis block");
        if profile.orderer.is_none() {
            return Err("refusing to generate block which is missing orderer section".into());
        }
        if profile.consortiums.is_some() {
            let message =
                "Warning: 'Consortiums' should be nil since system channel is no longer supported in Fabric v3.x";
            self.log.error(console, MAIN, function, message);
        } else {
            if profile.application.is_none() {
                return Err(
                    "refusing to generate application channel block which is missing application section".into()
                );
            }
            self.info(console, function, "Creating application channel genesis block");
        }
        let block = genesis::block(self.flags.value("channelID"), group);
        self.info(console, function, "Writing genesis block");
        write_file(self.flags.value("outputBlock"), &block.encode_to_vec())
            .map_err(|error| format!("error writing genesis block: {error}"))
    }

    fn output_channel_tx(&mut self, console: &mut Console<'_>, profile: &Profile) -> Result<(), String> {
        let function = "doOutputChannelCreateTx";
        self.info(console, function, "Generating new channel configtx");
        let channel = self.flags.value("channelID");
        let update = create_channel_update(channel, profile).map_err(|error| error.to_string())?;
        let update = ConfigUpdateEnvelope { config_update: update.encode_to_vec().into(), signatures: Vec::new() };
        let data = Bytes::from(update.encode_to_vec());
        let envelope = protoutil::signed_envelope(HeaderType::ConfigUpdate, channel, None, data, None);
        self.info(console, function, "Writing new channel tx");
        write_file(self.flags.value("outputCreateChannelTx"), &envelope.encode_to_vec())
            .map_err(|error| format!("error writing channel create tx: {error}"))
    }

    fn inspect_block(&mut self, console: &mut Console<'_>, file: &str) -> Result<(), String> {
        let function = "doInspectBlock";
        self.info(console, function, "Inspecting block");
        let bytes = std::fs::read(file).map_err(|_| format!("could not read block {file}"))?;
        self.info(console, function, "Parsing genesis block");
        let text =
            protolator::decode("common.Block", &bytes).map_err(|error| format!("malformed block contents: {error}"))?;
        console.out(&text);
        Ok(())
    }

    fn inspect_tx(&mut self, console: &mut Console<'_>, file: &str) -> Result<(), String> {
        let function = "doInspectChannelCreateTx";
        self.info(console, function, "Inspecting transaction");
        let bytes =
            std::fs::read(file).map_err(|error| format!("could not read channel create tx: open {file}: {error}"))?;
        self.info(console, function, "Parsing transaction");
        let text = protolator::decode("common.Envelope", &bytes)
            .map_err(|error| format!("malformed transaction contents: {error}"))?;
        console.out(&text);
        Ok(())
    }
}

fn print_org(console: &mut Console<'_>, top: &TopLevel, folder: &Path, name: &str) -> Result<(), String> {
    let organization = top.organization(name, folder).ok_or_else(|| format!("organization {name} not found"))?;
    let bad = |error: GenesisError| format!("bad org definition for org {name}: {error}");
    let (kind, group) = if organization.orderer_endpoints.is_empty() {
        (GroupKind::ApplicationOrg, organization.application_group().map_err(bad)?)
    } else {
        let v3 = top.capabilities.get("Channel").and_then(|set| set.get("V3_0")) == Some(&true);
        (GroupKind::OrdererOrg, organization.orderer_group(v3).map_err(bad)?)
    };
    let text = protolator::decode_group(kind, &group.encode_to_vec())
        .map_err(|error| format!("malformed org definition for org: {name}: {error}"))?;
    console.out(&text);
    Ok(())
}

/// Writes a file, making its folder; readable for the owner's group.
fn write_file(file: &str, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    if let Some(folder) = Path::new(file).parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    let mut out = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(file)?;
    out.write_all(bytes)
}
