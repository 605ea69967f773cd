//! A control plane that lies: it holds a valid server certificate and speaks the protocol, but not what was signed.
//!
//! TLS alone would believe it. The node must not: each lie is refused by name and the last good policy stays in force.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use domain::node::Holds;
use domain::{OrganizationId, Timestamp};
use downlink::ca::Authority;
use downlink::publisher::PolicySigner;
use link::sync::transport::ControlAddress;
use policy::set::SetHash;
use policy::sign::{NodeScope, Revision, Signed, Signer};
use policy::wire::frame;
use proto::v1;
use proto::v1::node_sync_server::{NodeSync, NodeSyncServer};
use runtime::tls::{CertificateSlot, ClientCertificates, roots_of, server_config};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};
use v1::control_message::Body as Down;
use v1::node_message::Body as Up;

use super::bed::{Bed, TestNode, until};

/// One stream that a node opened.
struct Session {
    hello: v1::Hello,
    down: mpsc::Sender<Result<v1::ControlMessage, Status>>,
    up: mpsc::Receiver<v1::NodeMessage>,
}

impl Session {
    async fn tell(&self, body: Down) {
        self.down.send(Ok(v1::ControlMessage { body: Some(body) })).await.expect("the node listens");
    }

    /// The next refusal of the node; its status reports and pings are passed over.
    async fn refusal(&mut self) -> v1::Nack {
        loop {
            let message = self.up.recv().await.expect("the node answers");
            if let Some(Up::Nack(nack)) = message.body {
                return nack;
            }
        }
    }

    async fn resync(&mut self) -> v1::ResyncRequest {
        loop {
            let message = self.up.recv().await.expect("the node answers");
            if let Some(Up::Resync(request)) = message.body {
                return request;
            }
        }
    }
}

struct Forger {
    sessions: mpsc::Sender<Session>,
}

#[tonic::async_trait]
impl NodeSync for Forger {
    type SyncStream = ReceiverStream<Result<v1::ControlMessage, Status>>;

    async fn sync(&self, request: Request<Streaming<v1::NodeMessage>>) -> Result<Response<Self::SyncStream>, Status> {
        let mut incoming = request.into_inner();
        let Some(Up::Hello(hello)) = incoming.message().await?.and_then(|message| message.body) else {
            return Err(Status::invalid_argument("no hello"));
        };
        let ((down, to_node), (from_node, up)) = (mpsc::channel(16), mpsc::channel(64));
        let pump = runtime::tasks::spawn("test.forger", async move {
            while let Ok(Some(message)) = incoming.message().await {
                if from_node.send(message).await.is_err() {
                    return;
                }
            }
        });
        drop(pump);
        drop(self.sessions.send(Session { hello, down, up }).await);
        Ok(Response::new(ReceiverStream::new(to_node)))
    }

    async fn renew(&self, _: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        Err(Status::unavailable("not today"))
    }
}

struct Wire(TlsStream<TcpStream>);

impl Connected for Wire {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

/// Starts a forger with a certificate of the bed's own authority.
async fn forge(bed: &Bed) -> (ControlAddress, Mutex<mpsc::Receiver<Session>>) {
    let cx = &bed.cx;
    let authority =
        Authority::load(&cx.store, &cx.keyring, Arc::clone(&cx.entropy), cx.now()).await.expect("an authority");
    let (chain, key) = authority.certify_server(cx.now()).expect("a certificate");
    let slot = CertificateSlot::new(chain, key).expect("a slot");
    let clients = ClientCertificates::Optional(roots_of(authority.bundle()).expect("roots"));
    let acceptor = TlsAcceptor::from(Arc::new(server_config(slot, clients, &[b"h2"]).expect("TLS")));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = ControlAddress::parse(&listener.local_addr().expect("an address").to_string()).expect("an address");
    let ((sessions, opened), (accepted, incoming)) = (mpsc::channel(4), mpsc::channel::<std::io::Result<Wire>>(4));
    drop(runtime::tasks::spawn("test.forger.accept", async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await
                && accepted.send(Ok(Wire(stream))).await.is_err()
            {
                return;
            }
        }
    }));
    let server = tonic::transport::Server::builder().add_service(NodeSyncServer::new(Forger { sessions }));
    drop(runtime::tasks::spawn("test.forger.serve", async move {
        drop(server.serve_with_incoming(ReceiverStream::new(incoming)).await);
    }));
    (address, Mutex::new(opened))
}

struct OtherSigner<'a>(&'a PolicySigner);

impl Signer for OtherSigner<'_> {
    fn key_id(&self) -> &str {
        self.0.key_id()
    }

    fn sign(&self, statement: &[u8]) -> [u8; 64] {
        let mut signature = self.0.sign(statement);
        signature[7] ^= 1;
        signature
    }
}

