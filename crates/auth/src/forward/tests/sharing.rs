//! Many clients at the same time.

use tokio::sync::Semaphore;

use super::*;
use crate::DenialKind;

/// An app that responds once for each permit.
async fn gated_app() -> (TestApp, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let app = TestApp::start(move |_| {
        let gate = Arc::clone(&opened);
        async move {
            gate.acquire().await.unwrap().forget();
            response(200, &[])
        }
    })
    .await;
    (app, gate)
}

/// Sends a request in a task.
fn auth_request(
    auth: &ForwardAuth,
    tasks: &mut JoinSet<Result<Decision, Denial>>,
    user: &str,
) -> tokio::task::AbortHandle {
    // One address may not use all slots.
    let last: u8 = user.bytes().fold(0, u8::wrapping_add);
    let (auth, auth_request) = (auth.clone(), from(auth, user, &format!("192.0.2.{last}")));
    tasks.spawn(async move { auth.ask(&acme(), Action::Subscribe, &auth_request).await })
}

/// Clients with the same credentials share one request to the app.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_with_equal_requests_share_one() {
    let (app, gate) = gated_app().await;
    let auth = app.auth();
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        auth_request(&auth, &mut tasks, "u1");
    }
    eventually("the request", || app.asked() == 1 && auth.0.in_flight.waiting() == 50).await;
    gate.add_permits(1);
    while let Some(outcome) = tasks.join_next().await {
        outcome.unwrap().unwrap();
    }
    assert_eq!(app.asked(), 1);
    assert_eq!(auth.0.in_flight.open_requests(), 0);
}

#[tokio::test]
async fn request_goes_on_when_its_first_client_leaves() {
    let (app, gate) = gated_app().await;
    let auth = app.auth();
    let mut tasks = JoinSet::new();
    let first = auth_request(&auth, &mut tasks, "u1");
    eventually("the request", || app.asked() == 1).await;
    auth_request(&auth, &mut tasks, "u1");
    auth_request(&auth, &mut tasks, "u1");
    eventually("three clients wait", || auth.0.in_flight.waiting() == 3).await;
    first.abort();
    assert!(tasks.join_next().await.unwrap().unwrap_err().is_cancelled());
    gate.add_permits(1);
    for _ in 0..2 {
        tokio::time::timeout(DEADLINE, tasks.join_next()).await.unwrap().unwrap().unwrap().unwrap();
    }
    assert_eq!(app.asked(), 1);
}

#[tokio::test]
async fn request_without_clients_ends() {
    let (app, gate) = gated_app().await;
    let auth = app.auth_with(|config| (config.concurrent, config.queue) = (1, 0));
    let mut tasks = JoinSet::new();
    auth_request(&auth, &mut tasks, "u1");
    eventually("the request", || app.asked() == 1).await;
    tasks.shutdown().await;
    assert_eq!((auth.0.in_flight.open_requests(), auth.0.metrics.in_flight.get()), (0, 0));
    // Its slot is free again.
    gate.add_permits(2);
    user(&auth, "u2").await;
}

/// Requests to the app are bounded, and so are the clients that wait for one.
#[tokio::test]
async fn open_and_waiting_requests_are_bounded() {
    let (app, gate) = gated_app().await;
    let auth = app.auth_with(|config| (config.concurrent, config.queue) = (2, 3));
    let mut tasks = JoinSet::new();
    for name in ["u1", "u2", "u3", "u4", "u5"] {
        auth_request(&auth, &mut tasks, name);
    }
    eventually("two requests", || app.asked() == 2 && auth.0.in_flight.open_requests() == 5).await;
    assert_eq!(auth.0.metrics.in_flight.get(), 2);
    let denial = read(&auth, &of_user(&auth, "u6")).await.unwrap_err();
    assert_eq!(denial.kind, DenialKind::Passing);
    // A client with an equal open request needs no slot.
    auth_request(&auth, &mut tasks, "u5");
    gate.add_permits(1);
    eventually("a third request", || app.asked() == 3).await;
    gate.add_permits(10);
    while let Some(outcome) = tasks.join_next().await {
        outcome.unwrap().unwrap();
    }
    assert_eq!(app.asked(), 5);
}

#[tokio::test]
async fn wait_for_a_slot_counts_towards_the_deadline() {
    let (app, _gate) = gated_app().await;
    let auth = app.auth_with(|config| {
        config.concurrent = 1;
        config.timeout_seconds = seconds(1.0);
    });
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for name in ["u1", "u2", "u3"] {
        auth_request(&auth, &mut tasks, name);
    }
    while let Some(outcome) = tasks.join_next().await {
        assert_eq!(outcome.unwrap().unwrap_err().kind, DenialKind::Passing);
    }
    // One after the other, three would need three times the timeout.
    assert!(begun.elapsed() < Duration::from_millis(2500), "{:?}", begun.elapsed());
    assert_eq!(auth.0.in_flight.open_requests(), 0);
}

#[tokio::test]
async fn new_clients_do_not_delay_checks_of_open_streams() {
    let (app, gate) = gated_app().await;
    let config = settings(app.address, |config| (config.concurrent, config.queue) = (4, 4));
    let auth = ForwardAuth::with_rechecks(&config, ForwardMetrics::default()).unwrap();
    let mut tasks = JoinSet::new();
    for number in 0..8 {
        auth_request(&auth, &mut tasks, &format!("newcomer-{number}"));
    }
    eventually("all slots of new clients are used", || {
        app.asked() == 3 && auth.0.in_flight.open_requests() == 8
    })
    .await;
    let denial = read(&auth, &of_user(&auth, "one more")).await.unwrap_err();
    assert_eq!(denial.kind, DenialKind::Passing);

    // Checks of open streams have a slot of their own, one after the other.
    let mut rechecks = JoinSet::new();
    for number in 0..3 {
        let (auth, auth_request) = (auth.clone(), of_user(&auth, &format!("open-{number}")));
        rechecks.spawn(async move { auth.ask_again(&acme(), Action::Subscribe, &auth_request).await });
    }
    eventually("one of them is asked about", || app.asked() == 4 && auth.0.in_flight.open_requests() == 11)
        .await;
    assert_eq!(auth.0.metrics.in_flight.get(), 4, "all together stay within the bound");
    tasks.shutdown().await;
    gate.add_permits(20);
    while let Some(outcome) = rechecks.join_next().await {
        outcome.unwrap().unwrap();
    }
    assert_eq!(auth.0.in_flight.open_requests(), 0);
    user(&auth, "newcomer").await;
}
