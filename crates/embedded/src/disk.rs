//! When logs are synced to disk, and what happens when the disk fails.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::disk::database::{Database, OpenError};
use crate::log::{LogChange, Logs};
use crate::settings::LogSync;

pub(crate) mod database;

/// The interval of attempts after a failure.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The interval of writes without a need for one; Linux writes its own buffers as often
/// (`dirty_expire_centisecs`).
const LAZY_INTERVAL: Duration = Duration::from_secs(30);

/// The file of the logs, and how safely it is written.
#[derive(Debug, Clone)]
pub(crate) struct DiskSettings {
    pub(crate) path: PathBuf,
    pub(crate) sync: LogSync,
}

/// The logs' file, while it can be written and while it cannot.
#[derive(Debug)]
pub(crate) struct Disk {
    settings: DiskSettings,
    database: Result<Database, DiskFailure>,
    /// Changes were stored that a crash would take back.
    is_ahead: bool,
    synced: Instant,
}

#[derive(Debug)]
struct DiskFailure {
    error: String,
    tried: Instant,
}

impl Disk {
    /// Opens the file and reads it into `logs`. Blocks.
    pub(crate) fn open(settings: DiskSettings, logs: &mut Logs) -> Result<Self, OpenError> {
        let database = Database::open(&settings.path)?;
        database.load(&settings.path, logs)?;
        Ok(Self { settings, database: Ok(database), is_ahead: false, synced: Instant::now() })
    }

    /// Whether the file can be written, as far as is known.
    pub(crate) fn is_sound(&self) -> bool {
        self.database.is_ok()
    }

    /// Stores changes, as safely as the settings ask for. Blocks. After an error nothing is stored
    /// before [`Self::reopen`] succeeds.
    pub(crate) fn store(&mut self, changes: &[LogChange]) -> Result<(), String> {
        let interval = match self.settings.sync {
            LogSync::Always => Duration::ZERO,
            LogSync::EverySecond => Duration::from_secs(1),
            LogSync::No => LAZY_INTERVAL,
        };
        let durable = self.synced.elapsed() >= interval;
        if changes.is_empty() && !(durable && self.is_ahead) {
            return self.database.as_ref().map(drop).map_err(|failure| failure.error.clone());
        }
        self.write(changes, durable)
    }

    fn write(&mut self, changes: &[LogChange], durable: bool) -> Result<(), String> {
        let database = self.database.as_ref().map_err(|failure| failure.error.clone())?;
        match database.store(changes, durable) {
            Ok(()) => {
                self.is_ahead = !durable;
                if durable {
                    self.synced = Instant::now();
                }
                Ok(())
            }
            Err(error) => {
                let error = error.to_string();
                self.database = Err(DiskFailure { error: error.clone(), tried: Instant::now() });
                Err(error)
            }
        }
    }

    /// After a failure of the disk, tries it again now and then. If it can be read, returns true
    /// and reads it into `logs`, which is empty. Blocks.
    pub(crate) fn reopen(&mut self, logs: &mut Logs) -> bool {
        match &mut self.database {
            Err(failure) if failure.tried.elapsed() >= RETRY_INTERVAL => failure.tried = Instant::now(),
            _ => return false,
        }
        match Self::open(self.settings.clone(), logs) {
            Ok(disk) => {
                *self = disk;
                true
            }
            Err(error) => {
                tracing::debug!(%error, "the log still cannot be opened");
                false
            }
        }
    }

    /// Writes the waiting changes, and closes the file. Blocks.
    pub(crate) fn close(&mut self) -> Result<(), String> {
        if self.is_ahead {
            self.write(&[], true)?;
        }
        let closed = DiskFailure { error: "the log is closed".to_owned(), tried: Instant::now() };
        match std::mem::replace(&mut self.database, Err(closed)) {
            Ok(database) => database.close().map_err(|error| error.to_string()),
            Err(_) => Ok(()),
        }
    }
}
