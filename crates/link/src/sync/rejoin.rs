//! Coming back: a node whose certificate ended, or whose control plane no longer knows it, is certified anew by a join token.
//!
//! An identity that is accepted always wins over a token. One that is not goes on under its id and with its keys when the
//! control plane agrees, so that its sealed copies stay readable; else the node starts over as another one. Whatever fails, a node
//! that has something to serve from serves. Invariant: the spool is never touched, and its events carry ids that the ledger
//! knows apart by themselves, so usage of the earlier id is booked once under the later one.

use std::sync::Arc;
use std::time::Duration;

use super::enrol::{EnrolError, JoinToken, enrol, enrol_as};
use super::identity::Identity;
use super::last_known_good::Vault;
use super::session::{RenewError, renewed};
use super::transport::Tls;
use super::{Link, Ports, StartError, SyncConfig};

/// Longest wait for the control plane before a node that has a policy goes on with what it has.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Checks the identity on disk against a fresh join token, if there is one.
pub(super) async fn settle(identity: Identity, config: &SyncConfig, ports: &Ports) -> Result<Identity, StartError> {
    let is_expired = identity.is_expired(ports.clock.now());
    let token = match fresh_token(&identity, config) {
        None if is_expired => issued(config).await,
        token => token,
    };
    let Some(token) = token else {
        if is_expired {
            tracing::error!(
                ended_at = %identity.not_after,
                "the node's certificate has ended; create a join token in the console under Nodes and start once with --join-token TOKEN"
            );
        }
        return Ok(identity);
    };
    if !is_expired && let Some(accepted) = accepted(&identity, &token, config, ports).await? {
        return Ok(accepted);
    }
    let joined = tokio::time::timeout(ANSWER_WITHIN, come_back(&identity, &token, config, ports)).await;
    let reason = match joined {
        Ok(Ok(joined)) => return Ok(joined),
        Ok(Err(error)) if !error.is_transient() && Vault::is_empty(&config.data_dir) => return Err(error.into()),
        Ok(Err(error)) => runtime::telemetry::chain(&error),
        Err(_) => "the control plane does not answer".to_owned(),
    };
    tracing::error!(reason, "the node could not join again; it goes on with the policy it holds");
    Ok(identity)
}

/// Asks whether an identity still counts; gives it back, renewed, unless the control plane refuses it or is another one.
async fn accepted(
    identity: &Identity,
    token: &JoinToken,
    config: &SyncConfig,
    ports: &Ports,
) -> Result<Option<Identity>, StartError> {
    // A token of another installation says where the node belongs now.
    if !identity.authorities.iter().any(|authority| token.is_of(authority)) {
        return Ok(None);
    }
    match tokio::time::timeout(ANSWER_WITHIN, renewed(identity, &Tls::new(identity)?, config, ports)).await {
        Ok(Ok(renewed)) => Ok(Some(renewed)),
        Ok(Err(error)) if is_refusal(&error) => {
            tracing::warn!(error = %runtime::telemetry::chain(&error), "the node's certificate is refused; using the join token");
            Ok(None)
        }
        // Not reached, or not in time: nothing speaks against the identity.
        Ok(Err(_)) | Err(_) => Ok(Some(identity.clone())),
    }
}

/// The token of the settings, unless it is the one that this identity used up.
fn fresh_token(identity: &Identity, config: &SyncConfig) -> Option<JoinToken> {
    let token = JoinToken::parse(config.join_token.as_deref()?);
    match token {
        Ok(token) => (!identity.is_from(token.kid().as_str())).then_some(token),
        Err(error) => {
            tracing::warn!(%error, "the join token cannot be read; the node goes on with the identity it has");
            None
        }
    }
}

/// A token of the control plane in the same process.
async fn issued(config: &SyncConfig) -> Option<JoinToken> {
    let text = (config.token_source.as_ref()?.0)().await?;
    JoinToken::parse(&text).ok()
}

fn is_refusal(error: &RenewError) -> bool {
    match error {
        RenewError::Refused(status) => {
            matches!(status.code(), tonic::Code::PermissionDenied | tonic::Code::Unauthenticated)
        }
        _ => false,
    }
}

/// Joins with the keys and the id of before, or else as another node.
async fn come_back(
    identity: &Identity,
    token: &JoinToken,
    config: &SyncConfig,
    ports: &Ports,
) -> Result<Identity, EnrolError> {
    match enrol_as(identity, token, config, ports).await {
        Err(EnrolError::NotKept { message }) => {
            tracing::warn!(
                reason = message,
                "the node starts over under another id; usage in its spool is reported under that"
            );
            let joined = enrol(&config.control, token, config, ports).await?;
            Vault::clear(&config.data_dir)?;
            Ok(joined)
        }
        result => result,
    }
}

/// What a running node has left to come back with.
#[derive(Debug)]
pub(super) struct Rejoin {
    token: Option<JoinToken>,
}

impl Rejoin {
    pub(super) fn new(link: &Link) -> Self {
        Self { token: fresh_token(&link.identity.read(), &link.config) }
    }

    /// Tries to be certified again when the certificate has ended. The id stays: a running node cannot become another one.
    pub(super) async fn attempt(&mut self, link: &Link) {
        let identity = link.identity.read().clone();
        if !identity.is_expired(link.ports.clock.now()) {
            return;
        }
        let token = match self.token.clone() {
            None => issued(&link.config).await,
            token => token,
        };
        let Some(token) = token else { return };
        let joining = enrol_as(&identity, &token, &link.config, &link.ports);
        match tokio::time::timeout(ANSWER_WITHIN, joining).await {
            Ok(Ok(joined)) => {
                if let Err(error) = link.tls.renew(&joined) {
                    tracing::error!(error = %runtime::telemetry::chain(&error), "the new certificate cannot be used");
                }
                *link.identity.write() = Arc::new(joined);
            }
            Ok(Err(error)) if error.is_transient() => {}
            Ok(Err(error)) => {
                self.token = None;
                tracing::error!(error = %runtime::telemetry::chain(&error), "the node could not join again; restart it with a new join token");
            }
            Err(_) => {}
        }
    }
}
