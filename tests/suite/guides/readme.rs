//! `README.md`: the page shows what the commands publish.

use super::Document;
use super::terminal::Terminal;
use crate::support::browser::Browser;
use crate::support::directory::repository_file;
use crate::support::{Broker, BrokerOptions, DEADLINE, eventually};

#[tokio::test]
async fn page_of_the_readme_shows_published_events() {
    let document = Document::read("README.md");
    let [start, publish] = document.blocks("Run it", "sh")[..] else { panic!("two blocks") };
    assert_eq!(start, "TIDINGS__CORS__ORIGINS='*' cargo run --release\n");
    let broker = Broker::start_ready(BrokerOptions::embedded().set("cors.origins", "*")).await;
    let terminal = Terminal::beside(&broker);
    terminal.write("index.html", document.block("Run it", "html"));
    let browser = Browser::start().await;
    browser.open(&format!("file://{}/index.html", terminal.path().display())).await;
    let shows = async |text: &str| {
        eventually(text, DEADLINE, async || {
            browser.run("return document.body.textContent").await.as_str().unwrap().contains(text)
        })
        .await;
    };
    shows("\"connected\"").await;
    terminal.run(publish).await;
    shows(r#"{"type":"GREETING","text":"hello"}"#).await;
    shows(r#"{"type":"TYPING","user":"u1"}"#).await;
    document.every_block_ran(&[]);
}

#[test]
fn first_pages_are_short() {
    for (path, lines) in [("README.md", 150), ("docs/quickstart.md", 250), ("docs/concepts.md", 250)] {
        let length = repository_file(path).lines().count();
        assert!(length <= lines, "{path} has {length} lines");
    }
    let guides = crate::support::directory::repository().join("docs/guides");
    let readme = repository_file("README.md");
    for entry in std::fs::read_dir(guides).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(text.lines().count() <= 250, "{name} is too long");
        let is_linked = readme.contains(&format!("docs/guides/{name}")) || name.starts_with("route-in-");
        assert!(is_linked, "README.md does not link {name}");
    }
}
