//! Logs on disk: one file, whose form and crash safety are redb's.
//!
//! A file holds the number of its form, entries by log and id, a header for each log, and the
//! values beside logs. After a crash it has all of a commit, or nothing of it.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use redb::backends::FileBackend;
use redb::{
    Database as Redb, Durability, ReadableDatabase, ReadableTable, StorageError, Table, TableDefinition,
    TableHandle,
};

use crate::log::{Fields, Header, LogChange, Logs, StreamEntry, StreamTally};
use tidings_event::EntryId;

/// The number of the form that is written below.
const FORM: u64 = 2;

/// The memory of redb. The logs are in memory anyway; this is for waiting writes.
const CACHE_BYTES: usize = 16 << 20;

type Id = (u64, u64);
/// Last id, newest lost entry, end in milliseconds, whether an `EXPIRE` set the end.
type StoredHeader = (Id, Option<Id>, u64, bool);

const FORMS: TableDefinition<'_, &str, u64> = TableDefinition::new("form");
const HEADERS: TableDefinition<'_, &[u8], StoredHeader> = TableDefinition::new("logs");
const ENTRIES: TableDefinition<'_, (&[u8], Id), &[u8]> = TableDefinition::new("entries");
/// The values beside logs by kind and key, and until when each is kept, in milliseconds.
const BESIDE: TableDefinition<'_, (u8, &[u8]), (&str, u64)> = TableDefinition::new("beside");

/// An open file of logs. No other process can open it.
#[derive(Debug)]
pub(crate) struct Database(Redb);

/// Why the logs on disk cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the file open.
    #[error("the log {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The file is damaged, or is none of ours.
    #[error("the log {} is damaged or no log ({reason}): move it away to start with an empty one", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The mistake.
        reason: String,
    },
    /// The file was written by another version of the program.
    #[error("the log {} was written by another version of Tidings", .0.display())]
    OtherVersion(PathBuf),
    /// The file cannot be read or written.
    #[error("the log {} cannot be opened: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        reason: String,
    },
    /// The thread that keeps the logs did not start.
    #[error("the logs cannot be kept: {0}")]
    Thread(String),
}

/// Checks whether the embedded bus can keep its logs in a file. It reads a file that is there, and
/// otherwise tries to create one in its directory. Leaves no new file. Blocks.
///
/// # Errors
///
/// The [`OpenError`] with which the bus would not start; [`OpenError::InUse`] if one runs.
pub fn examine_log(path: &Path) -> Result<(), OpenError> {
    Database::examine(path)
}

