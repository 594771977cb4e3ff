//! The values of the page on limits, in the real proxies.

use std::process::Command;

use super::Document;
use super::terminal::Terminal;
use crate::support::directory::{Directory, repository_file};
use crate::support::ports::Port;
use crate::support::programs::Program;
use crate::support::proxies::{Kind, Proxy};
use crate::support::{Broker, BrokerOptions, Connect, DEADLINE, RedisServer, SseClient, eventually};

const PAGE: &str = "docs/guides/limits.md";
const STREAMS: usize = 1000;

/// A node with the page's number of connections for 1,000 streams.
async fn node() -> Broker {
    let row = "| `limits.connections` | `1.1 × S` | 1,100 | 11,000 |";
    assert!(repository_file(PAGE).contains(row), "the page has other values");
    Broker::start_ready(BrokerOptions::embedded().set("limits.connections", 1100)).await
}

/// Opens the streams, and checks that each of them gets an event.
async fn carries_the_streams(broker: &Broker, proxy: std::net::SocketAddr) {
    let mut clients = Vec::new();
    for number in 0..STREAMS {
        let mut client = SseClient::connect(proxy, "demo", Connect::default()).await;
        assert_eq!(client.status(), 200, "stream {number}");
        client.connected().await;
        clients.push(client);
    }
    assert_eq!(broker.status().await["subscribers"], STREAMS);
    broker.publish("demo", "to all of them").await;
    for client in &mut clients {
        assert_eq!(client.application_event().await.data, "to all of them");
    }
}

/// Debian's nginx with one worker, which carries all streams, and the soft limit of open files of
/// many systems.
#[tokio::test]
async fn lines_for_nginx_carry_a_thousand_streams() {
    let lines = Document::read(PAGE).block("nginx", "nginx").to_owned();
    let (broker, port, directory) = (node().await, Port::claim(), Directory::new());
    let [pid, temporary] = ["pid", "tmp"].map(|name| directory.path().join(name).display().to_string());
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {temporary}-{kind};\n"))
        .concat();
    let text = format!(
        "daemon off;\nworker_processes 1;\npid {pid};\n{lines}
         http {{
             access_log off;
             {paths}
             server {{
                 listen {};
                 location / {{
                     proxy_pass http://{};
                     proxy_http_version 1.1;
                     proxy_set_header Connection \"\";
                     proxy_buffering off;
                 }}
             }}
         }}\n",
        port.address(),
        broker.address(),
    );
    let file = directory.write("nginx.conf", text);
    let mut nginx = Command::new("sh");
    nginx.args(["-c", "ulimit -Sn 1024; exec nginx -e stderr -c \"$0\""]).arg(file);
    let _nginx = Program::start("nginx", nginx).ended_politely();
    eventually("nginx listens", DEADLINE, async || {
        tokio::net::TcpStream::connect(port.address()).await.is_ok()
    })
    .await;
    carries_the_streams(&broker, port.address()).await;
}

/// The shipped file with the lines in front of it.
#[tokio::test]
async fn lines_for_haproxy_carry_a_thousand_streams() {
    let lines = Document::read(PAGE).block("HAProxy", "haproxy").to_owned();
    let broker = node().await;
    let begin = "\nresolvers system\n";
    let changes = [(begin, format!("\n{lines}{begin}"))];
    let changes = changes.each_ref().map(|(from, to)| (*from, to.as_str()));
    let proxy = Proxy::start(Kind::HaProxy, [&broker, &broker], &changes).await;
    carries_the_streams(&broker, proxy.address()).await;
}

#[tokio::test]
async fn sums_of_the_page_are_those_of_the_program() {
    let document = Document::read(PAGE);
    let server = RedisServer::start().await;
    let broker = Broker::start(BrokerOptions::embedded()).await;
    let terminal = Terminal::beside(&broker).with_redis(&server);
    let settings = document.block("Tidings", "toml");
    let expected = document.block("Tidings", "text");
    let page = repository_file(PAGE);
    for (connections, memory) in [("1100", "786 MiB"), ("11000", "1,018 MiB"), ("37000", "1,628 MiB")] {
        terminal.write(
            "tidings.toml",
            &settings.replace("connections = 11000", &format!("connections = {connections}")),
        );
        // The exit code also depends on the limits of the machine that runs the test.
        let told = terminal.finish("tidings check --config tidings.toml").await.stdout;
        assert!(told.contains(&format!("are {}", memory.replace(',', ""))), "{connections}: {told}");
        assert!(page.contains(memory), "{memory}");
        if connections == "11000" {
            for line in expected.lines().filter(|line| line.contains(" are ")) {
                assert!(told.contains(line), "{line}: {told}");
            }
        }
    }
    assert!(document.block("Check it", "sh").starts_with("tidings check --config tidings.toml\n"));
    for (heading, language) in [("nginx", "nginx"), ("HAProxy", "haproxy")] {
        document.block(heading, language);
    }
    document.every_block_ran(&[]);
}
