//! The path of the program under test.

use std::env::consts::EXE_SUFFIX;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// cargo sets it for integration tests, also at run time since 1.94.
const VARIABLE: &str = "CARGO_BIN_EXE_tidings";

/// Returns the path of the `tidings` program that cargo built with the running test. Fails the test
/// if there is none.
pub fn executable() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let path = std::env::var_os(VARIABLE).map(PathBuf::from);
        let path = path.unwrap_or_else(|| beside(&std::env::current_exe().expect("the path of the test")));
        assert!(path.is_file(), "there is no {}; cargo build --bin tidings makes it", path.display());
        path
    })
}

/// The program of the profile that a test has: that of `target/debug/deps/test` is
/// `target/debug/tidings`.
fn beside(test: &Path) -> PathBuf {
    let profile = test.parent().and_then(Path::parent).expect("a test in a profile's `deps`");
    profile.join(format!("tidings{EXE_SUFFIX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_in_the_folder_above_the_test() {
        let test = Path::new("/build/target/debug/deps/suite-0123456789abcdef");
        assert_eq!(beside(test), Path::new("/build/target/debug").join(format!("tidings{EXE_SUFFIX}")));
    }
}
