//! Doubles that fail on purpose.