fn revision(bed: &Bed, number: u64, hash: u8) -> Revision {
    Revision {
        organization: bed.organization(),
        number,
        issued_at: Timestamp::from_micros(bed.cx.now().as_micros()),
        set_hash: SetHash([hash; 32]),
        resource_count: 40,
        flags: 0,
    }
}

fn delta(target: &Signed<Revision>, from_revision: u64) -> Down {
    let target = Some(frame::revision_message(target));
    Down::Delta(v1::Delta { target, from_revision, upserts: Vec::new(), removals: Vec::new() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_lie_is_refused_by_name_and_the_last_good_policy_stays() {
    let bed = Bed::new().await;
    let node = bed.join(bed.tcp()).await;
    node.until_accepts(&bed.key).await;
    until("synced", async || node.link.status().state().is_synced.then_some(())).await;
    let held = node.revision(bed.organization());
    let folder = node.stop().await;
    let (address, sessions) = forge(&bed).await;
    let signer = PolicySigner::load(&bed.cx).await.expect("a signing key");
    let node = TestNode::start(folder, address, None).await.expect("a start");
    let next = async || sessions.lock().await.recv().await.expect("the node connects");
    let welcome = |holds: Holds, signer: &dyn Signer| {
        let statement = NodeScope { group: bed.installation.node_group_id, holds, issued_at: bed.cx.now() };
        let scope = Some(frame::scope_message(&Signed::new(statement, signer)));
        Down::Welcome(v1::Welcome { protocol: 1, scope, ..v1::Welcome::default() })
    };

    // A scope that was not signed ends the session at once.
    let mut session = next().await;
    assert_eq!(session.hello.held[0].revision, held);
    session.tell(welcome(Holds::All, &OtherSigner(&signer))).await;
    assert_eq!(session.refusal().await.refusal(), v1::Refusal::Signature);

    // So does a revision that was not.
    let mut session = next().await;
    session.tell(welcome(Holds::All, &signer)).await;
    session.tell(delta(&Signed::new(revision(&bed, held + 1, 9), &OtherSigner(&signer)), held)).await;
    let nack = session.refusal().await;
    assert_eq!((nack.refusal(), nack.revision), (v1::Refusal::Signature, held + 1));

    let mut session = next().await;
    session.tell(welcome(Holds::Only(vec![bed.organization()]), &signer)).await;
    // Rightly signed, but not what the content adds up to: the whole set is asked for.
    session.tell(delta(&Signed::new(revision(&bed, held + 1, 9), &signer), held)).await;
    assert_eq!(session.refusal().await.refusal(), v1::Refusal::SetHash);
    assert_eq!(session.resync().await.organization_id, bed.organization().to_string());
    // Back in time, out of order, too small, foreign.
    session.tell(delta(&Signed::new(revision(&bed, held - 1, 9), &signer), held)).await;
    assert_eq!(session.refusal().await.refusal(), v1::Refusal::Revision);
    session.tell(delta(&Signed::new(revision(&bed, held + 2, 9), &signer), held + 1)).await;
    assert_eq!(session.refusal().await.refusal(), v1::Refusal::Revision);
    let empty = Revision { resource_count: 0, ..revision(&bed, held + 1, 9) };
    session.tell(delta(&Signed::new(empty, &signer), held)).await;
    assert_eq!(session.refusal().await.refusal(), v1::Refusal::Shrink);
    let foreign = Revision { organization: OrganizationId::from_uuid(42), ..revision(&bed, 1, 9) };
    session.tell(delta(&Signed::new(foreign, &signer), 0)).await;
    assert_eq!(session.refusal().await.refusal(), v1::Refusal::Scope);
    session
        .tell(Down::FullSetEnd(v1::FullSetEnd { organization_id: bed.organization().to_string(), revision: 1 }))
        .await;
    assert_eq!(session.refusal().await.refusal(), v1::Refusal::Sequence);
    // A data key for another node.
    let grant = v1::KeyGrant {
        organization_id: bed.organization().to_string(),
        data_key_version: 2,
        encapsulated: vec![1; 32].into(),
        ciphertext: vec![2; 48].into(),
    };
    session.tell(Down::KeyGrant(grant)).await;
    assert_eq!(session.refusal().await.refusal(), v1::Refusal::Signature);

    assert_eq!(node.identify(&bed.key), Ok(()));
    assert_eq!(node.revision(bed.organization()), held);
    let state = node.link.status().state();
    assert!(state.refused >= 8 && state.applied == 0, "{state:?}");
}
