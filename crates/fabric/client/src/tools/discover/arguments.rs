//! Arguments of `discover`.

/// The help text.
pub(super) const USAGE: &str = "usage: discover [<flags>] <command> [<args> ...]

Command line client for fabric discovery service

Flags:
  --help                   Show context-sensitive help (also try --help-long and --help-man).
  --configFile=CONFIGFILE  Specifies the config file to load the configuration from
  --peerTLSCA=PEERTLSCA    Sets the TLS CA certificate file path that verifies the TLS peer's certificate
  --tlsCert=TLSCERT        (Optional) Sets the client TLS certificate file path that is used when the peer enforces client authentication
  --tlsKey=TLSKEY          (Optional) Sets the client TLS key file path that is used when the peer enforces client authentication
  --userKey=USERKEY        Sets the user's key file path that is used to sign messages sent to the peer
  --userCert=USERCERT      Sets the user's certificate file path that is used to authenticate the messages sent to the peer
  --MSP=MSP                Sets the MSP ID of the user, which represents the CA(s) that issued its user certificate

Commands:
  help [<command>...]
    Show help.

  peers [<flags>]
    Discover peers

  config [<flags>]
    Discover channel config

  endorsers [<flags>]
    Discover chaincode endorsers

  saveConfig
    Save the config passed by flags into the file specified by --configFile

";

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Arguments {
    pub(super) command: String,
    pub(super) config_file: String,
    pub(super) peer_tls_ca: String,
    pub(super) tls_cert: String,
    pub(super) tls_key: String,
    pub(super) user_key: String,
    pub(super) user_cert: String,
    pub(super) msp: String,
    pub(super) server: String,
    pub(super) channel: String,
    pub(super) chaincodes: Vec<String>,
    /// Chaincode to its collections.
    pub(super) collections: Vec<(String, Vec<String>)>,
    pub(super) no_private_reads: Vec<String>,
}

impl Arguments {
    /// Reads them; `None` when help was asked for.
    pub(super) fn parse(args: &[String]) -> Result<Option<Self>, String> {
        let mut arguments = Self::default();
        let mut options = Vec::new();
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            match arg.strip_prefix("--") {
                Some("help" | "help-long" | "help-man") => return Ok(None),
                Some(long) => {
                    let (name, inline) = match long.split_once('=') {
                        Some((name, value)) => (name, Some(value.to_owned())),
                        None => (long, None),
                    };
                    let value = inline
                        .or_else(|| rest.next().cloned())
                        .ok_or_else(|| format!("expected argument for flag '--{name}'"))?;
                    options.push((name.to_owned(), value));
                }
                None if arg.starts_with('-') && arg.len() > 1 => {
                    return Err(format!("unknown short flag '{arg}'"));
                }
                None if arguments.command.is_empty() => arguments.command.clone_from(arg),
                None => return Err(format!("unexpected {arg}")),
            }
        }
        match arguments.command.as_str() {
            "help" => return Ok(None),
            "peers" | "config" | "endorsers" | "saveConfig" => {}
            "" => return Err("command not specified".into()),
            other => return Err(format!("expected command but got {other:?}")),
        }
        for (name, value) in options {
            arguments.set(&name, value)?;
        }
        Ok(Some(arguments))
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        let asks = self.command != "saveConfig";
        let slot = match name {
            "configFile" => &mut self.config_file,
            "MSP" => &mut self.msp,
            "server" if asks => &mut self.server,
            "channel" if asks => &mut self.channel,
            "peerTLSCA" => file(&value, &mut self.peer_tls_ca)?,
            "tlsCert" => file(&value, &mut self.tls_cert)?,
            "tlsKey" => file(&value, &mut self.tls_key)?,
            "userKey" => file(&value, &mut self.user_key)?,
            "userCert" => file(&value, &mut self.user_cert)?,
            "chaincode" if self.command == "endorsers" => {
                self.chaincodes.push(value);
                return Ok(());
            }
            "noPrivateReads" if self.command == "endorsers" => {
                self.no_private_reads.push(value);
                return Ok(());
            }
            "collection" if self.command == "endorsers" => {
                let (chaincode, list) =
                    value.split_once([':', '=']).ok_or_else(|| format!("expected KEY=VALUE got '{value}'"))?;
                self.collections.push((chaincode.to_owned(), list.split(',').map(str::to_owned).collect()));
                return Ok(());
            }
            _ => return Err(format!("unknown long flag '--{name}'")),
        };
        *slot = value;
        Ok(())
    }
}

/// File flags must name files that exist.
fn file<'a>(path: &str, slot: &'a mut String) -> Result<&'a mut String, String> {
    match std::fs::metadata(path) {
        Ok(_) => Ok(slot),
        Err(error) => Err(super::super::connect::file_text("open", std::path::Path::new(path), &error)),
    }
}
