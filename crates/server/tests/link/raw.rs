//! A node whose every word the test chooses: it has a real identity and no judgement of its own.

use std::time::Duration;

use domain::{NodeId, OrganizationId};
use link::sync::identity::Identity;
use link::sync::transport::Tls;
use policy::Replica;
use policy::wire::frame;
use proto::v1;
use tokio::sync::mpsc;
use tonic::Streaming;
use v1::control_message::Body as Down;
use v1::node_message::Body as Up;

use super::bed::Bed;
use super::intruders::{hello, open};

/// Nothing that the control plane says takes longer.
const WITHIN: Duration = Duration::from_secs(20);

/// See the module.
pub(super) struct Raw {
    pub(super) node_id: NodeId,
    up: mpsc::Sender<v1::NodeMessage>,
    down: Streaming<v1::ControlMessage>,
}

/// Data keys of nobody.
pub(super) struct NoKeys;

impl policy::SecretOpener for NoKeys {
    fn open(&self, _: OrganizationId, _: u32, _: &str, _: &[u8]) -> Option<domain::Secret<Vec<u8>>> {
        None
    }
}

impl Raw {
    /// Enrols as usual, then opens a stream with whatever `change` makes of its hello.
    pub(super) async fn join(bed: &Bed, change: impl FnOnce(&mut v1::Hello)) -> Result<Self, tonic::Status> {
        let node = bed.join(bed.tcp()).await;
        let (node_id, folder) = (node.link.node_id(), node.stop().await);
        let identity = Identity::load(folder.path()).expect("a file").expect("an identity");
        let channel = Tls::new(&identity).expect("usable TLS").connect(&bed.tcp()).await.expect("a connection");
        let mut hello = hello(node_id);
        change(&mut hello);
        let (up, down) = open(channel, hello).await?;
        Ok(Self { node_id, up, down })
    }

    pub(super) async fn say(&self, body: Up) {
        self.up.send(v1::NodeMessage { body: Some(body) }).await.expect("the control plane listens");
    }

    pub(super) async fn ack(&self, organization: OrganizationId, revision: u64) {
        self.say(Up::Ack(v1::Ack { organization_id: organization.to_string(), revision })).await;
    }

    /// Refuses a revision as a whole.
    pub(super) async fn refuse(&self, organization: OrganizationId, revision: u64) {
        let nack = v1::Nack {
            organization_id: organization.to_string(),
            revision,
            bad: Vec::new(),
            refusal: v1::Refusal::Size.into(),
            detail: "as the test wants".to_owned(),
        };
        self.say(Up::Nack(nack)).await;
    }

    /// The next message that `wanted` takes; pings are answered, others passed over.
    pub(super) async fn hear<T>(&mut self, what: &str, mut wanted: impl FnMut(&Down) -> Option<T>) -> T {
        let hearing = async {
            loop {
                let message = self.down.message().await.expect("a message").expect("an open stream");
                let Some(body) = message.body else { continue };
                if let Down::Ping(ping) = &body {
                    self.say(Up::Pong(v1::Pong { nonce: ping.nonce })).await;
                }
                if let Some(found) = wanted(&body) {
                    return found;
                }
            }
        };
        tokio::time::timeout(WITHIN, hearing).await.unwrap_or_else(|_| panic!("never heard: {what}"))
    }

    /// Takes a whole set and acknowledges it; gives the revision.
    pub(super) async fn take_everything(&mut self, organization: OrganizationId) -> u64 {
        let revision = self.hear("the end of a full set", |body| match body {
            Down::FullSetEnd(end) if end.organization_id == organization.to_string() => Some(end.revision),
            _ => None,
        });
        let revision = revision.await;
        self.ack(organization, revision).await;
        revision
    }

    /// Takes and acknowledges whatever comes until a revision is reached: a set may be sent before the last change is published.
    pub(super) async fn take_until(&mut self, organization: OrganizationId, wanted: u64) {
        let mut reached = self.take_everything(organization).await;
        while reached < wanted {
            let delta = self.hear("a delta", |body| match body {
                Down::Delta(delta) => delta.target.as_ref().map(|target| target.revision),
                _ => None,
            });
            reached = delta.await;
            self.ack(organization, reached).await;
        }
        assert_eq!(reached, wanted);
    }

    /// Takes what comes into a replica until it has a set and was told that this was all; gives what the replica made of each
    /// revision.
    pub(super) async fn take_into(&mut self, replica: &mut Replica) -> Vec<policy::replica::Applied> {
        let (mut applied, mut is_told) = (Vec::new(), false);
        self.hear("that everything was sent", |body| {
            match body.clone() {
                Down::Welcome(welcome) => {
                    let scope = frame::scope(welcome.scope).expect("a scope");
                    replica.set_scope(scope, &NoKeys).expect("a signed scope");
                }
                Down::FullSetBegin(begin) => replica.begin(begin).expect("a beginning"),
                Down::FullSetChunk(chunk) => replica.chunk(chunk).expect("a chunk"),
                Down::FullSetEnd(end) => applied.push(replica.end(end, &NoKeys).expect("a set that adds up")),
                Down::Synced(_) => is_told = true,
                _ => {}
            }
            // A control plane that was founded a moment ago may say so before it has published anything.
            (is_told && !applied.is_empty()).then_some(())
        })
        .await;
        for it in &applied {
            self.ack(it.organization, it.revision).await;
        }
        applied
    }
}
