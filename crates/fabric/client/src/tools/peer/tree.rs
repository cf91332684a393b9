//! Every command and flag of `peer`, with upstream's descriptions.

use crate::tools::command::{Command, Flag};

const ORDERER_FLAGS: &[Flag] = &[
    Flag::text("orderer", "Ordering service endpoint").short('o'),
    Flag::switch("tls", "Use TLS when communicating with the orderer endpoint"),
    Flag::switch("clientauth", "Use mutual TLS when communicating with the orderer endpoint"),
    Flag::text("cafile", "Path to file containing PEM-encoded trusted certificate(s) for the ordering endpoint"),
    Flag::text(
        "keyfile",
        "Path to file containing PEM-encoded private key to use for mutual TLS communication with the orderer endpoint",
    ),
    Flag::text(
        "certfile",
        "Path to file containing PEM-encoded X509 public key to use for mutual TLS communication with the orderer endpoint",
    ),
    Flag::text(
        "ordererTLSHostnameOverride",
        "The hostname override to use when validating the TLS connection to the orderer",
    ),
    Flag::duration("connTimeout", "3s", "Timeout for client to connect"),
    Flag::duration(
        "tlsHandshakeTimeShift",
        "",
        "The amount of time to shift backwards for certificate expiration checks during TLS handshakes with the orderer endpoint",
    ),
];

const CHAINCODE_PERSISTENT: &[Flag] = &[
    ORDERER_FLAGS[0],
    ORDERER_FLAGS[1],
    ORDERER_FLAGS[2],
    ORDERER_FLAGS[3],
    ORDERER_FLAGS[4],
    ORDERER_FLAGS[5],
    ORDERER_FLAGS[6],
    ORDERER_FLAGS[7],
    ORDERER_FLAGS[8],
    Flag::text("transient", "Transient map of arguments in JSON encoding"),
];

const CHANNEL_ID: Flag = Flag::text("channelID", "The channel on which this command should be executed").short('C');
const NAME: Flag = Flag::text("name", "Name of the chaincode").short('n');
const VERSION: Flag = Flag::text("version", "Version of the chaincode").short('v');
const PACKAGE_ID: Flag = Flag::text("package-id", "The identifier of the chaincode install package");
const SEQUENCE: Flag = Flag::int("sequence", "The sequence number of the chaincode definition for the channel");
const ENDORSEMENT_PLUGIN: Flag =
    Flag::text("endorsement-plugin", "The name of the endorsement plugin to be used for this chaincode").short('E');
const VALIDATION_PLUGIN: Flag =
    Flag::text("validation-plugin", "The name of the validation plugin to be used for this chaincode").short('V');
const SIGNATURE_POLICY: Flag = Flag::text(
    "signature-policy",
    "The endorsement policy associated to this chaincode specified as a signature policy",
);
const CHANNEL_CONFIG_POLICY: Flag = Flag::text(
    "channel-config-policy",
    "The endorsement policy associated to this chaincode specified as a channel config policy reference",
);
const INIT_REQUIRED: Flag = Flag::switch("init-required", "Whether the chaincode requires invoking 'init'");
const COLLECTIONS: Flag =
    Flag::text("collections-config", "The fully qualified path to the collection JSON file including the file name");
const PEER_ADDRESSES: Flag = Flag::array("peerAddresses", "The addresses of the peers to connect to");
const TLS_ROOT_CERT_FILES: Flag = Flag::array(
    "tlsRootCertFiles",
    "If TLS is enabled, the paths to the TLS root cert files of the peers to connect to. The order and number of certs specified should match the --peerAddresses flag",
);
const CONNECTION_PROFILE: Flag = Flag::text(
    "connectionProfile",
    "The fully qualified path to the connection profile that provides the necessary connection information for the network. Note: currently only supported for providing peer connection information",
);
const CALL_CONNECTION_PROFILE: Flag = Flag::text(
    "connectionProfile",
    "Connection profile that provides the necessary connection information for the network. Note: currently only supported for providing peer connection information",
);
const TARGET_PEER: Flag =
    Flag::text("targetPeer", "When using a connection profile, the name of the peer to target for this action");
