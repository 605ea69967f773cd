//! The audit log outside the database: checkpoints, the export file, and its verification offline.
//!
//! An export is JSON lines: a header that names the organization and the verifying keys, entries in order, checkpoints between
//! them, and one closing checkpoint. A checkpoint is an Ed25519 signature over (organization, seq, hash, time), so an
//! operator who rewrites the whole chain still cannot make the old checkpoints fit, and a cut-off tail has no closing line.
//! Invariant: [`verify`] needs the file and, to trust nobody, the pinned key; never the network or the database.

use std::collections::BTreeMap;
use std::io::BufRead;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::audit::{AuditEntry, ChainError, hex32, verify_chain};
use domain::{OrganizationId, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::keyring::{KeyError, Keyring};

/// The format that [`verify`] reads.
pub const FORMAT: &str = "headgate.audit.v1";

/// Signs checkpoints with a key derived from the newest root secret, and knows those of older ones.
pub struct Signer {
    pair: Ed25519KeyPair,
    key_id: String,
    /// Every verifying key there ever was, by id.
    known: BTreeMap<String, Vec<u8>>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// A signed statement: at this time the chain ended with this entry.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Checkpoint {
    /// The tenant.
    pub organization_id: OrganizationId,
    /// The entry.
    pub seq: u64,
    /// Its hash.
    #[serde(with = "hex32")]
    pub hash: [u8; 32],
    /// When it was signed.
    pub at: Timestamp,
    /// Which key signed.
    pub key_id: String,
    /// 64 bytes of Ed25519, base64.
    pub signature: String,
}

/// One line of an export.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum Line {
    /// The first line.
    Header {
        /// [`FORMAT`].
        format: String,
        /// The tenant.
        organization_id: OrganizationId,
        /// The place before the first entry; 0 for a whole log.
        after_seq: u64,
        /// The hash at that place; zeros for a whole log.
        #[serde(with = "hex32")]
        after_hash: [u8; 32],
        /// Verifying keys by id, base64.
        keys: BTreeMap<String, String>,
        /// When it was written.
        exported_at: Timestamp,
    },
    /// One entry.
    Entry(Box<AuditEntry>),
    /// A checkpoint over an entry before it.
    Checkpoint(Checkpoint),
    /// The last line: a checkpoint over the last entry.
    End(Checkpoint),
}

/// What a whole file shows.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// The tenant.
    pub organization_id: OrganizationId,
    /// How many entries.
    pub entries: u64,
    /// The last entry.
    pub last_seq: u64,
    /// Its hash.
    #[serde(with = "hex32")]
    pub last_hash: [u8; 32],
    /// How many checkpoints.
    pub checkpoints: u64,
    /// Whether a pinned key vouched, or only the keys that the file itself brings.
    pub is_pinned: bool,
}

impl std::fmt::Display for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let trust = if self.is_pinned { "the given key" } else { "the key that the file names" };
        let (entries, checkpoints, seq) = (self.entries, self.checkpoints, self.last_seq);
        write!(
            f,
            "{entries} entries of {}, the last is {seq}; {checkpoints} checkpoints signed by {trust}",
            self.organization_id
        )
    }
}

/// Why a file does not verify. The text names the first bad entry or line.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The file cannot be read.
    #[error("the file cannot be read")]
    Io(#[from] std::io::Error),
    /// A line is not one of this format.
    #[error("line {line} is not a line of an audit export: {reason}")]
    Line {
        /// Counts from 1.
        line: u64,
        /// What the parser said.
        reason: String,
    },
    /// The chain is broken.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A checkpoint names another hash than the entry has.
    #[error("entry {seq} is not the one that was signed on {at}")]
    Rewritten {
        /// The entry.
        seq: u64,
        /// When the checkpoint was signed.
        at: Timestamp,
    },
    /// A signature does not hold.
    #[error("the signature of the checkpoint over entry {seq} does not hold")]
    Signature {
        /// The entry.
        seq: u64,
    },
    /// The end is missing.
    #[error("the file ends after entry {seq} without its closing checkpoint: entries were cut off")]
    CutOff {
        /// The last entry that is there.
        seq: u64,
    },
}

