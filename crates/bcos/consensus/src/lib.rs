//! Agreement on the order of blocks as a state machine without clock, network or disk.
