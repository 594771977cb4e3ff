//! Tokens as a method of authentication, whose settings can be replaced.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::bearer::TokenSources;
use super::verifier::Verifier;

/// Authenticates by tokens, with settings that can be replaced while requests use them.
#[derive(Debug)]
pub struct TokenMethod {
    current: ArcSwap<CurrentTokens>,
    replaced: Notify,
}

/// The settings in use.
#[derive(Debug)]
pub(crate) struct CurrentTokens {
    /// The places in which a request may carry its token.
    pub(crate) sources: TokenSources,
    /// The verifier of the tokens.
    pub(crate) verifier: Arc<Verifier>,
}

impl TokenMethod {
    /// Creates the method. Without [`run`](Self::run), keys at URLs are never fetched.
    #[must_use]
    pub fn new(sources: TokenSources, verifier: Verifier) -> Self {
        let current = CurrentTokens { sources, verifier: Arc::new(verifier) };
        Self { current: ArcSwap::from_pointee(current), replaced: Notify::new() }
    }

    /// Replaces the settings. Requests that are being verified keep the former ones; open streams
    /// remain. Keys from unchanged URLs stay known until they are fetched again.
    pub fn replace(&self, sources: TokenSources, verifier: Verifier) {
        verifier.adopt_keys(&self.current.load().verifier);
        self.current.store(Arc::new(CurrentTokens { sources, verifier: Arc::new(verifier) }));
        self.replaced.notify_one();
    }

    /// Returns the URLs of key sets without any keys yet, without their queries.
    #[must_use]
    pub fn without_keys(&self) -> Vec<String> {
        self.current.load().verifier.without_keys()
    }

    /// Returns the verifier in use.
    #[must_use]
    pub fn verifier(&self) -> Arc<Verifier> {
        Arc::clone(&self.current.load().verifier)
    }

    /// Requests that the key files are read again, changed or not; returns whether there are any.
    pub fn reload(&self) -> bool {
        self.current.load().verifier.reload()
    }

    /// Updates the keys of the current settings until `stop` is cancelled, as [`Verifier::run`]
    /// does.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let ends = stop.child_token();
            let verifier = Arc::clone(&self.current.load().verifier);
            let mut running = std::pin::pin!(verifier.run(ends.clone()));
            tokio::select! {
                () = &mut running => {}
                () = self.replaced.notified() => {
                    ends.cancel();
                    running.await;
                }
            }
        }
    }

    pub(crate) fn current(&self) -> Arc<CurrentTokens> {
        self.current.load_full()
    }
}
