//! The cost of an open page of the console, with as many workspaces as streams.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};

use super::clients::{Coming, ScaleClients};
use super::figures::print;
use super::patience::PATIENCE;
use super::support::{Broker, eventually, http};
use super::{ALONE, quiet};

const WORKSPACES: usize = 10_000;

const TOKEN: &str = "a token for the console";

/// The time over which the processor is measured, with an open page and without one.
const MEASURED: Duration = Duration::from_secs(20);

/// The interval at which the page asks for its list.
const LIST: Duration = Duration::from_secs(2);

/// The most that the page may take of a core, in percent. A program without optimization on a busy
/// machine takes far more than its release.
const PERCENT_MAX: f64 = 10.0;

/// The processor time of a process, in seconds (`proc(5)`).
fn processor_seconds(broker: &Broker) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", broker.pid())).unwrap();
    let (_, behind) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = behind.split(' ').collect();
    // The fields 14 and 15 of the line, in ticks of a hundredth of a second.
    [11, 12].iter().map(|&field| fields[field].parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

/// The part of a core that a broker takes while something goes on, in percent.
async fn percent(broker: &Broker, work: impl Future<Output = ()>) -> f64 {
    let (before, began) = (processor_seconds(broker), Instant::now());
    tokio::select! {
        () = work => panic!("the work ended"),
        () = tokio::time::sleep(MEASURED) => {}
    }
    (processor_seconds(broker) - before) * 100.0 / began.elapsed().as_secs_f64()
}

/// Reads the stream of figures, and the list of workspaces, as the page does.
async fn page(broker: &Broker) {
    let authorization = format!("Bearer {TOKEN}");
    let mut feed = TcpStream::connect(broker.admin()).await.unwrap();
    let request = format!(
        "GET /api/console/stream HTTP/1.1\r\nHost: {}\r\nAuthorization: {authorization}\r\n\r\n",
        broker.admin()
    );
    feed.write_all(request.as_bytes()).await.unwrap();
    let read = async {
        let mut buffer = vec![0; 64 * 1024];
        while feed.read(&mut buffer).await.unwrap() > 0 {}
    };
    let list = async {
        let mut ticks = interval(LIST);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let orders = ["connections", "events", "bytes"].iter().cycle();
        for order in orders {
            ticks.tick().await;
            let path = format!("/api/console/workspaces?sort={order}&search=w&limit=100");
            let headers = [("authorization", authorization.as_str())];
            let response = http::request(broker.admin(), "GET", &path, &headers, "").await;
            assert_eq!(response.json()["matched"], WORKSPACES, "{order}");
        }
    };
    tokio::select! {
        () = read => panic!("the stream of figures ended"),
        () = list => {}
    }
}

#[tokio::test]
async fn console_with_10_000_workspaces_costs_little() {
    let _alone = ALONE.lock().await;
    let broker = Broker::start_ready(quiet().set("admin.token", TOKEN)).await;
    let mut crowd = ScaleClients::of(broker.address());
    for number in 0..WORKSPACES {
        crowd.come(&format!("w{number}"), Coming::in_order(1), |_| {});
    }
    // A moment after it is confirmed, a workspace is read once more.
    let reads = async || broker.metric("tidings_log_read_seconds_count").await.expect("a metric");
    let mut last = reads().await;
    eventually("no log is read any more", PATIENCE, async || {
        tokio::time::sleep(Duration::from_secs(3)).await;
        std::mem::replace(&mut last, reads().await) == last
    })
    .await;
    let idle = percent(&broker, std::future::pending()).await;
    let open = percent(&broker, page(&broker)).await;
    print(&format!(
        "console: {WORKSPACES} workspaces and streams take {idle:.2} % of a core, and {open:.2} % with a page open"
    ));
    assert!(open - idle < PERCENT_MAX, "{open} % with a page, {idle} % without one");
}
