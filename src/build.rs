//! The build of the program: its version, commit, target and features, as `build.rs` found them.

/// The version, such as `0.1.0`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The first digits of the commit, with `-modified` if sources differed from it; `unknown` in debug
/// builds and without git.
pub const COMMIT: &str = env!("TIDINGS_BUILD_COMMIT");

/// The text of `tidings --version` behind the name: the version, and a line for each other part.
pub const TEXT: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit: ",
    env!("TIDINGS_BUILD_COMMIT"),
    "\nbuild: ",
    env!("TIDINGS_BUILD_KIND"),
    "\ntarget: ",
    env!("TIDINGS_BUILD_TARGET"),
    "\nfeatures: ",
    env!("TIDINGS_BUILD_FEATURES"),
);
