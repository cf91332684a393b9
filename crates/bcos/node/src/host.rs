//! One group at work: the thread that drives agreement, and the threads that execute and commit for it.
//!
//! ```text
//! network ─▶ worker (consensus step, durable votes) ─▶ execution thread ─▶ commit thread ─▶ waiting clients
//!               ▲   │ proposals                              │                  │
//!               └───┴──────────── events ◀───────────────────┴──────────────────┘
//! ```
//!
//! Execution of a block overlaps the commit of the one before. The worker has a thread of its own because it waits for
//! the disk before it votes, and nobody else may wait with it.

mod bodies;
mod ledger;
mod pipeline;
mod votes;
mod worker;

pub(crate) use ledger::{ImportError, Ledger, PoolView};
pub(crate) use pipeline::{Imported, Pipeline, Reports};
pub(crate) use votes::Votes;
pub(crate) use worker::{Drawer, Event, Parts, Worker, wall_ms};
