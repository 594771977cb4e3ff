//! One connection to a server: its socket, TLS, login, and the limit on replies.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_ok;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, FromRedisValue, Pipeline, ProtocolVersion, PushInfo,
    RedisError, RedisFuture, RedisResult, ToRedisArgs, Value,
};
use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::bounded::{Bound, Bounded, ServerConduct, ServerFault};
use super::credentials::Login;
use super::runner::CommandRunner;

/// A connection that several tasks can use. It closes when the last clone is dropped.
#[derive(Debug, Clone)]
pub(super) struct RedisConnection {
    commands: MultiplexedConnection,
    conduct: ServerConduct,
    /// The task that reads and writes.
    _driver: Arc<AbortOnDropHandle<()>>,
}

/// The reason for which there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionOpenError {
    /// The server sends data that no Redis sends.
    #[error(transparent)]
    Fault(#[from] ServerFault),
    /// Any other error.
    #[error(transparent)]
    Redis(#[from] RedisError),
}

impl RedisConnection {
    /// Connects and logs in, within a time. `push` receives the messages of the server, in order,
    /// as they are read. Cancellation safe.
    pub(super) async fn open(
        login: &Login,
        config: AsyncConnectionConfig,
        bound: &Arc<Bound>,
        within: Duration,
        push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<Self, ConnectionOpenError> {
        tokio::time::timeout(within, Self::open_unbounded(login, config, bound, push)).await.unwrap_or_else(
            |_| Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut)).into()),
        )
    }

    async fn open_unbounded(
        login: &Login,
        config: AsyncConnectionConfig,
        bound: &Arc<Bound>,
        push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<Self, ConnectionOpenError> {
        let socket = Bounded::new(connect(login).await?, Arc::clone(bound));
        let conduct = socket.conduct();
        let checked = conduct.clone();
        let push = move |info: PushInfo| {
            checked.check(&info.kind);
            push(info);
            Ok::<(), std::convert::Infallible>(())
        };
        // RESP2 has no push messages.
        let config = match login.info.redis_settings().protocol() {
            ProtocolVersion::RESP2 => config,
            _ => config.set_push_sender(push),
        };
        match MultiplexedConnection::new_with_config(login.info.redis_settings(), socket, config).await {
            Ok((commands, driver)) => {
                let driver = Arc::new(AbortOnDropHandle::new(tokio::spawn(driver)));
                Ok(Self { commands, conduct, _driver: driver })
            }
            Err(error) => Err(conduct.fault().map_or_else(|| error.into(), ConnectionOpenError::Fault)),
        }
    }

    pub(super) async fn subscribe(&mut self, channels: impl ToRedisArgs) -> RedisResult<()> {
        // Before the request, because the confirmations may precede the return of this call.
        self.conduct.expect_confirmations(channels.num_of_args());
        self.commands.subscribe(channels).await
    }

    pub(super) async fn unsubscribe(&mut self, channels: impl ToRedisArgs) -> RedisResult<()> {
        self.commands.unsubscribe(channels).await
    }

    /// Returns the value that says whether the connection ended for a fault of the server.
    pub(super) fn conduct(&self) -> &ServerConduct {
        &self.conduct
    }
}

impl CommandRunner for RedisConnection {
    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        command.query_async(&mut self.clone()).await
    }

    async fn ask_all(&self, pipeline: &Pipeline) -> RedisResult<Vec<RedisResult<Value>>> {
        pipeline.query_async(&mut self.clone()).await
    }
}

impl ConnectionLike for RedisConnection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        self.commands.req_packed_command(cmd)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.commands.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.commands.get_db()
    }
}

/// A socket of any kind, with TLS or without.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// Opens a socket, and TLS on it. Cancellation safe.
pub(super) async fn connect(login: &Login) -> RedisResult<Box<dyn Socket>> {
    let settings = login.info.tcp_settings();
    Ok(match login.info.addr() {
        ConnectionAddr::Tcp(host, port) => Box::new(connect_tcp(host, *port, settings).await?),
        ConnectionAddr::TcpTls { host, port, .. } => {
            let tls = login.tls.clone().ok_or_else(|| std::io::Error::other("TLS is not set up"))?;
            let name = ServerName::try_from(host.as_str())?.to_owned();
            let socket = connect_tcp(host, *port, settings).await?;
            Box::new(TlsConnector::from(tls).connect(name, socket).await?)
        }
        ConnectionAddr::Unix(path) => Box::new(UnixStream::connect(path).await?),
        _ => return Err(std::io::Error::from(std::io::ErrorKind::Unsupported).into()),
    })
}

/// Connects to the address of a host that accepts first.
async fn connect_tcp(host: &str, port: u16, settings: &TcpSettings) -> std::io::Result<TcpStream> {
    let attempts: Vec<_> = tokio::net::lookup_host((host, port))
        .await?
        .map(|address| Box::pin(TcpStream::connect(address)))
        .collect();
    if attempts.is_empty() {
        return Err(std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address"));
    }
    let (socket, _) = select_ok(attempts).await?;
    socket.set_nodelay(settings.nodelay())?;
    let options = SockRef::from(&socket);
    if let Some(keepalive) = settings.keepalive() {
        options.set_tcp_keepalive(keepalive)?;
    }
    #[cfg(target_os = "linux")]
    options.set_tcp_user_timeout(settings.user_timeout())?;
    Ok(socket)
}
