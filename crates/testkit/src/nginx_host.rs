//! `deploy/nginx-host.conf` in Debian's nginx, with an application behind it.

use std::path::Path;
use std::process::Command;

use super::broker::Broker;
use super::directory::{Directory, repository_file};
use super::ports::Port;
use super::programs::Program;
use super::tls::Certificates;
use super::wait::{DEADLINE, eventually};

/// Responds to every request with its path.
const APP: &str = "
    const server = require('http').createServer((request, answer) => answer.end(`the app at ${request.url}`));
    server.listen(Number(process.argv[1]), '127.0.0.1');
";

/// The proxy, and the application.
#[derive(Debug)]
pub struct NginxHost {
    _nginx: Program,
    _app: Program,
    certificates: Certificates,
    port: Port,
    _others: [Port; 2],
    _directory: Directory,
}

impl NginxHost {
    /// Starts both, and waits until the application responds through nginx.
    pub async fn start(broker: &Broker) -> Self {
        Self::start_with(broker, "").await
    }

    /// The same, with one more location.
    pub async fn start_with(broker: &Broker, location: &str) -> Self {
        Self::launch(&format!("server {}", broker.address()), location).await
    }

    /// The same as [`Self::start`], with a broker at a socket in the file system.
    pub async fn start_unix(path: &Path) -> Self {
        Self::launch(&format!("server unix:{}", path.display()), "").await
    }

    async fn launch(server: &str, location: &str) -> Self {
        let (port, plain, app_port) = (Port::claim(), Port::claim(), Port::claim());
        let (directory, certificates) = (Directory::new(), Certificates::make());
        let mut text = repository_file("deploy/nginx-host.conf");
        for (from, to) in [
            ("listen 443 ssl", format!("listen {} ssl", port.address())),
            ("listen 80;", format!("listen {};", plain.address())),
            ("server 127.0.0.1:8080", server.to_owned()),
            ("http://127.0.0.1:3000", format!("http://{}", app_port.address())),
            ("/etc/ssl/certs/app.example.com.pem", certificates.certificate.display().to_string()),
            ("/etc/ssl/private/app.example.com.key", certificates.key.display().to_string()),
            ("server_name app.example.com;", "server_name localhost;".to_owned()),
            ("    location / {", format!("{location}\n    location / {{")),
        ] {
            assert!(text.contains(from), "no {from:?}");
            text = text.replace(from, &to);
        }
        let main = main_file(&directory, &text);
        let mut nginx = Command::new("nginx");
        nginx.args(["-e", "stderr", "-g", "daemon off;", "-c"]).arg(directory.write("nginx.conf", main));
        let mut app = Command::new("node");
        app.args(["-e", APP, &app_port.number().to_string()]);
        let host = Self {
            _nginx: Program::start("nginx", nginx).ended_politely(),
            _app: Program::start("the app", app),
            certificates,
            port,
            _others: [plain, app_port],
            _directory: directory,
        };
        let answers = async || host.request("GET", "/").await.starts_with("HTTP/2 200");
        eventually("the app answers through nginx", DEADLINE, answers).await;
        host
    }

    /// Makes a request; returns head and body as text, nothing where there is no response.
    pub async fn request(&self, method: &str, path: &str) -> String {
        let mut curl = self.curl(path);
        curl.args(["--max-time", "5", "--request", method]);
        if method == "POST" {
            curl.args(["--data", "{}"]);
        }
        let output = tokio::process::Command::from(curl).output().await.expect("start curl");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Opens the stream of a workspace, with cookies; its bytes are in the log of the program.
    pub fn stream(&self, workspace: &str, cookie: &str) -> Program {
        let mut curl = self.curl(&format!("/api/workspaces/{workspace}/events"));
        curl.args(["--cookie", cookie]);
        Program::start("curl", curl)
    }

    /// Opens the stream at a path.
    pub fn open(&self, path: &str) -> Program {
        Program::start("curl", self.curl(path))
    }

    fn curl(&self, path: &str) -> Command {
        curl_over_http2(self.port.number(), path, &self.certificates.authority)
    }
}

/// A curl that asks `https://localhost` by HTTP/2 and trusts this authority alone.
pub fn curl_over_http2(port: u16, path: &str, authority: &Path) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["--no-progress-meter", "--no-buffer", "--include", "--http2"]);
    curl.args(["--resolve", &format!("localhost:{port}:127.0.0.1"), "--header", "Accept: text/event-stream"]);
    curl.arg("--cacert").arg(authority).arg(format!("https://localhost:{port}{path}"));
    curl
}

/// The configuration around the shipped one, such that nothing outside of the directory is touched.
fn main_file(directory: &Directory, text: &str) -> String {
    let included = directory.write("tidings.conf", text);
    let root = directory.path().display();
    // Where nginx is started by root, its workers have to stay root to get into the directory;
    // otherwise it ignores the line.
    format!(
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
            include {};
        }}",
        included.display()
    )
}
