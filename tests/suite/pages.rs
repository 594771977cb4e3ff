//! The code for pages that guides show, in pages that Vite serves to a real browser.

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

/// The modules that guides show, and the guide of each.
const MODULES: [(&str, &str); 8] = [
    ("browser-and-react", "events.js"),
    ("browser-and-react", "state.js"),
    ("browser-and-react", "fetched-events.js"),
    ("development-servers", "vite.config.js"),
    ("migrate", "before.js"),
    ("migrate", "after.js"),
    ("react-native", "polyfill.js"),
    ("react-native", "native.js"),
];

/// The code block of a guide that begins with this comment.
fn code(guide: &str, file: &str) -> String {
    let document = repository_file(&format!("docs/guides/{guide}.md"));
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
        for (guide, file) in MODULES {
            let mut text = code(guide, file);
            // Shorter times, so that the test is short.
            for (name, from, to) in [
                ("events.js", "SILENCE_MS = 40_000", "SILENCE_MS = 4_000".to_owned()),
                ("vite.config.js", "http://127.0.0.1:8080", format!("http://{}", broker.address())),
                ("native.js", "SILENCE_MS = 40_000", "SILENCE_MS = 4_000".to_owned()),
                // The entry of this package is CommonJS around a module, which React Native's
                // bundler joins and Vite does not.
                ("native.js", "'react-native-sse'", "'react-native-sse/src/EventSource.js'".to_owned()),
                ("vite.config.js", "3000", "200".to_owned()),
            ] {
                assert!(file != name || text.contains(from), "{file} has no {from:?}");
                if file == name {
                    text = text.replace(from, &to);
                }
            }
            directory.write(file, text);
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

    /// Opens the page with a module of the guides, and waits for the `connected` event.
    async fn open(&self, module: &str) {
        self.begin(module).await;
        self.sees("connected", 1).await;
    }

    /// Opens the page with a module of the guides.
    async fn begin(&self, module: &str) {
        let hash = format!("{module}%20http://{}{STREAM}", self.port.address());
        self.browser.open(&format!("http://{}/#{hash}", self.port.address())).await;
    }

    /// How many streams the node has.
    async fn streams(&self) -> u64 {
        self.broker.status().await["subscribers"].as_u64().unwrap()
    }

    /// Waits until the node has so many streams.
    async fn has_streams(&self, wanted: u64) {
        let what = format!("{wanted} streams");
        eventually(&what, DEADLINE, async || self.streams().await == wanted).await;
    }

    /// Waits until the newest EventSource of the page has this `readyState`.
    async fn source_is(&self, state: u64) {
        let what = format!("readyState {state}");
        eventually(&what, 2 * DEADLINE, async || {
            self.value("return window.source?.readyState ?? null").await == state
        })
        .await;
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
    assert_eq!(page.streams().await, 1);
    page.browser.open("about:blank").await;
    page.has_streams(0).await;
    eventually("the page is shown again", DEADLINE, async || {
        page.value("if (location.href === 'about:blank') history.back()").await;
        page.value("return window.shown?.at(-1) ?? null").await == true
    })
    .await;
    page.has_streams(1).await;
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

#[tokio::test]
async fn event_source_polyfill_comes_back_to_a_restarted_node() {
    let mut page = Page::prepare().await;
    page.open("polyfill").await;
    assert_eq!(page.broker.terminate(DEADLINE).await, Some(0));
    page.broker.restart().await;
    page.sees("connected", 2).await;
    page.broker.publish("demo", "after").await;
    page.sees("after", 1).await;
}

#[tokio::test]
async fn react_native_sse_reconnects_after_an_end_and_a_break() {
    let mut page = Page::prepare().await;
    page.open("native").await;
    page.broker.publish("demo", "before").await;
    page.sees("before", 1).await;
    assert_eq!(page.broker.terminate(DEADLINE).await, Some(0));
    page.broker.restart().await;
    page.sees("connected", 2).await;
    // The node forgot its log.
    page.sees("reset", 1).await;
    // Silence, of which the library itself takes no notice.
    page.broker.signal(nix::sys::signal::Signal::SIGSTOP);
    let opened =
        "performance.getEntriesByType('resource').filter((e) => e.name.includes('last_event_id')).length";
    eventually("a new stream of the watchdog", 2 * DEADLINE, async || {
        page.value(&format!("return {opened}")).await != 0
    })
    .await;
    page.broker.signal(nix::sys::signal::Signal::SIGCONT);
    page.sees("connected", 3).await;
    page.broker.publish("demo", "after").await;
    page.sees("after", 1).await;
}

#[tokio::test]
async fn state_is_loaded_again_after_a_reset() {
    let mut page = Page::prepare().await;
    page.begin("state").await;
    page.sees(r#"{"load":1}"#, 1).await;
    page.broker.publish("demo", r#"{"type":"name","value":"a"}"#).await;
    page.sees(r#"{"load":1,"name":"a"}"#, 1).await;

    // The node forgets its log, and the second load takes until an event has come.
    page.value("window.held = new Promise((done) => { window.release = done; })").await;
    page.broker.restart().await;
    eventually("the second load begins", 2 * DEADLINE, async || page.value("return window.loads").await == 2)
        .await;
    page.broker.publish("demo", r#"{"type":"name","value":"b"}"#).await;
    eventually("the page has the event", DEADLINE, async || {
        page.value("return window.received.at(-1).includes('\"b\"')").await == true
    })
    .await;
    page.value("window.release()").await;
    page.sees(r#"{"load":2,"name":"b"}"#, 1).await;
    let seen = page.value("return window.seen").await;
    assert!(!seen.as_array().unwrap().contains(&r#"{"load":2}"#.into()), "the event was left out: {seen}");
}

#[tokio::test]
async fn page_that_closes_in_onerror_stays_silent() {
    for (module, returns) in [("before", false), ("after", true)] {
        let mut page = Page::prepare().await;
        page.open(module).await;
        assert_eq!(page.broker.terminate(DEADLINE).await, Some(0));
        // An EventSource that is open when its stream ends waits first, whatever comes of it.
        page.source_is(if returns { 0 } else { 2 }).await;
        page.broker.restart().await;
        if returns {
            page.sees("connected", 2).await;
        } else {
            assert_eq!(page.value("return window.source.readyState").await, 2);
        }
    }
}

#[test]
fn every_module_of_the_guides_is_run() {
    for guide in ["browser-and-react", "development-servers", "migrate", "react-native"] {
        let document = repository_file(&format!("docs/guides/{guide}.md"));
        let named = document.split("```js\n// ").skip(1).map(|rest| rest.lines().next().unwrap());
        for file in named {
            assert!(MODULES.contains(&(guide, file)), "{guide}: {file} is not run");
        }
    }
}
