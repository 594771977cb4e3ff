//! Settings that a running server replaces. `config/reload.rs` has their keys.

use std::sync::Arc;
use std::time::SystemTime;

use super::access::token_verifier;
use super::metrics::unix_seconds;
use super::settings;
use super::start_error::StartError;
use crate::admin::console::AdminToken;
use crate::config::ConfigChanges;
use crate::http::{Certificates, ConnectionLimits, CorsRules, PublishRate};
use tidings_auth::jwt::{TokenMethod, TokenSources, Verifier};
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

/// The contents of files for a reload.
#[derive(Debug)]
pub struct PreparedReload {
    /// Verifies tokens by the new settings; `None` if these are unchanged.
    verifier: Option<Verifier>,
    /// The admin token.
    token: AdminToken,
}

impl ServerReload {
    /// Records whether the configuration was read again, for `/metrics`.
    pub fn note_outcome(&self, has_succeeded: bool) {
        self.metrics.config_read.set(has_succeeded.into());
        if has_succeeded {
            self.metrics.config_read_at.set(unix_seconds(SystemTime::now()));
        }
    }

    /// Reads the files that changed settings name, and replaces nothing. Blocks.
    ///
    /// # Errors
    ///
    /// [`StartError`], if the keys for tokens or the admin token cannot be used.
    pub fn prepare(&self, changes: &ConfigChanges) -> Result<PreparedReload, StartError> {
        let config = &changes.config;
        // First, because the keys of a verifier count as read at once.
        let token = settings::admin_token(config)?;
        let verifier = if self.tokens.is_some() && changes.applies("auth.jwt.") {
            Some(token_verifier(&config.auth.jwt, config.is_for_this_machine(), &self.metrics)?)
        } else {
            None
        };
        Ok(PreparedReload { verifier, token })
    }

    /// Replaces the changed settings, and requests that the files of the certificate and of keys
    /// are read again. Does not block.
    pub fn apply(&self, changes: &ConfigChanges, prepared: PreparedReload) {
        let config = &changes.config;
        self.token.replace(prepared.token);
        match (prepared.verifier, &self.tokens) {
            (Some(verifier), Some(tokens)) => {
                tokens.replace(TokenSources::new(&config.auth.jwt), verifier);
            }
            (None, Some(tokens)) => {
                tokens.reload();
            }
            (_, None) => {}
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
    }
}
