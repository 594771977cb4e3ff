//! Detection of files that were written or replaced.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Holds the part of a file's metadata that changes when the file is written or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    modified: (i64, i64),
    bytes: u64,
    inode: u64,
}

impl Fingerprint {
    /// Reads the metadata of a file through symbolic links; returns `None` if there is no such
    /// file. Blocks.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        Some(Self { modified: (file.mtime(), file.mtime_nsec()), bytes: file.size(), inode: file.ino() })
    }
}
