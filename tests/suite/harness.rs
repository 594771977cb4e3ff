//! The harness in an integration test.

use std::path::Path;

use crate::support::executable::executable;

#[test]
fn harness_runs_the_program_that_cargo_built() {
    assert_eq!(executable(), Path::new(env!("CARGO_BIN_EXE_tidings")));
    assert!(executable().is_file());
}