const WAIT: Flag = Flag::switch(
    "waitForEvent",
    "Whether to wait for the event from each peer's deliver filtered service signifying that the transaction has been committed successfully",
)
.default("true");
const CALL_WAIT: Flag = Flag::switch(
    "waitForEvent",
    "Whether to wait for the event from each peer's deliver filtered service signifying that the 'invoke' transaction has been committed successfully",
);
const WAIT_TIMEOUT: Flag = Flag::duration(
    "waitForEventTimeout",
    "30s",
    "Time to wait for the event from each peer's deliver filtered service signifying that the 'invoke' transaction has been committed successfully",
);
const OUTPUT: Flag = Flag::text(
    "output",
    "The output format for query results. Default is human-readable plain-text. json is currently the only supported format.",
)
.short('O');
const INSPECT: Flag = Flag::switch(
    "inspect",
    "If inspect is enabled, output additional information to identify discrepancies when an organization's approval is false",
);
const CTOR: Flag = Flag::text("ctor", "Constructor message for the chaincode in JSON format").short('c').default("{}");

const CHANNEL_C: Flag = Flag::text(
    "channelID",
    "In case of a newChain command, the channel ID to create. It must be all lower case, less than 250 characters long and match the regular expression: [a-z][a-z0-9.-]*",
)
.short('c');
const FILE: Flag = Flag::text(
    "file",
    "Configuration transaction file generated by a tool such as configtxgen for submitting to orderer",
)
.short('f');

const fn leaf(usage: &'static str, short: &'static str, long: &'static str, flags: &'static [Flag]) -> Command {
    Command { usage, short, long, flags, persistent: &[], children: &[] }
}

const CHANNEL_TEXT: &str =
    "Operate a channel: create|fetch|join|joinbysnapshot|joinbysnapshotstatus|list|update|signconfigtx|getinfo.";

const CHANNEL: Command = Command {
    usage: "channel",
    short: CHANNEL_TEXT,
    long: CHANNEL_TEXT,
    flags: &[],
    persistent: ORDERER_FLAGS,
    children: &[
        leaf(
            "create",
            "[DEPRECATED] Create a channel",
            "[DEPRECATED] Create a channel and write the genesis block to a file. Instead of this command, use Orderer Service Node (OSN).",
            &[
                CHANNEL_C,
                FILE,
                Flag::text(
                    "outputBlock",
                    "The path to write the genesis block for the channel. (default ./<channelID>.block)",
                ),
                Flag::duration("timeout", "10s", "Channel creation timeout").short('t'),
            ],
        ),
        leaf(
            "fetch <newest|oldest|config|(number)> [outputfile]",
            "Fetch a block",
            "Fetch a specified block, writing it to a file.",
            &[
                Flag::switch(
                    "bestEffort",
                    "Whether fetch requests should ignore errors and return blocks on a best effort basis",
                ),
                CHANNEL_C,
            ],
        ),
        leaf(
            "getinfo",
            "get blockchain information of a specified channel.",
            "get blockchain information of a specified channel. Requires '-c'.",
            &[CHANNEL_C],
        ),
        leaf(
            "join",
            "Joins the peer to a channel.",
            "Joins the peer to a channel.",
            &[Flag::text("blockpath", "Path to file containing genesis block").short('b')],
        ),
        leaf("list", "List of channels peer has joined.", "List of channels peer has joined.", &[]),
        leaf(
            "signconfigtx",
            "Signs a configtx update.",
            "Signs the supplied configtx update file in place on the filesystem. Requires '-f'.",
            &[FILE],
        ),
        leaf(
            "update",
            "Send a configtx update.",
            "Signs and sends the supplied configtx update file to the channel. Requires '-f', '-o', '-c'.",
            &[CHANNEL_C, FILE],
        ),
    ],
};

const CHAINCODE: Command = Command {
    usage: "chaincode",
    short: "Query or invoke a chaincode: invoke|query.",
    long: "Query or invoke a chaincode: invoke|query.",
    flags: &[],
    persistent: CHAINCODE_PERSISTENT,
    children: &[
        leaf(
            "invoke",
            "Invoke the specified chaincode.",
            "Invoke the specified chaincode. It will try to commit the endorsed transaction to the network.",
            &[
                CHANNEL_ID,
                CALL_CONNECTION_PROFILE,
                CTOR,
                Flag::switch(
                    "isInit",
                    "Is this invocation for init (useful for supporting legacy chaincodes in the new lifecycle)",
                )
                .short('I'),
                NAME,
                PEER_ADDRESSES,
                TLS_ROOT_CERT_FILES,
                CALL_WAIT,
                WAIT_TIMEOUT,
            ],
        ),
        leaf(
            "query",
            "Query using the specified chaincode.",
            "Get endorsed result of chaincode function call and print it. It won't generate transaction.",
            &[
                CHANNEL_ID,
                CALL_CONNECTION_PROFILE,
                CTOR,
                Flag::switch(
                    "hex",
                    "If true, output the query value byte array in hexadecimal. Incompatible with --raw",
                )
                .short('x'),
                NAME,
                PEER_ADDRESSES,
                Flag::switch(
                    "raw",
                    "If true, output the query value as raw bytes, otherwise format as a printable string",
                )
                .short('r'),
                TLS_ROOT_CERT_FILES,
            ],
        ),
    ],
};

