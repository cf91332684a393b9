//! Which authorities' TLS certificates are trusted: those of the configuration file and those of every channel.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fabric_channel::config::Bundle;
use konsort_node::{Roots, TlsError};
use parking_lot::Mutex;

/// The pools of trusted certificates, kept in step with the channels' configurations.
#[derive(Debug)]
pub(crate) struct Trust {
    /// For servers of other orderers.
    pub servers: Roots,
    /// For clients of the listener that asks for certificates.
    pub clients: Roots,
    server_files: Vec<Bytes>,
    client_files: Vec<Bytes>,
    channels: Mutex<BTreeMap<String, Authorities>>,
}

/// Of one channel: the orderer organisations' authorities, and everybody's.
type Authorities = (Vec<Bytes>, Vec<Bytes>);

fn read(files: &[PathBuf]) -> Result<Vec<Bytes>, TlsError> {
    let read = |path: &Path| {
        let text = std::fs::read(path);
        text.map(Bytes::from).map_err(|source| TlsError::Read {
            what: "TLS root certificate",
            path: path.to_path_buf(),
            source,
        })
    };
    files.iter().map(|path| read(path)).collect()
}

impl Trust {
    /// Begins with the authorities in files.
    pub(crate) fn new(server_files: &[PathBuf], client_files: &[PathBuf]) -> Result<Self, TlsError> {
        let (server_files, client_files) = (read(server_files)?, read(client_files)?);
        let servers = Roots::from_pem(&server_files)?;
        let clients = Roots::from_pem(&client_files)?;
        Ok(Self { servers, clients, server_files, client_files, channels: Mutex::default() })
    }

    /// Takes over what a channel's configuration says now.
    pub(crate) fn follow(&self, bundle: &Bundle) {
        let orderers: Vec<&str> =
            bundle.orderer().into_iter().flat_map(|o| o.organizations.values()).map(|o| o.msp_id.as_str()).collect();
        let (mut servers, mut clients) = (Vec::new(), Vec::new());
        for msp in bundle.msp_manager().msps() {
            let certificates = msp.tls_root_certs().iter().chain(msp.tls_intermediate_certs());
            for certificate in certificates {
                if orderers.contains(&msp.name()) {
                    servers.push(certificate.clone());
                }
                clients.push(certificate.clone());
            }
        }
        let mut channels = self.channels.lock();
        channels.insert(bundle.channel_id().to_owned(), (servers, clients));
        let servers = self.server_files.iter().chain(channels.values().flat_map(|c| &c.0));
        let clients = self.client_files.iter().chain(channels.values().flat_map(|c| &c.1));
        for (pool, certificates) in [(&self.servers, servers.collect::<Vec<_>>()), (&self.clients, clients.collect())] {
            if let Err(error) = pool.replace(certificates) {
                tracing::warn!(
                    channel = bundle.channel_id(),
                    "a TLS authority of the channel cannot be used, trust stays as it was: {error}"
                );
            }
        }
    }
}
