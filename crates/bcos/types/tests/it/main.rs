//! Golden vectors and properties.
