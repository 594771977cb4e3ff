//! Child processes that end with their test.

use std::fs::File;
use std::io::PipeReader;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::pty;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::directory::Directory;
use super::executable::executable;
use super::wait::eventually_some;

/// How much of a program's output is shown when its test fails, in bytes.
const SHOWN_BYTES_MAX: usize = 16 * 1024;
/// How long a program that was asked to end may take before it is killed.
const POLITE_END: Duration = Duration::from_secs(3);

/// A running program. What it writes to stdout and stderr goes to one file, and is shown when the
/// test fails. When the value goes out of scope, so does the program.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
    /// Asked to end by SIGTERM first, for programs that have children of their own.
    polite: bool,
    _directory: Directory,
}

/// Where a program writes.
#[derive(Debug, Clone)]
pub struct Sink(Arc<OwnedFd>);

impl Sink {
    /// Any open file.
    pub fn new(target: impl Into<OwnedFd>) -> Self {
        Self(Arc::new(target.into()))
    }

    /// A full disk.
    pub fn full_disk() -> Self {
        Self::new(File::options().write(true).open("/dev/full").expect("open /dev/full"))
    }

    /// A pipe of which the reader is gone.
    pub fn closed_pipe() -> Self {
        Self::pipe().0
    }

    /// A pipe, which takes 64 KiB before it has to be read.
    pub fn pipe() -> (Self, PipeReader) {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        (Self::new(writer), reader)
    }

    /// A terminal, and the other end of it, where its output is read.
    pub fn terminal() -> (Self, File) {
        // Closed in programs: a terminal ends with the last handle of this end.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let master = pty::posix_openpt(flags).expect("a terminal");
        pty::grantpt(&master).expect("a terminal of this user");
        pty::unlockpt(&master).expect("a terminal that can be opened");
        let name = pty::ptsname_r(&master).expect("the name of a terminal");
        let mut options = File::options();
        options.read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits());
        let slave = options.open(name).expect("open a terminal");
        (Self::new(slave), File::from(OwnedFd::from(master)))
    }

    /// Returns a further handle, for a child process.
    pub fn stdio(&self) -> Stdio {
        self.0.try_clone().expect("a second handle of a sink").into()
    }
}

impl Program {
    /// Starts a program. Messages use `name`.
    pub fn start(name: &str, command: Command) -> Self {
        let directory = Directory::new();
        let log = directory.file("log");
        let file = Sink::new(File::create(&log).expect("create the log"));
        Self::start_in(name, command, directory, log, &file, Stdio::null())
    }

    /// Starts a program with an open file as its standard input.
    pub fn start_reading_from(name: &str, command: Command, input: &Sink) -> Self {
        let directory = Directory::new();
        let log = directory.file("log");
        let file = Sink::new(File::create(&log).expect("create the log"));
        Self::start_in(name, command, directory, log, &file, input.stdio())
    }

    /// Starts a program that writes to `sink`; its log stays empty.
    pub fn start_writing_to(name: &str, command: Command, sink: &Sink) -> Self {
        let directory = Directory::new();
        let log = directory.file("log");
        Self::start_in(name, command, directory, log, sink, Stdio::null())
    }

    fn start_in(
        name: &str,
        mut command: Command,
        directory: Directory,
        log: PathBuf,
        sink: &Sink,
        input: Stdio,
    ) -> Self {
        let child =
            command.stdin(input).stdout(sink.stdio()).stderr(sink.stdio()).spawn().unwrap_or_else(|error| {
                panic!("start {name} ({}): {error}", command.get_program().display())
            });
        Self { name: name.to_owned(), child, log, polite: false, _directory: directory }
    }

    /// Ends the program by SIGTERM, and by SIGKILL only if that does not help: for programs that
    /// have children, which would otherwise stay.
    pub fn ended_politely(mut self) -> Self {
        self.polite = true;
        self
    }

    /// All that the program wrote so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the program has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("ask for the exit status").is_none()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.raw_pid(), signal).unwrap_or_else(|error| panic!("{signal} to {}: {error}", self.name));
    }

    /// Stops the program in its tracks: it stays connected and says nothing more (SIGSTOP).
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets a frozen program go on (SIGCONT).
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Ends the program at once (SIGKILL).
    pub fn kill(&mut self) {
        // Both fail only for a program that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for the end of the program. Fails the test when it does not come within the time.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        eventually_some(&what, within, async || self.child.try_wait().expect("ask for the exit status")).await
    }

    /// Asks the program to end (SIGTERM) and returns its exit code, `None` when a signal ended it.
    pub async fn terminate(&mut self, within: Duration) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.ended(within).await.code()
    }

    fn raw_pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"))
    }

    /// Waits for a program that was asked to end. Blocks, and is for the end of a test only.
    fn wait_politely(&mut self) {
        let _ = kill(self.raw_pid(), Signal::SIGTERM);
        let deadline = Instant::now() + POLITE_END;
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.polite && matches!(self.child.try_wait(), Ok(None)) {
            self.wait_politely();
        }
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let start = log.ceil_char_boundary(log.len().saturating_sub(SHOWN_BYTES_MAX));
            eprintln!("--- {} wrote ---\n{}\n--- end of {} ---", self.name, &log[start..], self.name);
        }
    }
}

/// Where `scripts/install-test-clients` puts the libraries of other languages: in the target
/// directory.
pub fn installed(what: &str) -> PathBuf {
    let mut places = executable().ancestors().map(|folder| folder.join("test-clients").join(what));
    places
        .find(|path| path.exists())
        .expect("the client libraries for tests are not installed; run scripts/test")
}

/// An example of the package `tidings`, which `cargo test` builds unless its arguments exclude it.
pub fn example(name: &str) -> PathBuf {
    let path = executable().with_file_name("examples").join(name);
    if !path.exists() {
        run(Command::new(env!("CARGO")).args(["build", "--quiet", "--locked", "--example", name]));
    }
    path
}

/// Runs a command to its end and returns what it wrote to stdout. Fails the test when the command
/// fails.
pub fn run(command: &mut Command) -> String {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("start {}: {error}", command.get_program().display()));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
