//! The verifier as a whole: every algorithm, every rule, and keys from real HTTP servers.

mod keys;
mod rules;
mod sets;
pub(super) mod support;
mod vectors;