impl Signer {
    /// Derives the signing keys of this control plane.
    pub fn new(keyring: &Keyring) -> Result<Self, KeyError> {
        let pair_of = |version| {
            let seed = keyring.derive_at(version, "audit-signing|1");
            Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).map_err(|_| KeyError::Format)
        };
        let mut known = BTreeMap::new();
        for version in keyring.versions() {
            let public = pair_of(version)?.public_key().as_ref().to_vec();
            known.insert(key_id(&public), public);
        }
        let pair = pair_of(keyring.version())?;
        let key_id = key_id(pair.public_key().as_ref());
        Ok(Self { pair, key_id, known })
    }

    /// Verifies a checkpoint that this control plane signed, now or under an older root key.
    pub fn verify(&self, checkpoint: &Checkpoint) -> Result<(), VerifyError> {
        let key = self.known.get(&checkpoint.key_id).ok_or(VerifyError::Signature { seq: checkpoint.seq })?;
        verify_checkpoint(checkpoint, key)
    }

    /// Returns the verifying key, 32 bytes in base64.
    #[must_use]
    pub fn public_key(&self) -> String {
        STANDARD.encode(self.pair.public_key())
    }

    /// Signs a checkpoint.
    #[must_use]
    pub fn sign(&self, organization_id: OrganizationId, seq: u64, hash: [u8; 32], at: Timestamp) -> Checkpoint {
        let signature = STANDARD.encode(self.pair.sign(&statement(organization_id, seq, &hash, at)));
        Checkpoint { organization_id, seq, hash, at, key_id: self.key_id.clone(), signature }
    }

    /// Returns the first line of an export.
    #[must_use]
    pub fn header(&self, organization_id: OrganizationId, after: (u64, [u8; 32]), exported_at: Timestamp) -> Line {
        Line::Header {
            format: FORMAT.to_owned(),
            organization_id,
            after_seq: after.0,
            after_hash: after.1,
            keys: self.known.iter().map(|(id, public)| (id.clone(), STANDARD.encode(public))).collect(),
            exported_at,
        }
    }
}

fn key_id(public: &[u8]) -> String {
    format!("audit-{}", hex32::encode(&Sha256::digest(public)[..6]))
}

fn statement(organization_id: OrganizationId, seq: u64, hash: &[u8; 32], at: Timestamp) -> Vec<u8> {
    format!("headgate.audit.checkpoint.v1\n{organization_id}\n{seq}\n{}\n{}\n", hex32::encode(hash), at.as_micros())
        .into_bytes()
}

impl VerifyError {
    /// Returns the first bad entry, when the fault is in an entry.
    #[must_use]
    pub const fn first_bad_seq(&self) -> Option<u64> {
        match self {
            Self::Chain(ChainError::Gap { expected, .. }) => Some(*expected),
            Self::Chain(ChainError::Broken { seq } | ChainError::Altered { seq } | ChainError::Foreign { seq })
            | Self::Rewritten { seq, .. }
            | Self::Signature { seq } => Some(*seq),
            Self::CutOff { seq } => Some(*seq + 1),
            Self::Io(_) | Self::Line { .. } => None,
        }
    }
}

/// Verifies one checkpoint's signature with a 32-byte key.
pub fn verify_checkpoint(checkpoint: &Checkpoint, public: &[u8]) -> Result<(), VerifyError> {
    let refused = || VerifyError::Signature { seq: checkpoint.seq };
    let signature = STANDARD.decode(&checkpoint.signature).map_err(|_| refused())?;
    let message = statement(checkpoint.organization_id, checkpoint.seq, &checkpoint.hash, checkpoint.at);
    UnparsedPublicKey::new(&ED25519, public).verify(&message, &signature).map_err(|_| refused())
}

