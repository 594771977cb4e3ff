//! Directories that go with their test.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A new directory, removed at the end. Its path is short enough to hold unix sockets (108 bytes).
#[derive(Debug)]
pub struct Directory(TempDir);

impl Directory {
    pub fn new() -> Self {
        Self(tempfile::Builder::new().prefix("tidings-").tempdir_in("/tmp").expect("a directory in /tmp"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The path of a file in the directory, which need not exist.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file and answers its path.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.file(name);
        std::fs::write(&path, text).expect("write a file of the test");
        path
    }
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file of the repository.
pub fn repository_file(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("read {path}: {error}"))
}
