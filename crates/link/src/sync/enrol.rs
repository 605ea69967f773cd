//! First contact: a join token becomes an identity.
//!
//! A join token reads `hgj_… . fingerprint`: the secret, a dot, and the SHA-256 of the control plane's authority in base64url, so
//! that the node knows whom to hand the secret to. A refused token is final; an unreachable control plane is waited for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::secret::Kid;
use domain::{TokenKind, TokenSecret};
use proto::v1::node_enrolment_client::NodeEnrolmentClient;
use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::identity::{Candidate, Identity, IdentityError};
use super::session::Backoff;
use super::transport::{ControlAddress, LinkError, connect_by_fingerprint};
use super::{Ports, StartError, SyncConfig};

/// Why a node could not enrol.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The text is not a join token.
    #[error("this is not a join token; copy it whole from the console (it begins with hgj_ and has a dot in it)")]
    Token,
    /// The control plane cannot be reached or did not prove itself.
    #[error("control plane cannot be reached, or is not the one that issued this join token")]
    Link(#[source] LinkError),
    /// The control plane refused.
    #[error("control plane refused the join token: {message}; create a new one in the console under Nodes")]
    Refused {
        /// What it said.
        message: String,
    },
    /// The control plane will not let this machine go on under the id it had; the token is not used up.
    #[error("control plane does not let the node keep its id: {message}; restart it with a join token")]
    NotKept {
        /// What it said.
        message: String,
    },
    /// The connection broke on the way.
    #[error("enrolment was cut off")]
    Broken(#[source] Box<tonic::Status>),
    /// The identity could not be made or kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl EnrolError {
    /// Says whether trying again may help.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Link(_) | Self::Broken(_))
    }
}

/// A join token, read.
#[derive(Debug, Clone)]
pub struct JoinToken {
    secret: TokenSecret,
    fingerprint: [u8; 32],
}

impl JoinToken {
    /// Reads the text that the console shows.
    pub fn parse(text: &str) -> Result<Self, EnrolError> {
        let (secret, fingerprint) = text.trim().split_once('.').ok_or(EnrolError::Token)?;
        let secret = TokenSecret::parse(TokenKind::JoinToken, secret).map_err(|_| EnrolError::Token)?;
        let fingerprint = URL_SAFE_NO_PAD.decode(fingerprint).ok().and_then(|bytes| bytes.try_into().ok());
        Ok(Self { secret, fingerprint: fingerprint.ok_or(EnrolError::Token)? })
    }

    /// Says whether it was issued under this authority.
    pub(crate) fn is_of(&self, authority: &CertificateDer<'_>) -> bool {
        Sha256::digest(authority.as_ref()).as_slice() == self.fingerprint
    }

    /// Returns the public part.
    pub(crate) fn kid(&self) -> Kid {
        self.secret.kid()
    }
}

/// Enrols once: makes keys, asks for a certificate, keeps the identity in the data dir.
pub async fn enrol(
    control: &ControlAddress,
    token: &JoinToken,
    config: &SyncConfig,
    ports: &Ports,
) -> Result<Identity, EnrolError> {
    join(Candidate::generate(ports.entropy.as_ref())?, control, token, config, ports).await
}

/// Enrols once more with the keys of `earlier`, to go on under its id. Errors: `NotKept` leaves the token unused.
pub(crate) async fn enrol_as(
    earlier: &Identity,
    token: &JoinToken,
    config: &SyncConfig,
    ports: &Ports,
) -> Result<Identity, EnrolError> {
    join(Candidate::again(earlier)?, &config.control, token, config, ports).await
}

async fn join(
    candidate: Candidate,
    control: &ControlAddress,
    token: &JoinToken,
    config: &SyncConfig,
    ports: &Ports,
) -> Result<Identity, EnrolError> {
    let channel = connect_by_fingerprint(control, token.fingerprint).await.map_err(EnrolError::Link)?;
    let request = candidate.request(token.secret.expose(), &config.name, &config.region);
    let answer = NodeEnrolmentClient::new(channel).enrol(request).await.map_err(refused)?;
    let identity = candidate.enrolled(answer.into_inner(), ports.clock.now())?.joined_with(token.kid().as_str());
    identity.save(&config.data_dir)?;
    tracing::info!(node.id = %identity.node_id, "enrolled as {}", identity.node_id);
    Ok(identity)
}

fn refused(status: tonic::Status) -> EnrolError {
    use tonic::Code;
    match status.code() {
        Code::FailedPrecondition => EnrolError::NotKept { message: status.message().to_owned() },
        Code::Unauthenticated | Code::PermissionDenied | Code::InvalidArgument => {
            EnrolError::Refused { message: status.message().to_owned() }
        }
        _ => EnrolError::Broken(Box::new(status)),
    }
}

/// Enrols, waiting for a control plane that is not there yet.
pub(crate) async fn enrol_with_patience(
    config: &SyncConfig,
    ports: &Ports,
    stop: &CancellationToken,
) -> Result<Identity, StartError> {
    let text = config.join_token.as_deref().ok_or(StartError::NotEnrolled)?;
    let token = JoinToken::parse(text)?;
    let mut backoff = Backoff::new(config.backoff);
    loop {
        match enrol(&config.control, &token, config, ports).await {
            Ok(identity) => return Ok(identity),
            Err(error) if !error.is_transient() => return Err(error.into()),
            Err(error) => {
                let delay = backoff.next(ports.entropy.as_ref());
                tracing::warn!(error = %runtime::telemetry::chain(&error), delay_ms = delay.as_millis(), "enrolment failed; trying again");
                tokio::select! {
                    () = tokio::time::sleep(delay) => {}
                    () = stop.cancelled() => return Err(StartError::Stopped),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::rng::SeededEntropy;

    #[test]
    fn a_join_token_is_a_secret_a_dot_and_a_fingerprint() {
        let secret = TokenSecret::generate(TokenKind::JoinToken, 'n', &SeededEntropy::new(1));
        let text = format!("{}.{}", secret.expose(), URL_SAFE_NO_PAD.encode([9; 32]));
        assert_eq!(JoinToken::parse(&format!(" {text}\n")).unwrap().fingerprint, [9; 32]);
        for wrong in [secret.expose(), "hgj_x.y", "", &text[..text.len() - 4]] {
            assert!(matches!(JoinToken::parse(wrong), Err(EnrolError::Token)), "{wrong}");
        }
    }
}