/// Checks an export: chain, checkpoints, signatures, end. `pinned` is a verifying key in base64 that the reader trusts: the
/// closing checkpoint must be signed with it, which vouches for every entry before. Checkpoints of before a change of the root
/// key are signed by the older keys that the header names.
pub fn verify(file: impl BufRead, pinned: Option<&str>) -> Result<Verified, VerifyError> {
    let mut state: Option<Reading> = None;
    for (index, text) in file.lines().enumerate() {
        let line = index as u64 + 1;
        let bad = |reason: String| VerifyError::Line { line, reason };
        let parsed: Line = serde_json::from_str(&text?).map_err(|error| bad(error.to_string()))?;
        match (&mut state, parsed) {
            (None, Line::Header { format, organization_id, after_seq, after_hash, keys, .. }) => {
                if format != FORMAT {
                    return Err(bad(format!("the format is {format}, this build reads {FORMAT}")));
                }
                state = Some(Reading::new(organization_id, (after_seq, after_hash), &keys, pinned).map_err(bad)?);
            }
            (None, _) => return Err(bad("the header is missing".to_owned())),
            (Some(_), Line::Header { .. }) => return Err(bad("a second header".to_owned())),
            (Some(reading), _) if reading.is_ended => {
                return Err(bad(format!("something follows the end at entry {}", reading.head.0)));
            }
            (Some(reading), Line::Entry(entry)) => reading.entry(&entry)?,
            (Some(reading), Line::Checkpoint(checkpoint)) => reading.checkpoint(&checkpoint)?,
            (Some(reading), Line::End(checkpoint)) => {
                reading.checkpoint(&checkpoint)?;
                if reading.pinned.as_ref().is_some_and(|pinned| *pinned != checkpoint.key_id) {
                    return Err(VerifyError::Signature { seq: checkpoint.seq });
                }
                reading.is_ended = checkpoint.seq == reading.head.0;
            }
        }
    }
    let reading = state.ok_or_else(|| VerifyError::Line { line: 1, reason: "the file is empty".to_owned() })?;
    reading.finish(pinned.is_some())
}

struct Reading {
    organization_id: OrganizationId,
    start: u64,
    head: (u64, [u8; 32]),
    hashes: BTreeMap<u64, [u8; 32]>,
    keys: BTreeMap<String, Vec<u8>>,
    pinned: Option<String>,
    checkpoints: u64,
    is_ended: bool,
}

impl Reading {
    fn new(
        organization_id: OrganizationId,
        after: (u64, [u8; 32]),
        keys: &BTreeMap<String, String>,
        pinned: Option<&str>,
    ) -> Result<Self, String> {
        let decode = |text: &str| STANDARD.decode(text.trim()).map_err(|_| "a verifying key is not base64".to_owned());
        let named = keys.values().map(String::as_str).chain(pinned);
        let keys = named.map(|text| decode(text).map(|key| (key_id(&key), key))).collect::<Result<_, _>>()?;
        let pinned = pinned.map(|text| decode(text).map(|key| key_id(&key))).transpose()?;
        let hashes = BTreeMap::from([after]);
        Ok(Self { organization_id, start: after.0, head: after, hashes, keys, pinned, checkpoints: 0, is_ended: false })
    }

    fn entry(&mut self, entry: &AuditEntry) -> Result<(), VerifyError> {
        self.head = verify_chain(self.organization_id, self.head, [entry])?;
        self.hashes.insert(self.head.0, self.head.1);
        Ok(())
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), VerifyError> {
        let refused = VerifyError::Signature { seq: checkpoint.seq };
        if checkpoint.organization_id != self.organization_id {
            return Err(refused);
        }
        let key = self.keys.get(&checkpoint.key_id).ok_or(refused)?;
        verify_checkpoint(checkpoint, key)?;
        if self.hashes.get(&checkpoint.seq) != Some(&checkpoint.hash) {
            return Err(VerifyError::Rewritten { seq: checkpoint.seq, at: checkpoint.at });
        }
        self.checkpoints += 1;
        Ok(())
    }

