//! A name server, and programs that ask it.

use std::net::Ipv4Addr;
use std::process::Command;

use nix::sys::signal::Signal;

use super::directory::Directory;
use super::ports::Port;
use super::programs::Program;
use super::wait::{DEADLINE, eventually};

/// A dnsmasq on an address of its own, at port 53.
#[derive(Debug)]
pub struct NameServer {
    address: Ipv4Addr,
    program: Program,
    directory: Directory,
    _claim: Port,
}

impl NameServer {
    /// Starts a server that knows these names. Responses may be kept for a second.
    pub async fn start(names: &[(&str, Ipv4Addr)]) -> Self {
        // Port 53 is the only one that every resolver asks at. The claimed port makes the address
        // one of its own.
        let claim = Port::claim();
        let [high, low] = claim.number().to_be_bytes();
        let address = Ipv4Addr::new(127, 53, high, low);
        let directory = Directory::new();
        let hosts = directory.write("hosts", lines(names));
        directory.write("resolv.conf", format!("nameserver {address}\n"));
        let mut command = Command::new("dnsmasq");
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--bind-interfaces",
        ]);
        command.args(["--user=root", "--pid-file=", "--local-ttl=1", "--log-facility=-", "--local=/#/"]);
        command.arg(format!("--listen-address={address}")).arg(format!("--addn-hosts={}", hosts.display()));
        let mut program = Program::start("dnsmasq", command);
        eventually("dnsmasq has read its names", DEADLINE, async || {
            assert!(program.is_running(), "dnsmasq ended; port 53 is for root alone");
            program.log().contains("hosts - ")
        })
        .await;
        Self { address, program, directory, _claim: claim }
    }

    /// The address, at which port 53 is the server.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Forgets all names and learns these.
    pub fn set(&self, names: &[(&str, Ipv4Addr)]) {
        self.directory.write("hosts", lines(names));
        self.program.signal(Signal::SIGHUP);
    }

    /// The command in a view of the file system whose `/etc/resolv.conf` names this server. Only
    /// root can make one.
    pub fn view(&self, command: &Command) -> Command {
        let mut viewing = Command::new("unshare");
        let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
        viewing.args(["--mount", "sh", "-c", script]).arg(self.directory.file("resolv.conf"));
        viewing.arg(command.get_program()).args(command.get_args());
        viewing.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(directory) = command.get_current_dir() {
            viewing.current_dir(directory);
        }
        viewing
    }
}

fn lines(names: &[(&str, Ipv4Addr)]) -> String {
    names.iter().map(|(name, address)| format!("{address} {name}\n")).collect()
}
