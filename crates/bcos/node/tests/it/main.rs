//! Whole nodes in one process: real files of the chain builder, real TLS sockets, real disks.

mod cluster;
mod four;
mod hostile;
mod members;
mod services;
mod single;