const LIFECYCLE_TEXT: &str = "Perform chaincode operations: package|install|queryinstalled|getinstalledpackage|calculatepackageid|approveformyorg|queryapproved|checkcommitreadiness|commit|querycommitted";

const LIFECYCLE_CHAINCODE: Command = Command {
    usage: "chaincode",
    short: LIFECYCLE_TEXT,
    long: LIFECYCLE_TEXT,
    flags: &[],
    persistent: ORDERER_FLAGS,
    children: &[
        leaf(
            "approveformyorg",
            "Approve the chaincode definition for my org.",
            "Approve the chaincode definition for my organization.",
            &[
                CHANNEL_ID,
                NAME,
                VERSION,
                PACKAGE_ID,
                SEQUENCE,
                ENDORSEMENT_PLUGIN,
                VALIDATION_PLUGIN,
                SIGNATURE_POLICY,
                CHANNEL_CONFIG_POLICY,
                INIT_REQUIRED,
                COLLECTIONS,
                PEER_ADDRESSES,
                TLS_ROOT_CERT_FILES,
                CONNECTION_PROFILE,
                WAIT,
                WAIT_TIMEOUT,
            ],
        ),
        leaf(
            "calculatepackageid [packageFile]",
            "Calculate the package ID for a chaincode.",
            "Calculate the package ID for a packaged chaincode.",
            &[PEER_ADDRESSES, TLS_ROOT_CERT_FILES, CONNECTION_PROFILE, OUTPUT],
        ),
        leaf(
            "checkcommitreadiness",
            "Check whether a chaincode definition is ready to be committed on a channel.",
            "Check whether a chaincode definition is ready to be committed on a channel.",
            &[
                CHANNEL_ID,
                NAME,
                VERSION,
                SEQUENCE,
                ENDORSEMENT_PLUGIN,
                VALIDATION_PLUGIN,
                SIGNATURE_POLICY,
                CHANNEL_CONFIG_POLICY,
                INIT_REQUIRED,
                COLLECTIONS,
                PEER_ADDRESSES,
                TLS_ROOT_CERT_FILES,
                CONNECTION_PROFILE,
                OUTPUT,
                INSPECT,
            ],
        ),
        leaf(
            "commit",
            "Commit the chaincode definition on the channel.",
            "Commit the chaincode definition on the channel.",
            &[
                CHANNEL_ID,
                NAME,
                VERSION,
                SEQUENCE,
                ENDORSEMENT_PLUGIN,
                VALIDATION_PLUGIN,
                SIGNATURE_POLICY,
                CHANNEL_CONFIG_POLICY,
                INIT_REQUIRED,
                COLLECTIONS,
                PEER_ADDRESSES,
                TLS_ROOT_CERT_FILES,
                CONNECTION_PROFILE,
                WAIT,
                WAIT_TIMEOUT,
            ],
        ),
        leaf(
            "getinstalledpackage [outputfile]",
            "Get an installed chaincode package from a peer.",
            "Get an installed chaincode package from a peer.",
            &[
                PEER_ADDRESSES,
                TLS_ROOT_CERT_FILES,
                CONNECTION_PROFILE,
                TARGET_PEER,
                PACKAGE_ID,
                Flag::text(
                    "output-directory",
                    "The output directory to use when writing a chaincode install package to disk. Default is the current working directory.",
                ),
            ],
        ),
        leaf(
            "install [packageFile]",
            "Install a chaincode.",
            "Install a chaincode on a peer.",
            &[PEER_ADDRESSES, TLS_ROOT_CERT_FILES, CONNECTION_PROFILE, TARGET_PEER],
        ),
        leaf(
            "package [outputfile]",
            "Package a chaincode",
            "Package a chaincode and write the package to a file.",
            &[
                Flag::text("label", "The package label contains a human-readable description of the package"),
                Flag::text("lang", "Language the chaincode is written in").short('l').default("golang"),
                Flag::text("path", "Path to the chaincode").short('p'),
                PEER_ADDRESSES,
                TLS_ROOT_CERT_FILES,
                CONNECTION_PROFILE,
            ],
        ),
        leaf(
            "queryapproved",
            "Query org's approved chaincode definitions from its peer.",
            "Query organization's approved chaincode definitions from its peer.",
            &[CHANNEL_ID, NAME, SEQUENCE, PEER_ADDRESSES, TLS_ROOT_CERT_FILES, CONNECTION_PROFILE, OUTPUT],
        ),
        leaf(
            "querycommitted",
            "Query the committed chaincode definitions by channel on a peer.",
            "Query the committed chaincode definitions by channel on a peer. Optional: provide a chaincode name to query a specific definition.",
            &[CHANNEL_ID, NAME, PEER_ADDRESSES, TLS_ROOT_CERT_FILES, CONNECTION_PROFILE, OUTPUT],
        ),
        leaf(
            "queryinstalled",
            "Query the installed chaincodes on a peer.",
            "Query the installed chaincodes on a peer.",
            &[PEER_ADDRESSES, TLS_ROOT_CERT_FILES, CONNECTION_PROFILE, TARGET_PEER, OUTPUT],
        ),
    ],
};

