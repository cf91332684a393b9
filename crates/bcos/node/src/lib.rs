//! A node: transaction pool, sealing, network and services for clients.
