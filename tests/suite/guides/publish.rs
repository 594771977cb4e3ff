//! `docs/guides/publish.md` and `docs/guides/publish-after-a-commit.md`: each block delivers its
//! event.

use super::Document;
use super::terminal::Terminal;
use crate::support::{Broker, BrokerOptions, Event, SseClient};

/// Whether an event is in the log: the position of a live event has a part of its node behind a
/// `~`.
fn is_durable(event: &Event) -> bool {
    !event.id.contains('~')
}

async fn delivers_durably(client: &mut SseClient, text: &str) {
    let event = client.application_event().await;
    assert!(event.data.contains(text), "{event:?} instead of {text}");
    assert!(is_durable(&event), "{event:?}");
}

#[tokio::test]
async fn every_block_of_the_page_publishes() {
    let broker = Broker::start_ready(BrokerOptions::embedded()).await;
    let (document, terminal) = (Document::read("docs/guides/publish.md"), Terminal::beside(&broker));
    let mut client = broker.connect("demo").await;
    client.connected().await;

    let [plain, repeated] = document.blocks("Over HTTP", "sh")[..] else { panic!("two blocks") };
    terminal.run(plain).await;
    delivers_durably(&mut client, "curl").await;
    // The next event shows that the second publication with the same key was none.
    terminal.run(repeated).await;
    terminal.run(repeated).await;
    delivers_durably(&mut client, "ORDER_PAID").await;

    let [function, script, commands] = document.blocks("On Redis", "sh")[..] else { panic!("three blocks") };
    for (lines, text) in [(function, "shell"), (script, "eval"), (commands, "plain")] {
        terminal.run(lines).await;
        delivers_durably(&mut client, text).await;
    }
    for (interpreter, name, text) in [
        ("python", "publish.py", "python"),
        ("node", "publish.mjs", "node"),
        ("ruby", "publish.rb", "ruby"),
        ("php", "publish.php", "php"),
        ("go", "publish.go", "go"),
    ] {
        let id = terminal.program(interpreter, name, document.file(name)).await;
        assert!(id.contains('-'), "{name} prints the id: {id}");
        delivers_durably(&mut client, text).await;
    }

    // No stream here has a user, so the private event reaches none, and the live one is the next.
    terminal.run(document.block("For some users only", "sh")).await;
    terminal.run(document.block("Live events", "sh")).await;
    let live = client.application_event().await;
    assert!(live.data.contains("TYPING") && !is_durable(&live), "{live:?}");

    // The tests of the packages run these.
    for name in ["publish-events.mjs", "publish-over-http.mjs", "publish_events.py"] {
        document.file(name);
    }
    document.every_block_ran(&[]);
}

/// Django with a database of its own, and a model that can fail to save.
const DJANGO: &str = r#"
from django.conf import settings
settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
import django
django.setup()
from django.db import connection, transaction
import rename


class Channel:
    id = "c1"
    fails = False

    def save(self):
        connection.cursor().execute("SELECT 1")
        if self.fails:
            raise ValueError(self.name)


def logged():
    return rename.bus.xlen("workspace:demo")


channel = Channel()
with transaction.atomic():
    rename.rename(channel, "committed")
    assert logged() == 0, "published before the commit"
assert logged() == 1, "not published after the commit"
channel.fails = True
try:
    rename.rename(channel, "rolled back")
    raise SystemExit("saved")
except ValueError:
    assert logged() == 1, "published although nothing was committed"
"#;

/// A relay that dies between the publication and the removal of its row.
const OUTBOX: &str = r#"
import outbox

outbox.rename("c1", "first")
[(row, event)] = outbox.db.execute("SELECT id, event FROM outbox").fetchall()
outbox.relay()
with outbox.db:
    outbox.db.execute("INSERT INTO outbox VALUES (?, ?)", (row, event))
outbox.relay()
outbox.rename("c1", "second")
outbox.relay()
assert outbox.db.execute("SELECT count(*) FROM outbox").fetchone() == (0,)
"#;

#[tokio::test]
async fn django_publishes_after_the_commit_only() {
    let broker = Broker::start_ready(BrokerOptions::embedded()).await;
    let (document, terminal) =
        (Document::read("docs/guides/publish-after-a-commit.md"), Terminal::beside(&broker));
    let mut client = broker.connect("demo").await;
    client.connected().await;
    terminal.write("rename.py", document.file("rename.py"));
    terminal.program("python", "test.py", DJANGO).await;
    delivers_durably(&mut client, "committed").await;

    // Another test runs the outbox, and those of the package for Python the block that uses it.
    document.file("outbox.py");
    document.file("on_commit.py");
    document.every_block_ran(&[]);
}

#[tokio::test]
async fn outbox_publishes_each_row_once_and_in_order() {
    let broker = Broker::start_ready(BrokerOptions::embedded()).await;
    let (document, terminal) =
        (Document::read("docs/guides/publish-after-a-commit.md"), Terminal::beside(&broker));
    let mut client = broker.connect("demo").await;
    client.connected().await;
    terminal.write("outbox.py", document.file("outbox.py"));
    terminal.program("python", "test.py", OUTBOX).await;
    delivers_durably(&mut client, "first").await;
    delivers_durably(&mut client, "second").await;
}