const NODE_TEXT: &str = "Operate a peer node: start|reset|rollback|pause|resume|rebuild-dbs|unjoin|upgrade-dbs.";

const fn channel(usage: &'static str) -> Flag {
    Flag::text("channelID", usage).short('c')
}

const NODE: Command = Command {
    usage: "node",
    short: NODE_TEXT,
    long: NODE_TEXT,
    flags: &[],
    persistent: &[],
    children: &[
        leaf(
            "start",
            "Starts the node.",
            "Starts a node that interacts with the network.",
            &[Flag::switch("peer-chaincodedev", "start peer in chaincode development mode")],
        ),
        leaf(
            "reset",
            "Resets the node.",
            "Resets all channels to the genesis block. When the command is executed, the peer must be offline. When the peer starts after the reset, it will receive blocks starting with block number one from an orderer or another peer to rebuild the block store and state database. The command is not supported if the peer contains any channel that was bootstrapped from a snapshot.",
            &[],
        ),
        leaf(
            "rollback",
            "Rolls back a channel.",
            "Rolls back a channel to a specified block number. When the command is executed, the peer must be offline. When the peer starts after the rollback, it will receive blocks, which got removed during the rollback, from an orderer or another peer to rebuild the block store and state database. The command is not supported if the peer contains any channel that was bootstrapped from a snapshot.",
            &[
                channel("Channel to rollback."),
                Flag::uint("blockNumber", "Block number to which the channel needs to be rolled back to.").short('b'),
            ],
        ),
        leaf(
            "pause",
            "Pauses a channel on the peer.",
            "Pauses a channel on the peer. When the command is executed, the peer must be offline. When the peer starts after pause, it will not receive blocks for the paused channel.",
            &[channel("Channel to pause.")],
        ),
        leaf(
            "resume",
            "Resumes a channel on the peer.",
            "Resumes a channel on the peer. When the command is executed, the peer must be offline. When the peer starts after resume, it will receive blocks for the resumed channel.",
            &[channel("Channel to resume.")],
        ),
        leaf(
            "rebuild-dbs",
            "Rebuilds databases.",
            "Drops the databases for all the channels and rebuilds them upon peer restart. When the command is executed, the peer must be offline. The command is not supported if the peer contains any channel that was bootstrapped from a snapshot.",
            &[],
        ),
        leaf(
            "unjoin",
            "Unjoin the peer from a channel.",
            "Unjoin the peer from a channel.  When the command is executed, the peer must be offline.",
            &[channel("Channel to unjoin.")],
        ),
        leaf(
            "upgrade-dbs",
            "Upgrades databases.",
            "Upgrades databases by directly updating the database format or dropping the databases. Dropped databases will be rebuilt with new format upon peer restart. When the command is executed, the peer must be offline.",
            &[],
        ),
    ],
};

/// `peer`.
pub(super) static PEER: Command = Command {
    usage: "peer",
    short: "",
    long: "",
    flags: &[],
    persistent: &[Flag::text("logging-level", "Legacy logging level flag").hidden()],
    children: &[
        CHAINCODE,
        CHANNEL,
        Command {
            usage: "lifecycle",
            short: "Perform _lifecycle operations",
            long: "Perform _lifecycle operations",
            flags: &[],
            persistent: &[],
            children: &[LIFECYCLE_CHAINCODE],
        },
        NODE,
        leaf("version", "Print fabric peer version.", "Print current version of the fabric peer server.", &[]),
    ],
};
