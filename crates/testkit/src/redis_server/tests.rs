//! A server that starts, stops and freezes.

use std::time::Duration;

use tokio::net::TcpStream;

use super::{RedisOptions, RedisServer};

#[tokio::test]
async fn a_redis_server_stops_restarts_and_freezes() {
    let users = vec!["broker on >secret ~workspace:* resetchannels &workspace:* +ping +publish".to_owned()];
    let options = RedisOptions { users, tls: true, append_only: true, ..RedisOptions::default() };
    let mut server = RedisServer::start_with(options).await;
    let broker = redis::Client::open(server.url_as("broker", "secret")).unwrap();
    let mut connection = broker.get_multiplexed_async_connection().await.unwrap();
    let receivers: i64 =
        redis::cmd("PUBLISH").arg("workspace:a").arg("x").query_async(&mut connection).await.unwrap();
    assert_eq!(receivers, 0);
    let refused = redis::cmd("PUBLISH").arg("other").arg("x").query_async::<i64>(&mut connection).await;
    assert!(refused.unwrap_err().to_string().to_lowercase().contains("noperm"));
    let (url, certificates) = server.tls_url();
    assert!(url.starts_with("rediss://localhost:") && certificates.authority.exists());

    server.command::<String>(&["SET", "kept", "1"]).await;
    server.stop();
    assert!(TcpStream::connect(("127.0.0.1", server.port())).await.is_err());
    server.restart().await;
    assert_eq!(server.command::<String>(&["GET", "kept"]).await, "1");

    server.freeze();
    let frozen = tokio::time::timeout(Duration::from_millis(200), server.info("server")).await;
    assert!(frozen.is_err());
    server.thaw();
    assert!(server.info("server").await.contains("redis_version"));
}
