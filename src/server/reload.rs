//! Settings that a running server replaces. `config/reload.rs` has their keys.

use std::sync::Arc;

use super::access::token_verifier;
use super::settings;
use super::start_error::StartError;
use crate::admin::console::AdminToken;
use crate::config::ConfigChanges;
use crate::http::{Certificates, ConnectionLimits, CorsRules, PublishRate};
use tidings_auth::jwt::{TokenMethod, TokenSources};
use tidings_bus::Bus;
use tidings_hub::Hub;
use tidings_limits::StreamRegistry;
use tidings_metrics::Metrics;

/// The parts of a running server whose settings can be replaced.
#[derive(Debug, Clone)]
pub struct ServerReload {
    pub(super) bus: Arc<dyn Bus>,
    pub(super) certificates: Option<Arc<Certificates>>,
    pub(super) tokens: Option<Arc<TokenMethod>>,
    pub(super) cors: Arc<CorsRules>,
    pub(super) limits: Arc<ConnectionLimits>,
    pub(super) publish_rate: Arc<PublishRate>,
    pub(super) registry: Arc<StreamRegistry>,
    pub(super) hub: Arc<Hub>,
    pub(super) token: Arc<AdminToken>,
    pub(super) metrics: Arc<Metrics>,
}

impl ServerReload {
    /// Replaces the changed settings, and has the files of the certificate and of keys read again.
    /// Reads files of keys, and so blocks.
    ///
    /// # Errors
    ///
    /// [`StartError`], if the keys for tokens or the admin token cannot be used. Then nothing is
    /// replaced.
    pub fn apply(&self, changes: &ConfigChanges) -> Result<(), StartError> {
        let config = &changes.config;
        let jwt = &config.auth.jwt;
        // First, since these steps can fail.
        let replacement = match &self.tokens {
            Some(tokens) if changes.applies("auth.jwt.") => {
                let verifier = token_verifier(jwt, config.is_for_this_machine(), &self.metrics)?;
                Some((tokens, verifier))
            }
            Some(_) | None => None,
        };
        self.token.replace(&config.admin.token, config.admin.token_file.as_deref())?;
        match (replacement, &self.tokens) {
            (Some((tokens, verifier)), _) => tokens.replace(TokenSources::new(jwt), verifier),
            (None, Some(tokens)) => {
                tokens.reload();
            }
            (None, None) => {}
        }
        if let Some(certificates) = &self.certificates {
            certificates.reload();
        }
        if changes.applies("redis.") {
            self.bus.set_password(&config.redis);
        }
        if changes.applies("cors.") {
            self.cors.replace(settings::origins(config));
        }
        if changes.applies("limits.connections_per_address") || changes.applies("limits.connects_per_second")
        {
            let (per_address, per_second) = settings::connection_limits(config);
            self.limits.set(per_address, per_second);
        }
        if changes.applies("limits.connections_per_") {
            self.registry.set_limits(settings::stream_limits(config));
        }
        if changes.applies("limits.event") {
            self.publish_rate.set(config.limits.rates());
            self.hub.set_rates(config.limits.rates());
        }
        Ok(())
    }
}
