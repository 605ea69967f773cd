//! A stored provider secret with the address it may be sent to.

use crate::usage::text_enum;
use crate::{CredentialId, DisplayName, OrganizationId, Timestamp};

text_enum! {
    /// What a provider does with what is sent under an account, as the contract with it says.
    DataPolicy {
        /// Keeps it, and may train on it.
        MayTrain = "may_train",
        /// May keep it for a time, and trains on nothing.
        NoTraining = "no_training",
        /// Keeps nothing.
        ZeroRetention = "zero_retention",
    }
}

/// A secret sealed with the organization's data key: AES-256-GCM, nonce first, AAD from [`seal_context`].
///
/// The same bytes are at rest, on the wire to nodes and in the set hash.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// Which data key of the organization.
    pub key_version: u16,
    /// 12 bytes of nonce, ciphertext, 16 bytes of tag.
    pub ciphertext: Vec<u8>,
}

impl std::fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[sealed with key {}]", self.key_version)
    }
}

/// Returns the additional data that binds a sealed credential to its row, so that ciphertexts cannot be moved.
#[must_use]
pub fn seal_context(organization_id: OrganizationId, credential_id: CredentialId, secret_version: u32) -> String {
    format!("v1|{organization_id}|{credential_id}|{secret_version}|credential")
}

/// A credential as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its id.
    pub id: CredentialId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// The provider's name, as in the registry (`openai`, `anthropic`, `openai_compatible`).
    pub provider: String,
    /// For people.
    pub name: DisplayName,
    /// The address the secret may be sent to: scheme, host, port and base path, without a trailing slash.
    pub base_url: String,
    /// The sealed secret; absent for upstreams that want none.
    pub secret: Option<SealedSecret>,
    /// Counts the secrets this credential has had, from 1; part of the seal.
    pub secret_version: u32,
    /// Whether calls to the provider's own API may be signed with it.
    pub allows_passthrough: bool,
    /// What the provider does with what is sent; `None`: nobody said.
    pub data_policy: Option<DataPolicy>,
    /// The last four characters, for recognition; empty when the secret is shorter than 16.
    pub hint: String,
    /// Counts changes, from 1.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When it was archived; deployments that use it stop serving.
    pub archived_at: Option<Timestamp>,
}
