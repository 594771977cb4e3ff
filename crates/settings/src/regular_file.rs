//! Reading of files that settings name, within bounds.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// Reads a regular file of at most `bytes_max` bytes, through symbolic links. Blocks as long as the
/// file system does. A pipe or a device is not read, because its other end could block the reader
/// for ever, or never end.
///
/// # Errors
///
/// [`io::ErrorKind::FileTooLarge`] beyond `bytes_max`, [`io::ErrorKind::IsADirectory`], and
/// [`io::ErrorKind::InvalidInput`] for another file that is not a regular one. Otherwise the error
/// of the system.
pub fn read_regular_file(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    // Without the flag, opening a pipe waits for its writer. It has no effect on regular files.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !kind.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let message = format!("it is larger than {} KiB", bytes_max / 1024);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regular_files_alone_are_read_within_the_bound() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        std::fs::write(&file, [b'x'; 2048]).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(read_regular_file(&link, 2048).unwrap().len(), 2048);
        let error = read_regular_file(&file, 2047).unwrap_err();
        assert_eq!(
            (error.kind(), &*error.to_string()),
            (io::ErrorKind::FileTooLarge, "it is larger than 1 KiB")
        );
        let kind = |path: &Path| read_regular_file(path, 2048).unwrap_err().kind();
        assert_eq!(kind(directory.path()), io::ErrorKind::IsADirectory);
        assert_eq!(kind(Path::new("/dev/zero")), io::ErrorKind::InvalidInput);
        assert_eq!(kind(&directory.path().join("none")), io::ErrorKind::NotFound);
    }

    /// Without a writer, a plain open of a pipe never returns.
    #[test]
    fn pipe_without_a_writer_is_rejected_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert_eq!(read_regular_file(&pipe, 2048).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
