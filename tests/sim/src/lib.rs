//! A deterministic world for the state machines that take inputs and give effects.
//!
//! Everything that happens in it (time, message delays, losses, crashes, what survives of an unsynced
//! write) comes from one seed, so a failure can be run again as often as needed:
//!
//! ```
//! use sim_tests::{Shape, World};
//!
//! let report = World::run(7, &Shape::everything());
//! assert_eq!(report.violation, None);
//! ```
//!
//! It does not measure speed and runs no real sockets or files; the crates' own tests do that.
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod checks;
pub mod disk;
pub mod pbft;
pub mod rng;
pub mod world;

pub use rng::Rng;
pub use world::{Report, Shape, World};
