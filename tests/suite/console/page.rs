//! The page in a browser.

use serde_json::{Value, json};

use super::{TOKEN, options, read};
use crate::support::browser::Browser;
use crate::support::http;
use crate::support::sse::Connect;
use crate::support::token::{JWT, bearer, token};
use crate::support::{Broker, BrokerOptions, DEADLINE, RedisServer, eventually, eventually_some};

/// A script that clicks the last button with a text: those of a dialog come last.
fn click(text: &str) -> String {
    format!(
        "[...document.querySelectorAll('button')].filter((button) => button.textContent === '{text}').at(-1).click()"
    )
}

/// Opens the console in a browser, and signs in by its form.
pub(super) async fn signed_in(options: BrokerOptions) -> (Browser, Broker) {
    let (browser, broker) = tokio::join!(Browser::start(), Broker::start_ready(options));
    browser.open(&format!("http://{}/", broker.admin())).await;
    wait_for(&browser, "the form", "return document.querySelector('input[name=token]') !== null").await;
    let script = format!(
        "document.querySelector('input[name=token]').value = '{TOKEN}'; document.querySelector('form button').click()"
    );
    browser.run(&script).await;
    wait_for(&browser, "the overview", "return document.querySelector('h1')?.textContent === 'Overview'")
        .await;
    (browser, broker)
}

/// Waits until a script returns true.
pub(super) async fn wait_for(browser: &Browser, what: &str, script: &str) {
    eventually(what, DEADLINE, async || browser.run(script).await == true).await;
}

async fn text(browser: &Browser) -> String {
    browser.run("return document.querySelector('main').innerText").await.as_str().unwrap().to_owned()
}

/// Opens a view, and waits until it has some text.
pub(super) async fn show(browser: &Browser, view: &str, expected: &str) -> String {
    browser.run(&format!("location.hash = '#/{view}'")).await;
    eventually_some(&format!("{view} has {expected:?}"), DEADLINE, async || {
        Some(text(browser).await).filter(|text| text.contains(expected))
    })
    .await
}

/// Nothing that the page did was an error, or against its policy.
pub(super) async fn is_clean(browser: &Browser) {
    let entries = browser.console().await;
    let faults: Vec<_> = entries
        .iter()
        // The first request of a page without a session is rejected, which the browser reports.
        .filter(|entry| !entry["message"].as_str().unwrap().contains("401 (Unauthorized)"))
        .collect();
    assert!(faults.is_empty(), "{faults:?}");
}

