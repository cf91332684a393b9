//! A node's ports as clients meet them: real HTTP, real WebSockets, a real chain of one node behind them.

mod bcos;
mod client;
mod ethereum;
mod imagined;
mod sdk;
mod world;
