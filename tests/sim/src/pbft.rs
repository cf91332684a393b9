//! A world of nodes that agree on blocks: their disks, executors, pools and networks, and hostile members.

mod checks;
mod hostile;
mod keys;
mod machine;
mod rotation;
mod shape;
mod world;

pub use checks::Checks;
pub use hostile::Kind;
pub use keys::SimKeys;
pub use machine::{Block, Machine};
pub use shape::{Agreement, Scheme, Shape};
pub use world::{Report, World};