    fn finish(self, is_pinned: bool) -> Result<Verified, VerifyError> {
        if !self.is_ended {
            return Err(VerifyError::CutOff { seq: self.head.0 });
        }
        Ok(Verified {
            organization_id: self.organization_id,
            entries: self.head.0 - self.start,
            last_seq: self.head.0,
            last_hash: self.head.1,
            checkpoints: self.checkpoints,
            is_pinned,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::audit::Audit;
    use domain::{ActorKind, AuditEntryId, JobName};
    use zeroize::Zeroizing;

    const ORG: OrganizationId = OrganizationId::from_uuid(1);

    fn keyring(bytes: &[u8]) -> Keyring {
        Keyring::of_secrets(bytes.iter().map(|byte| Zeroizing::new([*byte; 32])).collect()).unwrap()
    }

    fn signer(byte: u8) -> Signer {
        Signer::new(&keyring(&[byte])).unwrap()
    }

    fn export(n: u64, subject: &str, signer: &Signer) -> Vec<Line> {
        let at = Timestamp::from_micros(1_000_000);
        let mut lines = vec![signer.header(ORG, (0, [0; 32]), at)];
        let mut head = (0, [0; 32]);
        for i in 1..=n {
            let audit = Audit::new("virtual_key.issue", "virtual_key", &i, &subject);
            let actor = ActorKind::System(JobName::Bootstrap);
            let entry =
                AuditEntry::chain(AuditEntryId::from_uuid(i.into()), ORG, head, at, (&actor, "bootstrap"), audit);
            head = (entry.seq, entry.hash);
            lines.push(Line::Entry(Box::new(entry)));
            if i % 3 == 0 {
                lines.push(Line::Checkpoint(signer.sign(ORG, head.0, head.1, at)));
            }
        }
        lines.push(Line::End(signer.sign(ORG, head.0, head.1, at)));
        lines
    }

    fn text(lines: &[Line]) -> String {
        lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect()
    }

    #[test]
    fn a_whole_export_verifies_also_against_a_pinned_key() {
        let signer = signer(1);
        let file = text(&export(7, "name", &signer));
        let verified = verify(file.as_bytes(), None).unwrap();
        assert_eq!((verified.entries, verified.last_seq, verified.checkpoints, verified.is_pinned), (7, 7, 3, false));
        assert!(verify(file.as_bytes(), Some(&signer.public_key())).unwrap().is_pinned);
    }

    #[test]
    fn any_changed_letter_of_an_entry_is_found_and_named() {
        let file = text(&export(7, "name", &signer(1)));
        let changed =
            file.replacen("\"seq\":4,", "\"seq\":4 ,", 1).replacen("\"subject_id\":\"4\"", "\"subject_id\":\"5\"", 1);
        let error = verify(changed.as_bytes(), None).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.first_bad_seq()), ("entry 4 was altered", Some(4)));
    }

    #[test]
    fn a_chain_rewritten_from_the_start_does_not_fit_the_old_checkpoints() {
        let signer = signer(1);
        let (honest, mut forged) = (export(7, "name", &signer), export(7, "other", &signer));
        for (at, line) in honest.iter().enumerate() {
            if matches!(line, Line::Checkpoint(_)) {
                forged[at] = line.clone();
            }
        }
        let error = verify(text(&forged).as_bytes(), None).unwrap_err();
        assert_eq!(error.to_string(), "entry 3 is not the one that was signed on 1970-01-01T00:00:01Z");
    }

    #[test]
    fn a_forger_with_a_key_of_his_own_is_found_by_the_pinned_key() {
        let forged = text(&export(7, "name", &signer(2)));
        assert!(verify(forged.as_bytes(), None).is_ok());
        let error = verify(forged.as_bytes(), Some(&signer(1).public_key())).unwrap_err();
        assert!(matches!(error, VerifyError::Signature { seq: 7 }));
    }

    #[test]
    fn a_log_that_spans_a_change_of_the_root_key_verifies_by_the_newer_key() {
        let both = Signer::new(&keyring(&[1, 2])).unwrap();
        let mut lines = export(7, "name", &signer(1));
        lines[0] = both.header(ORG, (0, [0; 32]), Timestamp::from_micros(1_000_000));
        let Some(Line::End(last)) = lines.pop() else { panic!("no end") };
        lines.push(Line::End(both.sign(ORG, last.seq, last.hash, last.at)));
        let file = text(&lines);
        assert!(verify(file.as_bytes(), None).is_ok());
        assert!(verify(file.as_bytes(), Some(&both.public_key())).unwrap().is_pinned);
        let older = verify(file.as_bytes(), Some(&signer(1).public_key())).unwrap_err();
        assert!(
            matches!(older, VerifyError::Signature { seq: 7 }),
            "who pinned the older key must learn of the newer one"
        );
        let Line::Checkpoint(early) = &lines[4] else { panic!("no checkpoint") };
        assert!(both.verify(early).is_ok());
        assert!(signer(2).verify(early).is_err());
    }

    #[test]
    fn cut_off_deleted_and_foreign_lines_are_found() {
        let lines = export(7, "name", &signer(1));
        let mut short = lines.clone();
        short.truncate(lines.len() - 2);
        assert!(matches!(verify(text(&short).as_bytes(), None), Err(VerifyError::CutOff { .. })));
        let mut deleted = lines.clone();
        deleted.remove(2);
        let error = verify(text(&deleted).as_bytes(), None).unwrap_err();
        assert_eq!(error.to_string(), "entry 2 is missing: found 3 in its place");
        let junk = format!("{}{{\"line\":\"note\"}}\n", text(&lines));
        assert!(matches!(verify(junk.as_bytes(), None), Err(VerifyError::Line { .. })));
        assert!(matches!(verify(&b""[..], None), Err(VerifyError::Line { line: 1, .. })));
    }
}
