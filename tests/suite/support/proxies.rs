//! The real nginx and the real HAProxy, with the configurations of `deploy/`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use tokio::net::TcpStream;

use super::broker::Broker;
use super::directory::{Directory, repository_file};
use super::ports::Port;
use super::programs::{Program, run};
use super::wait::{DEADLINE, eventually};

/// A kind of proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    HaProxy,
}

/// A running proxy in front of two brokers, or twice in front of one.
#[derive(Debug)]
pub struct Proxy {
    program: Program,
    port: Port,
    _directory: Directory,
}

impl Proxy {
    /// Starts a proxy with the shipped configuration, in which each pair's first text is replaced by its second.
    pub async fn start(kind: Kind, brokers: [&Broker; 2], changes: &[(&str, &str)]) -> Self {
        let port = Port::claim();
        let directory = Directory::new();
        let command = kind.command(&directory, &kind.configuration(brokers, &port, changes));
        let program = Program::start(kind.name(), command).ended_politely();
        let proxy = Self { program, port, _directory: directory };
        let what = format!("{} listens", kind.name());
        eventually(&what, DEADLINE, async || TcpStream::connect(proxy.address()).await.is_ok()).await;
        proxy
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::Nginx, Self::HaProxy];

    fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::HaProxy => "haproxy",
        }
    }

    fn configuration(self, [one, two]: [&Broker; 2], port: &Port, changes: &[(&str, &str)]) -> String {
        let (file, listen, server): (_, _, fn(&Broker) -> String) = match self {
            Self::Nginx => ("deploy/nginx.conf", "listen 8080", |broker| broker.address().to_string()),
            Self::HaProxy => ("deploy/haproxy.cfg", "bind :8080", |broker| {
                format!("{} port {}", broker.address(), broker.admin().port())
            }),
        };
        let here = listen.replace(":8080", "8080").replace("8080", &port.address().to_string());
        let (one, two) = (server(one), server(two));
        let own = [(listen, here.as_str()), ("broker-1:8080", &one), ("broker-2:8080", &two)];
        let mut text = repository_file(file);
        for (from, to) in own.iter().chain(changes) {
            assert!(text.contains(from), "{file} has no {from:?}");
            text = text.replace(from, to);
        }
        text
    }

    fn command(self, directory: &Directory, configuration: &str) -> Command {
        match self {
            Self::Nginx => {
                let mut command = Command::new("nginx");
                command
                    .args(["-e", "stderr", "-g", "daemon off;", "-c"])
                    .arg(nginx_main(directory, configuration));
                command
            }
            Self::HaProxy => {
                let mut command = Command::new("haproxy");
                command.args(["-db", "-f"]).arg(directory.write("haproxy.cfg", configuration));
                command
            }
        }
    }
}

/// Has nginx check a configuration for its `http` context.
pub fn check_nginx(configuration: &str) {
    let directory = Directory::new();
    run(Command::new("nginx").args(["-t", "-e", "stderr", "-c"]).arg(nginx_main(&directory, configuration)));
}

/// Writes the configuration around the shipped one, such that nothing outside of the directory is touched.
fn nginx_main(directory: &Directory, configuration: &str) -> PathBuf {
    let included = directory.write("tidings.conf", configuration);
    let root = directory.path().display();
    let included = included.display();
    // Where nginx is started by root, its workers have to stay root to get into the directory; otherwise it ignores
    // the line.
    let text = format!(
        "user root root;
        pid {root}/pid;
        events {{ worker_connections 512; }}
        http {{
            access_log off;
            client_body_temp_path {root}/client;
            proxy_temp_path {root}/proxy;
            fastcgi_temp_path {root}/fastcgi;
            uwsgi_temp_path {root}/uwsgi;
            scgi_temp_path {root}/scgi;
            include {included};
        }}"
    );
    directory.write("nginx.conf", text)
}
