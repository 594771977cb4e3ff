//! The code that `docs/clients.md` shows, in pages that Vite serves to a real browser.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::browser::Browser;
use crate::support::directory::{Directory, repository_file};
use crate::support::http::try_request;
use crate::support::ports::Port;
use crate::support::programs::{Program, installed};
use crate::support::{Broker, BrokerOptions, DEADLINE, eventually};

const STREAM: &str = "/api/workspaces/demo/events";
/// How long Vite may take to start on a busy machine.
const SLOW: Duration = Duration::from_secs(60);

/// The code block of the document that begins with this comment.
fn code(file: &str) -> String {
    let document = repository_file("docs/clients.md");
    let (_, rest) =
        document.split_once(&format!("```js\n// {file}\n")).unwrap_or_else(|| panic!("no {file}"));
    rest.split_once("\n```").unwrap().0.to_owned()
}

/// A page in a browser, the Vite that serves it, and a broker behind that.
struct Page {
    browser: Browser,
    broker: Broker,
    port: Port,
    _vite: Program,
    _directory: Directory,
}

impl Page {
    async fn prepare() -> Self {
        let options = BrokerOptions::embedded().set("sse.heartbeat_seconds", 1).set("sse.retry_ms", 200);
        let options = options.set("server.drain_delay_seconds", 0).set("server.drain_seconds", 0.1);
        let broker = Broker::start_ready(options).await;
        let (directory, port) = (Directory::new_in(&installed("node")), Port::claim());
        for file in ["index.html", "main.js"] {
            directory.write(file, repository_file(&format!("tests/clients/pages/{file}")));
        }
        // Shorter times, so that the test is short.
        for (file, from, to) in [
            ("events.js", "SILENCE_MS = 40_000", "SILENCE_MS = 4_000".to_owned()),
            ("fetched-events.js", "", String::new()),
            ("vite.config.js", "http://127.0.0.1:8080", format!("http://{}", broker.address())),
        ] {
            let text = code(file);
            assert!(text.contains(from), "{file} has no {from:?}");
            directory.write(file, text.replacen(from, &to, 1).replace("3000", "200"));
        }
        directory.write("package.json", r#"{"private":true,"type":"module"}"#);
        let mut vite = Command::new("node");
        vite.arg(fs::canonicalize(installed("node/node_modules/vite/bin/vite.js")).unwrap());
        vite.args(["--host", "127.0.0.1", "--strictPort", "--port", &port.number().to_string()]);
        let vite = Program::start("vite", {
            vite.current_dir(directory.path());
            vite
        });
        eventually("vite serves", SLOW, async || {
            try_request(port.address(), "GET", "/main.js", &[], "").await.is_ok()
        })
        .await;
        let browser = Browser::start().await;
        Self { browser, broker, port, _vite: vite, _directory: directory }
    }

    /// Opens the page with a module of the document, and waits for the hello.
    async fn open(&self, module: &str) {
        let hash = format!("{module}%20http://{}{STREAM}", self.port.address());
        self.browser.open(&format!("http://{}/#{hash}", self.port.address())).await;
        self.sees("connected", 1).await;
    }

    async fn value(&self, script: &str) -> Value {
        self.browser.run(script).await
    }

    /// Waits until the page has seen a text so often.
    async fn sees(&self, text: &str, times: usize) {
        let what = format!("{text} for the time number {times}");
        eventually(&what, 2 * DEADLINE, async || {
            let seen = self.value("return window.seen ?? []").await;
            let count =
                seen.as_array().unwrap().iter().filter(|data| data.as_str().unwrap().contains(text)).count();
            count >= times
        })
        .await;
    }
}

#[tokio::test]
async fn an_event_source_behind_vite_outlives_its_broker() {
    let mut page = Page::prepare().await;
    page.open("EventSource").await;
    page.broker.kill();
    page.sees("unavailable", 1).await;
    page.broker.restart().await;
    page.sees("connected", 2).await;
    assert_eq!(page.value("return window.source.readyState").await, 1);
}

#[tokio::test]
async fn a_watchdog_finds_a_stream_that_fell_silent() {
    let page = Page::prepare().await;
    page.open("events").await;
    let id = page.broker.publish("demo", "before").await;
    page.sees("before", 1).await;
    page.broker.signal(nix::sys::signal::Signal::SIGSTOP);
    let opened =
        format!("performance.getEntriesByType('resource').filter((e) => e.name.includes('{id}')).length");
    eventually("a new stream from the last id", DEADLINE, async || {
        page.value(&format!("return {opened}")).await != 0
    })
    .await;
    page.broker.signal(nix::sys::signal::Signal::SIGCONT);
    page.sees("connected", 2).await;
    page.broker.publish("demo", "after").await;
    page.sees("after", 1).await;
}

#[tokio::test]
async fn a_page_that_is_left_gives_its_stream_up() {
    let page = Page::prepare().await;
    page.open("events").await;
    let streams = async || page.broker.status().await["subscribers"].as_u64().unwrap();
    assert_eq!(streams().await, 1);
    page.browser.open("about:blank").await;
    eventually("the stream is given up", DEADLINE, async || streams().await == 0).await;
    eventually("the page is shown again", DEADLINE, async || {
        page.value("if (location.href === 'about:blank') history.back()").await;
        page.value("return window.shown?.at(-1) ?? null").await == true
    })
    .await;
    eventually("the stream is open again", DEADLINE, async || streams().await == 1).await;
}

#[tokio::test]
async fn fetch_event_source_comes_back_after_a_clean_end() {
    let mut page = Page::prepare().await;
    page.open("fetched").await;
    assert_eq!(page.broker.terminate(DEADLINE).await, Some(0));
    page.broker.restart().await;
    page.sees("connected", 2).await;
    page.broker.publish("demo", "after").await;
    page.sees("after", 1).await;
}