impl Database {
    /// Opens a file, or creates it, and checks all of it. Blocks.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let file = open_file(path)
            .map_err(|error| OpenError::Io { path: path.to_owned(), reason: error.to_string() })?;
        let database = FileBackend::new(file)
            .and_then(|file| {
                Redb::builder()
                    .set_cache_size(CACHE_BYTES)
                    // Without it a page that was altered on disk would count as written.
                    .set_check_integrity_on_open(true)
                    .create_with_backend(file)
            })
            .map_err(|error| open_error(path, error.into()))?;
        let database = Self(database);
        match database.form() {
            Ok(Some(FORM)) => Ok(database),
            Ok(Some(_)) => Err(OpenError::OtherVersion(path.to_owned())),
            Ok(None) => Err(damaged(path, "it belongs to another program")),
            Err(error) => Err(open_error(path, error)),
        }
    }

    /// Checks whether a file can be opened, or created where there is none. Leaves no new file.
    /// Blocks.
    ///
    /// # Errors
    ///
    /// The [`OpenError`] with which the bus would not start.
    fn examine(path: &Path) -> Result<(), OpenError> {
        let io = |error: io::Error| OpenError::Io { path: path.to_owned(), reason: error.to_string() };
        if path.try_exists().map_err(io)? {
            return Self::open(path)?.close().map_err(|error| open_error(path, error));
        }
        // Another name, so that a bus that starts at this moment is not disturbed.
        let mut trial = path.as_os_str().to_owned();
        trial.push(format!(".{}.check", std::process::id()));
        File::options().write(true).create_new(true).open(&trial).map_err(io)?;
        std::fs::remove_file(&trial).map_err(io)
    }

    /// The form of the file, which a new one gets; `None` for a file of another program.
    fn form(&self) -> Result<Option<u64>, redb::Error> {
        let transaction = self.0.begin_write()?;
        let is_new = transaction.list_tables()?.next().is_none();
        let is_ours = transaction.list_tables()?.any(|table| table.name() == FORMS.name());
        if !is_new && !is_ours {
            return Ok(None);
        }
        let mut forms = transaction.open_table(FORMS)?;
        let form = forms.get("form")?.map(|form| form.value());
        if is_new {
            forms.insert("form", FORM)?;
            transaction.open_table(HEADERS)?;
            transaction.open_table(ENTRIES)?;
            transaction.open_table(BESIDE)?;
        }
        drop(forms);
        transaction.commit()?;
        Ok(if is_new { Some(FORM) } else { form })
    }

    /// Reads the whole file into `logs`. Blocks. `path` is for errors.
    pub(crate) fn load(&self, path: &Path, logs: &mut Logs) -> Result<(), OpenError> {
        match self.read(logs) {
            Ok(true) => Ok(()),
            Ok(false) => Err(damaged(path, "an entry is not whole")),
            Err(error) => Err(open_error(path, error)),
        }
    }

    /// Returns whether all of it was valid.
    fn read(&self, logs: &mut Logs) -> Result<bool, redb::Error> {
        let transaction = self.0.begin_read()?;
        let entries = transaction.open_table(ENTRIES)?;
        for row in transaction.open_table(HEADERS)?.iter()? {
            let (key, header) = row?;
            let log = key.value();
            let mut list = VecDeque::new();
            for row in entries.range((log, (0, 0))..=(log, (u64::MAX, u64::MAX)))? {
                let (key, fields) = row?;
                let Some(fields) = Fields::from_stored(Bytes::copy_from_slice(fields.value())) else {
                    return Ok(false);
                };
                list.push_back(StreamEntry { id: from_stored(key.value().1), fields });
            }
            let header = header_from_stored(header.value());
            if list.back().is_some_and(|newest| newest.id > header.tally.last) {
                return Ok(false);
            }
            logs.restore(log, header, list);
        }
        for row in transaction.open_table(BESIDE)?.iter()? {
            let (key, stored) = row?;
            let ((kind, key), (value, until)) = (key.value(), stored.value());
            if logs.restore_beside(kind, key, value, until).is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Stores changes as one. Once this returns they are kept over a crash of the process and of
    /// the machine, if `durable`; otherwise when the next durable ones are. Blocks.
    pub(crate) fn store(&self, changes: &[LogChange], durable: bool) -> Result<(), redb::Error> {
        let mut transaction = self.0.begin_write()?;
        transaction.set_durability(if durable { Durability::Immediate } else { Durability::None })?;
        {
            let mut headers = transaction.open_table(HEADERS)?;
            let mut entries = transaction.open_table(ENTRIES)?;
            let mut beside = transaction.open_table(BESIDE)?;
            for change in changes {
                match change {
                    LogChange::Appended { log, entry } => {
                        entries.insert((&**log, to_stored(entry.id)), entry.fields.as_stored())?;
                    }
                    LogChange::Trimmed { log, first } => remove_before(&mut entries, log, *first)?,
                    LogChange::Removed { log } => {
                        remove_before(&mut entries, log, None)?;
                        headers.remove(&**log)?;
                    }
                    LogChange::Header { log, header } => {
                        headers.insert(&**log, header_to_stored(header))?;
                    }
                    LogChange::Beside { kind, key, value: Some((value, until)) } => {
                        beside.insert((*kind as u8, &**key), (&**value, *until))?;
                    }
                    LogChange::Beside { kind, key, value: None } => {
                        beside.remove((*kind as u8, &**key))?;
                    }
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Closes the file. Blocks.
    pub(crate) fn close(self) -> Result<(), redb::Error> {
        Ok(self.0.close()?)
    }
}

/// Opens a file that only its owner may read, and makes sure that a new one is found again after a
/// crash.
fn open_file(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(file)
}

/// Removes a log's entries before an id, or all of them.
fn remove_before(
    entries: &mut Table<'_, (&'static [u8], Id), &'static [u8]>,
    log: &[u8],
    first: Option<EntryId>,
) -> Result<(), StorageError> {
    let none_of_it = |_: (&[u8], Id), _: &[u8]| false;
    match first {
        Some(first) => entries.retain_in((log, (0, 0))..(log, to_stored(first)), none_of_it),
        None => entries.retain_in((log, (0, 0))..=(log, (u64::MAX, u64::MAX)), none_of_it),
    }
}

fn to_stored(id: EntryId) -> Id {
    (id.milliseconds, id.sequence)
}

fn from_stored((milliseconds, sequence): Id) -> EntryId {
    EntryId { milliseconds, sequence }
}

fn header_to_stored(header: &Header) -> StoredHeader {
    let StreamTally { last, lost } = header.tally;
    (to_stored(last), lost.map(to_stored), header.ends, header.is_set)
}

fn header_from_stored((last, lost, ends, is_set): StoredHeader) -> Header {
    let tally = StreamTally { last: from_stored(last), lost: lost.map(from_stored) };
    Header { tally, ends, is_set }
}

fn damaged(path: &Path, reason: &str) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), reason: reason.to_owned() }
}

fn open_error(path: &Path, error: redb::Error) -> OpenError {
    match error {
        redb::Error::DatabaseAlreadyOpen => OpenError::InUse(path.to_owned()),
        redb::Error::UpgradeRequired(_) => OpenError::OtherVersion(path.to_owned()),
        redb::Error::Io(error) if error.kind() != std::io::ErrorKind::InvalidData => {
            OpenError::Io { path: path.to_owned(), reason: error.to_string() }
        }
        other => damaged(path, &other.to_string()),
    }
}

#[cfg(test)]
mod tests;
