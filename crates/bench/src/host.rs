//! Data of the kernel about a server on this machine: its process, its CPU time and its memory
//! (proc(5)).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::Serialize;

/// Ticks of the kernel's clock for CPU time (`USER_HZ`): 100 a second on every architecture of this
/// program.
const TICK: Duration = Duration::from_millis(10);

/// The state of a socket that listens, in the tables of `/proc/net`.
const LISTENING: &str = "0A";

/// Processes whose use is counted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processes(BTreeSet<u32>);

/// What processes use, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in user space and in the kernel since they were started.
    pub cpu: Duration,
    /// Memory of their own and their share of what they have in common with others.
    pub memory: Memory,
}

/// Memory, in KiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Resident (`VmRSS`).
    pub rss_kib: u64,
    /// Resident, where pages that several processes share count in part (`Pss`).
    pub pss_kib: u64,
}

/// The machine on which this process runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: usize,
    /// Kernel, its release, and the architecture.
    pub system: String,
    /// The model of the processor, if the kernel reports it.
    pub processor: Option<String>,
    /// The memory, if the kernel reports it.
    pub memory_mib: Option<u64>,
}

impl Machine {
    /// Reads small files of `/proc`.
    #[must_use]
    pub fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let kernel = ["ostype", "osrelease"].map(|name| read(&format!("/proc/sys/kernel/{name}")));
        let kernel = kernel.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
        let system = kernel.chain([std::env::consts::ARCH]).collect::<Vec<_>>().join(" ");
        let processor = read("/proc/cpuinfo").lines().find_map(|line| {
            let (name, model) = line.split_once(':')?;
            (name.trim() == "model name").then(|| model.trim().to_owned())
        });
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let memory_mib = field(&read("/proc/meminfo"), "MemTotal:").map(|kib| kib / 1024);
        Self { cores, system, processor, memory_mib }
    }
}

/// Why it is not known what a server uses.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// It runs elsewhere.
    #[error("the server is not on this machine")]
    Elsewhere,
    /// The kernel does not report it.
    #[error("/proc cannot be read: {0}")]
    Untold(#[from] io::Error),
    /// The process that listens cannot be found.
    #[error(
        "no process of this user listens on port {0}; those of other users cannot be seen: name it with --pid"
    )]
    Hidden(u16),
}

impl Processes {
    /// This process, which need not be the one that listens, and its present descendants.
    ///
    /// # Errors
    ///
    /// If the kernel does not report it.
    pub fn family(pid: u32) -> io::Result<Self> {
        let mut parents = Vec::new();
        for process in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            // A process may end meanwhile.
            let stat = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
            parents.extend(parent(&stat).map(|parent| (pid, parent)));
        }
        let (mut family, mut new) = (BTreeSet::new(), vec![pid]);
        while let Some(member) = new.pop() {
            if family.insert(member) {
                new.extend(parents.iter().filter(|(_, parent)| *parent == member).map(|(pid, _)| *pid));
            }
        }
        Ok(Self(family))
    }

    /// Those that listen on an address. Only processes of the same user can be seen.
    ///
    /// # Errors
    ///
    /// [`Unknown`] says why none was found.
    pub fn listening_on(address: SocketAddr) -> Result<Self, Unknown> {
        if !is_local(address.ip()) {
            return Err(Unknown::Elsewhere);
        }
        let mut sockets = BTreeSet::new();
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            // Without IPv6 there is no such table.
            let text = fs::read_to_string(table).unwrap_or_default();
            sockets.extend(text.lines().filter_map(listener).filter(|l| l.0 == address.port()).map(|l| l.1));
        }
        let targets: BTreeSet<String> = sockets.iter().map(|inode| format!("socket:[{inode}]")).collect();
        let mut found = BTreeSet::new();
        for process in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // Of other users' processes the kernel shows no files.
            let Ok(files) = fs::read_dir(process.path().join("fd")) else { continue };
            let holds = |file: fs::DirEntry| {
                fs::read_link(file.path())
                    .is_ok_and(|target| target.to_str().is_some_and(|target| targets.contains(target)))
            };
            if files.flatten().any(holds) {
                found.insert(pid);
            }
        }
        if found.is_empty() { Err(Unknown::Hidden(address.port())) } else { Ok(Self(found)) }
    }

    /// Their ids, in order.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        self.0.iter().copied()
    }

    /// What they use now, all together.
    ///
    /// # Errors
    ///
    /// When one of them is gone, or is another user's.
    pub fn usage(&self) -> io::Result<Usage> {
        let mut sum = Usage::default();
        for pid in self.pids() {
            let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}"));
            let strange = || io::Error::other("a file in /proc has another form than expected");
            sum.cpu += cpu(&read("stat")?).ok_or_else(strange)?;
            sum.memory.rss_kib += field(&read("status")?, "VmRSS:").ok_or_else(strange)?;
            sum.memory.pss_kib += field(&read("smaps_rollup")?, "Pss:").ok_or_else(strange)?;
        }
        Ok(sum)
    }
}

/// How many files this process may have open.
///
/// # Errors
///
/// If the kernel does not report it.
pub fn open_files_max() -> io::Result<u64> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    Ok(soft.and_then(|soft| soft.parse().ok()).unwrap_or(u64::MAX))
}

/// Whether an address is one of this machine's own.
fn is_local(ip: IpAddr) -> bool {
    // Only addresses of this machine can be bound.
    ip.is_loopback() || std::net::UdpSocket::bind((ip, 0)).is_ok()
}

/// The port and the inode of a socket that listens, from a line of `/proc/net/tcp`.
fn listener(line: &str) -> Option<(u16, u64)> {
    let mut fields = line.split_whitespace();
    let (_, port) = fields.nth(1)?.rsplit_once(':')?;
    (fields.nth(1)? == LISTENING).then_some(())?;
    Some((u16::from_str_radix(port, 16).ok()?, fields.nth(5)?.parse().ok()?))
}

/// The parent in `/proc/PID/stat`.
fn parent(stat: &str) -> Option<u32> {
    let (_, behind_name) = stat.rsplit_once(") ")?;
    behind_name.split(' ').nth(1)?.parse().ok()
}

/// The CPU time in `/proc/PID/stat`. The second field is the program's name in parentheses, which
/// may hold anything.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, behind_name) = stat.rsplit_once(") ")?;
    let mut fields = behind_name.split(' ').skip(11);
    let (user, system): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(TICK * user.checked_add(system)?)
}

/// A value in KiB, from a line such as `VmRSS:     1234 kB`.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.trim().parse().ok())
}

/// The address of the loopback network for the connection of this number. Many addresses offer
/// enough ports for connections to one target. `None` for a target elsewhere: the kernel chooses.
#[must_use]
pub fn source_of(number: usize, target: SocketAddr) -> Option<IpAddr> {
    /// A port range of 28,232, which is Linux's own choice, is enough for 400,000 connections then.
    const SOURCES: usize = 16;
    match target.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => {
            let last = u8::try_from(1 + number % SOURCES).unwrap_or(1);
            Some(Ipv4Addr::new(127, 0, 0, last).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