#[tokio::test]
async fn page_shows_the_node_without_errors() {
    let (browser, broker) = signed_in(options()).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    broker.publish("acme", r#"{"type":"CREATED","n":1}"#).await;
    client.application_event().await;
    wait_for(
        &browser,
        "the figures",
        "return [...document.querySelectorAll('.tile')].some((tile) => tile.innerText.includes('1 stream in 1 workspace'))",
    )
    .await;
    wait_for(&browser, "the state", "return document.getElementById('status').textContent === 'Ready'").await;
    let label = browser.run("return document.querySelector('.plot title').textContent").await;
    assert!(label.as_str().unwrap().starts_with("Connections"), "a plot has a text: {label}");
    show(&browser, "workspaces", "acme").await;
    let shown = show(&browser, "workspaces/acme", "CREATED").await;
    assert!(shown.contains("Streams (1)") && shown.contains("1 event,"), "{shown}");
    let folded = browser.run("return document.querySelector('details').open").await;
    assert_eq!(folded, false);
    show(&browser, "try", "redis-cli -p").await;
    is_clean(&browser).await;
}

/// A text that a client chose is never a part of the page.
#[tokio::test]
async fn script_in_payload_and_user_is_shown_as_text() {
    let settings = JWT.iter().fold(options(), |options, (key, value)| options.set(key, value));
    let (browser, broker) = signed_in(settings).await;
    let script = "<img src=x onerror=\"document.title='stolen'\"><script>document.title='stolen'</script>";
    let of_user = token(script, &["acme"], 60, &json!({}));
    let mut client =
        broker.connect_with("acme", Connect::default().header("Authorization", &bearer(&of_user))).await;
    client.connected().await;
    let payload = json!({ "type": script, "text": script }).to_string();
    let authorization = bearer(&of_user);
    let response = crate::support::http::request(
        broker.address(),
        "POST",
        "/api/workspaces/acme/events",
        &[("Authorization", &authorization)],
        payload.clone(),
    )
    .await;
    assert_eq!(response.status, 200);
    client.application_event().await;
    let shown = show(&browser, "workspaces/acme", script).await;
    assert!(shown.matches(script).count() >= 2, "the type of the event, and the user: {shown}");
    browser.run("document.querySelector('details').open = true").await;
    let shown = browser.run("return document.querySelector('details pre').textContent").await;
    assert_eq!(shown, payload);
    let ban = "[...document.querySelectorAll('button')].find((button) => button.textContent === 'Ban user…').click(); \
               return document.querySelector('dialog').innerText";
    assert!(browser.run(ban).await.as_str().unwrap().contains(script));
    let made = "return document.querySelectorAll('main img, main script, dialog img, dialog script').length";
    assert_eq!(browser.run(made).await, 0);
    let title = browser.run("return document.title").await;
    assert_ne!(title, "stolen");
    is_clean(&browser).await;
}

#[tokio::test]
async fn page_disconnects_a_stream_after_a_confirmation() {
    let (browser, broker) = signed_in(options()).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    show(&browser, "workspaces/acme", "Streams (1)").await;
    browser.run(&click("Disconnect…")).await;
    browser.run(&click("Cancel")).await;
    wait_for(&browser, "the question is gone", "return document.querySelector('dialog') === null").await;
    assert!(client.end().is_none(), "nothing happens without a confirmation");
    browser.run(&click("Disconnect…")).await;
    browser.run(&click("Disconnect")).await;
    client.event_named("tidings.reconnect").await;
    show(&browser, "workspaces/acme", "No stream is open.").await;
    is_clean(&browser).await;
}

#[tokio::test]
async fn page_bans_a_user_after_a_confirmation() {
    let mut options = options();
    for (key, value) in JWT {
        options = options.set(key, value);
    }
    let (browser, broker) = signed_in(options).await;
    let credentials = bearer(&token("ann", &["acme"], 600, &json!({})));
    let mut client =
        broker.connect_with("acme", Connect::default().header("Authorization", &credentials)).await;
    client.connected().await;
    show(&browser, "workspaces/acme", "Streams (1)").await;
    browser.run(&click("Ban user…")).await;
    browser.run(&click("Ban")).await;
    wait_for(&browser, "the ban is sent", "return document.querySelector('dialog') === null").await;
    eventually("the user is refused", DEADLINE, async || {
        let headers = [("authorization", credentials.as_str())];
        http::request(broker.address(), "GET", "/api/workspaces/acme/access", &headers, "").await.status
            == 403
    })
    .await;
    is_clean(&browser).await;
}

/// Another page may lead here with any text after `#`.
#[tokio::test]
async fn address_of_the_page_makes_no_command_and_no_error() {
    let (browser, _broker) = signed_in(options()).await;
    show(&browser, "try/x;touch%20y;%23", "A workspace has 1 to 128 characters").await;
    let shown =
        "return [...document.querySelectorAll('.command')].filter((command) => command.offsetParent).length";
    assert_eq!(browser.run(shown).await, 0);
    show(&browser, "workspaces/%", "Workspaces").await;
    is_clean(&browser).await;
}

#[tokio::test]
async fn workspaces_of_dots_and_without_streams_open_from_the_search() {
    let (browser, broker) = signed_in(options()).await;
    broker.publish("quiet", "1").await;
    show(&browser, "workspaces", "Search by name").await;
    for id in ["quiet", ".."] {
        let search = format!(
            "const field = document.querySelector('input[name=search]'); field.value = '{id}'; \
             field.dispatchEvent(new Event('input'))"
        );
        browser.run(&search).await;
        let link = format!(
            "return [...document.querySelectorAll('main a')].some((link) => link.textContent === 'Open {id}')"
        );
        wait_for(&browser, "the link", &link).await;
        let click = format!(
            "[...document.querySelectorAll('main a')].find((link) => link.textContent === 'Open {id}').click()"
        );
        browser.run(&click).await;
        wait_for(&browser, "the page", &format!("return document.title.startsWith('{id} ')")).await;
        let expected = if id == "quiet" { "1 event" } else { "0 events" };
        eventually("the log is shown", DEADLINE, async || text(&browser).await.contains(expected)).await;
        show(&browser, "workspaces", "Search by name").await;
    }
    is_clean(&browser).await;
}

#[tokio::test]
async fn page_lists_the_bans() {
    let (browser, broker) = signed_in(options()).await;
    show(&browser, "bans", "There is no ban.").await;
    let body = json!({ "disconnect": { "user": "ann<b>", "for": 3600 } }).to_string();
    assert_eq!(super::ask(&broker, "POST", "/api/console/disconnect", &body).await.status, 202);
    let shown = show(&browser, "bans", "ann<b>").await;
    assert!(shown.contains("1 ban.") && shown.contains("any") && shown.contains("(in "), "{shown}");
    is_clean(&browser).await;
}

#[tokio::test]
async fn page_tries_a_stream_and_a_publication() {
    let (browser, broker) = signed_in(options()).await;
    show(&browser, "try/my-workspace", "curl -N").await;
    let set = "const set = (name, value) => { const field = document.querySelector(`[name=${name}]`); field.value = value; \
               field.dispatchEvent(new Event('input')) }; set('type', 'IT\\'S'); set('data', '{\"n\": [1, 2]}')";
    browser.run(set).await;
    browser.run(&click("Open a stream")).await;
    wait_for(
        &browser,
        "the connected event",
        "return document.getElementById('received').innerText.includes('connected')",
    )
    .await;
    browser.run(&click("Publish")).await;
    wait_for(
        &browser,
        "the event",
        "return document.getElementById('received').innerText.includes('[1, 2]')",
    )
    .await;
    let commands = browser
        .run("return [...document.querySelectorAll('.command pre')].map((pre) => pre.textContent)")
        .await;
    let commands: Vec<String> = serde_json::from_value(commands).unwrap();
    let [watch, publish, live] = &commands[..] else { panic!("{commands:?}") };
    assert_eq!(*watch, format!("curl -N 'http://{}/api/workspaces/my-workspace/events'", broker.address()));
    // The printed commands do the same as the page.
    let mut client = broker.connect("my-workspace").await;
    client.connected().await;
    for command in [publish, live] {
        let mut shell = std::process::Command::new("sh");
        crate::support::programs::run(shell.arg("-c").arg(command));
        assert_eq!(client.application_event().await.data, r#"{"type":"IT'S","n": [1, 2]}"#);
    }
    let found = read(&broker, "/api/console/workspaces/my-workspace").await;
    assert_eq!(found["log"]["length"], 2, "one by the page, one by curl: {found}");
    is_clean(&browser).await;
}

#[tokio::test]
async fn page_fits_into_a_narrow_window() {
    let (browser, broker) = signed_in(options()).await;
    browser
        .command(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": false }),
        )
        .await;
    let long = "w".repeat(128);
    let mut client = broker.connect(&long).await;
    client.connected().await;
    broker.publish(&long, &json!({ "type": "T".repeat(200), "text": "x".repeat(2000) }).to_string()).await;
    client.application_event().await;
    let views = [
        ("overview", "Reasons"),
        ("workspaces", &long),
        (&*format!("workspaces/{long}"), "TTTT"),
        ("explain", "Last-Event-ID"),
        ("nodes", "of 1 nodes"),
        ("try", "curl"),
    ];
    for (view, expected) in views {
        show(&browser, view, expected).await;
        browser
            .run("document.querySelectorAll('details').forEach((details) => { details.open = true })")
            .await;
        let width = browser.run("return document.scrollingElement.scrollWidth").await;
        assert!(width.as_u64().unwrap() <= 360, "{view}: {width}");
    }
    is_clean(&browser).await;
}

/// The colours of texts against their ground, by the formula of WCAG 2.2.
const CONTRASTS: &str = r#"
  const channel = (value) => { const part = value / 255; return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4 };
  const numbers = (color) => color.match(/[\d.]+/g).map(Number);
  const light = (color) => { const [r, g, b] = numbers(color); return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b) };
  const ground = (element) => { for (let at = element; at; at = at.parentElement) {
    const color = getComputedStyle(at).backgroundColor; const [, , , alpha = 1] = numbers(color); if (alpha === 1) return color; } return 'rgb(255, 255, 255)' };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const poor = [];
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || element.closest('noscript, svg') || !element.checkVisibility()) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(ground(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5 && !element.disabled) poor.push(`${element.textContent.slice(0, 30)}: ${contrast.toFixed(2)}`);
  }
  return [poor, getComputedStyle(document.documentElement).backgroundColor];
