//! A network namespace of Linux, behind a link that a test can interrupt. Needs root, and `ip` of
//! iproute2.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use super::ports::Port;
use super::programs::run;

/// The networks of namespaces begin here, four addresses for each.
const NETWORKS: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 0);

/// A namespace with one interface, linked to this machine. It ends with the value.
#[derive(Debug)]
pub struct Namespace {
    /// Its number makes names and addresses that no other namespace has.
    port: Port,
}

impl Namespace {
    /// Makes a namespace with its link.
    pub fn make() -> Self {
        let namespace = Self { port: Port::claim() };
        let (name, [outer, inner]) = (namespace.name(), namespace.interfaces());
        let address = |address: Ipv4Addr| format!("{address}/30");
        ip(&["netns", "add", &name]);
        ip(&["link", "add", &outer, "type", "veth", "peer", "name", &inner, "netns", &name]);
        ip(&["address", "add", &address(namespace.outside()), "dev", &outer]);
        ip(&["link", "set", &outer, "up"]);
        ip(&["-n", &name, "address", "add", &address(namespace.inside()), "dev", &inner]);
        namespace.mend();
        namespace
    }

    /// The address of this machine on the link.
    pub fn outside(&self) -> Ipv4Addr {
        self.address(1)
    }

    /// The address of the namespace.
    pub fn inside(&self) -> Ipv4Addr {
        self.address(2)
    }

    /// From now on packets get lost in both directions.
    pub fn interrupt(&self) {
        ip(&["-n", &self.name(), "link", "set", &self.interfaces()[1], "down"]);
    }

    /// Ends an interruption.
    pub fn mend(&self) {
        ip(&["-n", &self.name(), "link", "set", &self.interfaces()[1], "up"]);
    }

    /// A command that runs a program in the namespace, under the process id of the command.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name()]).arg(program);
        command
    }

    fn address(&self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(NETWORKS) + 4 * u32::from(self.port.number()) + number)
    }

    fn name(&self) -> String {
        format!("tidings-{}", self.port.number())
    }

    fn interfaces(&self) -> [String; 2] {
        ["o", "i"].map(|end| format!("tidings{}{end}", self.port.number()))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The link ends with it.
        let _ = Command::new("ip").args(["netns", "delete", &self.name()]).status();
    }
}

fn ip(arguments: &[&str]) {
    run(Command::new("ip").args(arguments));
}
