//! Directories that go with their test.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long programs that end may still write into a directory.
const REMOVAL_TIME_MAX: Duration = Duration::from_secs(2);

/// A new directory, removed at the end. Its path is short enough to hold unix sockets (108 bytes).
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// Makes a directory in `/tmp`.
    #[expect(clippy::new_without_default, reason = "it writes to the disk")]
    pub fn new() -> Self {
        let kept = kept();
        Self::new_in(kept.as_deref().unwrap_or(Path::new("/tmp")))
    }

    /// Makes a directory in another one.
    pub fn new_in(parent: &Path) -> Self {
        let made = tempfile::Builder::new().prefix("tidings-").tempdir_in(parent);
        Self(made.expect("a directory").keep())
    }

    /// The path of the directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of a file in the directory, which need not exist.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file and returns its path.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.file(name);
        std::fs::write(&path, text).expect("write a file of the test");
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if kept().is_some() {
            return;
        }
        // A browser, for one, goes on tidying up for a moment after its driver is gone.
        let deadline = Instant::now() + REMOVAL_TIME_MAX;
        while std::fs::remove_dir_all(&self.0).is_err() && self.0.exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The directory in which all others stay, with the logs and files of all programs, if the variable
/// names one. A short path, as for [`Directory`].
fn kept() -> Option<PathBuf> {
    std::env::var_os("TIDINGS_TEST_DIRECTORIES").map(PathBuf::from)
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("crates/testkit in the repository")
}

/// The text of a file of the repository.
pub fn repository_file(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("read {path}: {error}"))
}
