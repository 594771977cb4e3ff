//! A real browser: headless Chromium, driven through chromedriver.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::process::Command;

use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::directory::Directory;
use super::http;
use super::ports::Port;
use super::programs::Program;
use super::wait::{DEADLINE, eventually};

/// A browser with one empty page. It ends with the value.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    session: String,
    _driver: Program,
    port: Port,
    _profile: Directory,
}

impl Browser {
    /// Starts a browser.
    pub async fn start() -> Self {
        let port = Port::claim();
        let profile = Directory::new();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={}", port.number())).env("TMPDIR", profile.path());
        let driver = Program::start("chromedriver", command).ended_politely();
        eventually("chromedriver listens", DEADLINE, async || {
            TcpStream::connect(port.address()).await.is_ok()
        })
        .await;

        // The sandbox does not work as root, and the other flags keep the browser away from all but
        // the test. Over a pipe, the browser notices when its driver has ended, and ends too.
        let arguments = json!([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--disable-sync",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--remote-debugging-pipe",
            format!("--user-data-dir={}", profile.file("profile").display()),
        ]);
        let options = json!({ "args": arguments });
        let capabilities = [
            ("goog:chromeOptions".to_owned(), options),
            ("goog:loggingPrefs".to_owned(), json!({ "browser": "ALL" })),
        ];
        let capabilities = capabilities.into_iter().collect();
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://{}", port.address()))
            .await
            .expect("a browser session");
        let session = client.session_id().await.expect("ask for the session").expect("a session");
        Self { client, session, _driver: driver, port, _profile: profile }
    }

    /// Opens a page.
    pub async fn open(&self, url: &str) {
        self.client.goto(url).await.expect("open the page");
    }

    /// Runs the body of a function in the page and returns its result.
    pub async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Runs a command of the DevTools protocol, such as `Emulation.setEmulatedMedia`.
    pub async fn command(&self, name: &str, parameters: Value) -> Value {
        self.ask("goog/cdp/execute", json!({ "cmd": name, "params": parameters })).await
    }

    /// The entries of the page's console since the last call, with violations of its policy.
    pub async fn console(&self) -> Vec<Value> {
        let entries = self.ask("se/log", json!({ "type": "browser" })).await;
        entries.as_array().expect("a list of entries").clone()
    }

    /// Presses the key that moves the focus.
    pub async fn press_tab(&self) {
        for kind in ["rawKeyDown", "keyUp"] {
            let key = json!({ "type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9 });
            self.command("Input.dispatchKeyEvent", key).await;
        }
    }

    /// Posts a command that the client has no method for.
    async fn ask(&self, path: &str, body: Value) -> Value {
        let target = format!("/session/{}/{path}", self.session);
        let headers = [("content-type", "application/json")];
        let response = http::request(self.port.address(), "POST", &target, &headers, body.to_string()).await;
        assert!(response.status.is_success(), "{path}: {:?}", response.body);
        response.json()["value"].clone()
    }
}

impl Drop for Browser {
    /// Ends the session, which ends the browser before its driver, and waits for that. A running
    /// browser would write into a removed directory.
    fn drop(&mut self) {
        let delete = || -> std::io::Result<()> {
            let mut driver = std::net::TcpStream::connect(self.port.address())?;
            driver.set_read_timeout(Some(DEADLINE))?;
            write!(
                driver,
                "DELETE /session/{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                self.session
            )?;
            // The response comes when the browser has ended; its text does not matter.
            driver.read(&mut [0; 512]).map(drop)
        };
        if let Err(error) = delete() {
            eprintln!("the browser did not end in order: {error}");
        }
    }
}

/// A web server with one page, at an origin of its own.
#[derive(Debug)]
pub struct PageServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl PageServer {
    /// Serves a page at every path.
    pub async fn start(page: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port for the page");
        let address = listener.local_addr().expect("the page's address");
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{page}",
            page.len()
        );
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A browser opens connections that it does not use, so each gets its response in
                // its own time.
                tokio::spawn(answer_once(stream, answer.clone()));
            }
        });
        Self { address, task }
    }

    /// The page's origin, such as `http://127.0.0.1:12345`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for PageServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer_once(mut stream: TcpStream, answer: String) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