"#;

#[tokio::test]
async fn texts_have_contrast_in_both_colour_schemes() {
    let (browser, broker) = signed_in(options()).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    broker.publish("acme", r#"{"type":"T"}"#).await;
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        browser.command("Emulation.setEmulatedMedia", features).await;
        for (view, expected) in [
            ("overview", "Reasons"),
            ("workspaces", "acme"),
            ("workspaces/acme", "durable"),
            ("explain", "Last-Event-ID"),
            ("nodes", "of 1 nodes"),
            ("try", "curl"),
        ] {
            show(&browser, view, expected).await;
            let found = browser.run(CONTRASTS).await;
            assert_eq!(found[0], json!([]), "{scheme} {view}");
            grounds.push(found[1].as_str().unwrap().to_owned());
        }
    }
    assert_ne!(grounds.first(), grounds.last(), "the schemes differ");
}

#[tokio::test]
async fn keyboard_reaches_every_control_and_leaves_it() {
    let (browser, broker) = signed_in(options()).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    broker.publish("acme", r#"{"type":"T"}"#).await;
    show(&browser, "workspaces/acme", "durable").await;
    let wanted = "return [...document.querySelectorAll('a[href], button:not(:disabled), input, select, textarea, summary, [tabindex=\"0\"]')] \
                  .filter((element) => element.checkVisibility()).length";
    let wanted = browser.run(wanted).await.as_u64().unwrap();
    browser.run("document.activeElement.blur(); window.reached = new Set()").await;
    // Each control once, and then the first again: no part of the page keeps the focus.
    for _ in 0..wanted * 2 {
        browser.press_tab().await;
        let state = browser
            .run(
                "const at = document.activeElement; if (at === document.body) return null; window.reached.add(at); \
                 return getComputedStyle(at).outlineStyle",
            )
            .await;
        assert!(state.is_null() || state == "solid", "the focus is visible: {state}");
    }
    let reached = browser.run("return window.reached.size").await.as_u64().unwrap();
    assert!(reached >= wanted, "{reached} of {wanted}");
    let landmarks = "return ['header', 'nav[aria-label]', 'main', 'footer'].every((tag) => document.querySelector(tag)) \
                     && [...document.querySelectorAll('table')].every((table) => table.caption) \
                     && document.querySelectorAll('h1').length === 1 && document.documentElement.lang === 'en'";
    assert_eq!(browser.run(landmarks).await, true);
}

#[tokio::test]
async fn page_shows_a_lost_bus_and_a_lost_session() {
    let mut server = RedisServer::start().await;
    let options = BrokerOptions::redis(&server).set("admin.token", TOKEN);
    let (browser, broker) = signed_in(options).await;
    server.stop();
    let shown = eventually_some("the warning", DEADLINE, async || {
        Some(text(&browser).await).filter(|text| text.contains("To fix it:"))
    })
    .await;
    assert!(shown.contains("no link"), "{shown}");
    let leave = "document.getElementById('leave').click()";
    browser.run(leave).await;
    wait_for(&browser, "the form", "return document.querySelector('input[name=token]') !== null").await;
    assert!(text(&browser).await.contains("signed out"));
    let log = broker.log();
    assert!(!log.contains(TOKEN));
    let hidden: Value = browser.run("return document.cookie").await;
    assert_eq!(hidden, "", "no script reads the cookie");
}
