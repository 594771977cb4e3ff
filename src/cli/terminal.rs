//! The terminal on which a node was started. It sends SIGHUP when it closes, which otherwise asks
//! for a reload.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::fs::OFlags;

/// The controlling terminal of the process.
const TERMINAL: &str = "/dev/tty";

/// Whether a node ends with its terminal.
#[derive(Debug, Clone, Copy)]
pub(super) struct StartTerminal {
    ends_node: bool,
}

impl StartTerminal {
    /// Looks at the process before it watches for SIGHUP. A node ends with its terminal, unless
    /// `nohup` started it, which ignores that signal.
    pub(super) fn of_process() -> Self {
        Self { ends_node: is_there() && !ignores_hangup() }
    }

    /// Whether the node has to end because its terminal has closed.
    pub(super) fn has_closed(self) -> bool {
        self.ends_node && !is_there()
    }
}

/// Whether the process has a controlling terminal. The system takes it away when it closes.
fn is_there() -> bool {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    OpenOptions::new().read(true).custom_flags(flags).open(TERMINAL).is_ok()
}

/// Whether the process ignores SIGHUP, as its parent has set it.
#[cfg(target_os = "linux")]
fn ignores_hangup() -> bool {
    const HANGUP_BIT: u64 = 1 << (rustix::process::Signal::HUP.as_raw() - 1);
    let status = procfs::process::Process::myself().and_then(|process| process.status());
    status.is_ok_and(|status| status.sigign & HANGUP_BIT != 0)
}

#[cfg(not(target_os = "linux"))]
fn ignores_hangup() -> bool {
    false
}
