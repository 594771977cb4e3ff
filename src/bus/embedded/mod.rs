//! The bus that runs in the process.
use super::*;
use crate::config::EmbeddedConfig;
use tokio::net::TcpListener;
#[derive(Debug)]
pub struct EmbeddedBus;
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct EmbeddedBusError;
impl EmbeddedBus {
    pub fn new(
        _: &EmbeddedConfig,
        _: &str,
        _: Option<TcpListener>,
        _: Arc<Interest>,
    ) -> Result<Self, EmbeddedBusError> {
        Ok(Self)
    }
}
impl Bus for EmbeddedBus {
    fn run(self: Arc<Self>, _: Arc<dyn Feed>, stop: CancellationToken) -> BoxFuture<'static, ()> {
        Box::pin(async move { stop.cancelled().await })
    }
    fn publish<'a>(&'a self, _: &'a WorkspaceId, _: Bytes) -> BoxFuture<'a, Result<EntryId, PublishError>> {
        Box::pin(async { Err(PublishError::Refused("x".into())) })
    }
    fn state(&self) -> BusState {
        StateCell::new("embedded").snapshot()
    }
}
