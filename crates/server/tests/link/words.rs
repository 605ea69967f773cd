//! What nodes say, in any order and beyond all bounds: nothing of it stops the control plane, reaches another tenant, or stands in
//! the way of what is good beside it.
//!
//! Words are drawn by seed, so that a failure comes back. A panic anywhere in the process fails a test.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::id::{IdMint as _, uuid_v7};
use domain::node::{Holds, NodeGroup, NodeStatus};
use domain::rng::SeededEntropy;
use domain::{Entropy as _, Limit, NodeGroupId, NodeId, OrganizationId, RequestId, Timestamp};
use link::sync::identity::Identity;
use link::sync::transport::Tls;
use policy::wire::usage;
use proto::v1;
use proto::v1::leases_client::LeasesClient;
use proto::v1::remote_keeping_client::RemoteKeepingClient;
use proto::v1::response_keeping_client::ResponseKeepingClient;
use proto::v1::usage_ingest_client::UsageIngestClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Streaming};
use v1::control_message::Body as Down;
use v1::node_message::Body as Up;

use super::bed::{Bed, until};
use super::intruders::{hello, open};
use super::ledger::event;

/// Nothing that the control plane says takes longer.
const WITHIN: Duration = Duration::from_secs(20);
const BATCHES: u32 = 60;
const WORDS: u32 = 250;

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Counts panics of every thread from now on; each test has a process of its own.
fn count_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        usual(info);
    }));
}

struct Dice(SeededEntropy);

impl Dice {
    fn below(&self, n: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        usize::try_from(u64::from_le_bytes(bytes) % n as u64).expect("it is below a usize")
    }

    fn one<T: Clone>(&self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }

    fn number(&self) -> u64 {
        self.one(&[0, 1, 2, 3, 1 << 40, i64::MAX.unsigned_abs(), i64::MAX.unsigned_abs() + 1, u64::MAX])
    }

    fn text(&self) -> String {
        self.one(&[
            String::new(),
            "plain".to_owned(),
            "a\0b".to_owned(),
            "\u{202e}\u{1b}[2J".to_owned(),
            "é".repeat(700),
            "NaN".to_owned(),
        ])
    }
}

/// A node in a group that may hold the first organization only; it speaks for itself.
async fn member(bed: &mut Bed) -> (NodeId, Channel) {
    let group = NodeGroup {
        id: NodeGroupId::from_uuid(bed.cx.mint.next_uuid()),
        organization_id: bed.organization(),
        slug: "narrow".parse().expect("a slug"),
        region: String::new(),
        holds: Holds::Only(vec![bed.organization()]),
        version: 1,
        created_at: bed.cx.now(),
    };
    bed.write(async |tx, permit| store::nodes::insert_group(tx, permit, &group).await).await;
    let everywhere = std::mem::replace(&mut bed.installation.node_group_id, group.id);
    let member = speaker(bed).await;
    bed.installation.node_group_id = everywhere;
    member
}

/// A node of the group that joins now, which speaks for itself.
async fn speaker(bed: &Bed) -> (NodeId, Channel) {
    let node = bed.join(bed.tcp()).await;
    let (id, folder) = (node.link.node_id(), node.stop().await);
    let identity = Identity::load(folder.path()).expect("a file").expect("an identity");
    (id, Tls::new(&identity).expect("usable TLS").connect(&bed.tcp()).await.expect("a connection"))
}

// === Usage ===

type Spoil = fn(&mut v1::UsageEvent);

/// What makes an event one that the ledger will never take.
const BAD: &[Spoil] = &[
    |it| it.started_at_us = i64::MAX,
    |it| it.started_at_us = i64::MIN,
    |it| it.started_at_us = -1,
    |it| it.attempts[0].started_at_us = 253_402_300_800_000_000,
    |it| it.attempts[0].started_at_us = i64::MIN,
    |it| it.attempts[0].cost_nano_usd = i64::MIN,
    |it| it.attempts[0].duration_us = u64::MAX,
    |it| it.attempts[0].n = u32::MAX,
    |it| it.attempts[0].outcome = "maybe".to_owned(),
    |it| it.attempts[0].usage = Some(v1::TokenUsage { input: u64::MAX, ..v1::TokenUsage::default() }),
    |it| it.attempts[0].upstream_model = incompressible(),
    |it| it.attempts = vec![it.attempts[0].clone(); 5_000],
    |it| it.request_id = String::new(),
    |it| it.request_id = it.organization_id.clone(),
    |it| it.request_id = RequestId::from_uuid(uuid_v7(Timestamp::from_micros(0), [1; 10])).to_string(),
    |it| it.request_id = RequestId::from_uuid(u128::MAX).to_string(),
    |it| it.organization_id = OrganizationId::from_uuid(42).to_string(),
    |it| it.organization_id = String::new(),
    |it| it.workspace_id = "ws_\0".to_owned(),
    |it| it.virtual_key_id = String::new(),
    |it| it.deployment_id = Some("x".to_owned()),
    |it| it.outcome = "never heard of".to_owned(),
    |it| it.endpoint = "\0".to_owned(),
    |it| it.status = u32::MAX,
    |it| it.cost_nano_usd = i64::MAX,
    |it| it.saved_cost_nano_usd = i64::MIN,
    |it| it.saved_input = u64::MAX,
    |it| it.duration_us = u64::MAX,
    |it| it.first_byte_us = Some(u64::MAX),
    |it| it.usage = Some(v1::TokenUsage { output: u64::MAX, ..v1::TokenUsage::default() }),
    |it| it.units = Some(v1::UnitUsage { images: u64::MAX, ..v1::UnitUsage::default() }),
    |it| it.cache = Some("warm".to_owned()),
    |it| it.model = incompressible(),
    |it| it.provider = Some(incompressible()),
    |it| it.metadata = vec![v1::Pair { name: "n".to_owned(), value: "v".repeat(2 << 20) }],
    |it| it.charges = vec![v1::Charge { amount: u64::MAX, ..charge() }],
    |it| it.charges = vec![v1::Charge { group_key: "a\0".to_owned(), ..charge() }],
    |it| it.charges = vec![v1::Charge { window: "fortnight".to_owned(), ..charge() }],
];

/// What is strange, and is booked all the same.
const STRANGE: &[Spoil] = &[
    |_| (),
    |it| it.model = "m\0".to_owned(),
    |it| it.model = String::new(),
    |it| it.provider = Some("p\0".to_owned()),
    |it| it.upstream_model = Some("\0".to_owned()),
    |it| it.code = Some("\0code".to_owned()),
    |it| it.end_user = Some("ann\0".to_owned()),
    |it| it.conversation_id = Some("\0\0".to_owned()),
    |it| it.tags = vec!["\0".to_owned(), "\\u0000".to_owned()],
    |it| it.dropped = vec!["$.a\0".to_owned()],
    |it| it.metadata = vec![v1::Pair { name: "\0".to_owned(), value: "\\\0".to_owned() }],
    |it| it.attempts[0].provider = "p\0".to_owned(),
    |it| it.attempts[0].upstream_request_id = Some("\0".to_owned()),
    |it| it.policy_revision = u64::MAX,
    |it| it.attempts.clear(),
    |it| it.usage = None,
    |it| it.charges = vec![charge()],
    |it| it.code = Some("c".repeat(100_000)),
];

fn charge() -> v1::Charge {
    v1::Charge {
        budget_id: domain::BudgetId::from_uuid(5).to_string(),
        window: "month".to_owned(),
        group_key: String::new(),
        lease_id: Some(domain::LeaseId::from_uuid(6).to_string()),
        amount: 1_000_000_000_000_000_000,
    }
}

/// A name that no index entry holds, however it is packed.
fn incompressible() -> String {
    let mut bytes = vec![0; 8_192];
    SeededEntropy::new(7).fill(&mut bytes);
    bytes.iter().map(|byte| char::from(b'!' + byte % 90)).collect()
}

fn message(bed: &Bed, node: NodeId) -> v1::UsageEvent {
    let event = usage::encode(&event(bed, node, bed.organization()));
    let attempt = v1::Attempt {
        n: 1,
        deployment_id: domain::DeploymentId::from_uuid(3).to_string(),
        provider: "echo".to_owned(),
        upstream_model: "echo-1".to_owned(),
        started_at_us: event.started_at_us,
        outcome: "success".to_owned(),
        status: Some(200),
        ..v1::Attempt::default()
    };
    v1::UsageEvent { attempts: vec![attempt], ..event }
}

struct Reporting {
    batches: mpsc::Sender<v1::UsageBatch>,
    acks: Streaming<v1::UsageAck>,
}

async fn report(channel: &Channel) -> Reporting {
    let (batches, receiver) = mpsc::channel(4);
    let client = UsageIngestClient::new(channel.clone()).max_encoding_message_size(64 << 20);
    let acks = { client }.report(ReceiverStream::new(receiver)).await.expect("a stream").into_inner();
    Reporting { batches, acks }
}

impl Reporting {
    async fn send(&mut self, batch: v1::UsageBatch) -> Result<v1::UsageAck, tonic::Status> {
        self.batches.send(batch).await.expect("room");
        let ack = tokio::time::timeout(WITHIN, self.acks.message()).await.expect("an answer in time")?;
        ack.ok_or_else(|| tonic::Status::internal("the stream ended without a word"))
    }
}

/// The ids of the ledger, read as people read it: every row must be readable.
async fn ledger(bed: &Bed) -> Vec<RequestId> {
    let mut tx = bed.cx.store.read(bed.organization()).await.expect("a read");
    let (limit, filter) = (Limit::new(200).expect("a limit"), store::usage::RequestFilter::default());
    let (mut ids, mut cursor) = (Vec::new(), None);
    loop {
        let page = store::usage::list(&mut tx, bed.installation.workspace_id, &filter, cursor.as_ref(), limit).await;
        let page = page.expect("every row can be read");
        ids.extend(page.items.iter().map(|event| event.id));
        cursor = page.next_cursor;
        if cursor.is_none() {
            return ids;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_reported_the_good_is_booked_once_and_the_bad_is_named() {
    count_panics();
    let mut bed = Bed::new().await;
    let (node, channel) = member(&mut bed).await;
    let dice = Dice(SeededEntropy::new(20_261_123));
    let mut stream = report(&channel).await;
    let (mut expected, mut sent) = (BTreeSet::new(), Vec::<(v1::UsageBatch, BTreeSet<u64>)>::new());
    let (mut n_refused, mut bad_turn, mut strange_turn) = (0, 0, 0);
    for _ in 0..BATCHES {
        if dice.below(4) == 0 && !sent.is_empty() {
            // Again, late, or after others of its life: nothing is booked twice, and the same is refused.
            let (batch, refused) = dice.one(&sent);
            let last = batch.first_sequence + batch.events.len() as u64 - 1;
            let ack = stream.send(batch).await.expect("an acknowledgement");
            assert!(ack.watermark >= last && ack.retry_after_ms.is_none(), "{ack:?}");
            assert_eq!(ack.refused.iter().map(|it| it.sequence).collect::<BTreeSet<_>>(), refused);
            continue;
        }
        // With holes, from several lives, up to the last sequence there is.
        let boot_id = dice.one(&["b1", "b2", "an older one"]).replace(' ', "-");
        let most = i64::MAX.unsigned_abs();
        let first_sequence = dice.one(&[1, 2, 7, 1_000, 1 << 50, most - 20, 0]);
        let (mut events, mut refused) = (Vec::new(), BTreeSet::new());
        for at in 0..=dice.below(8) as u64 {
            let mut it = message(&bed, node);
            if dice.below(2) == 0 {
                BAD[bad_turn % BAD.len()](&mut it);
                bad_turn += 1;
                refused.insert(first_sequence + at);
            } else {
                STRANGE[strange_turn % STRANGE.len()](&mut it);
                strange_turn += 1;
                expected.insert(it.request_id.parse::<RequestId>().expect("an id"));
            }
            events.push(it);
        }
        let batch = v1::UsageBatch { boot_id, first_sequence, events, lost_events: dice.number() };
        let last = first_sequence + batch.events.len() as u64 - 1;
        let ack = stream.send(batch.clone()).await.expect("an acknowledgement");
        assert_eq!((&ack.boot_id, ack.retry_after_ms), (&batch.boot_id, None), "it is never stuck: {ack:?}");
        assert!(ack.watermark >= last, "{} of {last}", ack.watermark);
        assert_eq!(ack.refused.iter().map(|it| it.sequence).collect::<BTreeSet<_>>(), refused, "{:?}", ack.refused);
        assert!(ack.refused.iter().all(|it| !it.reason.is_empty()));
        n_refused += refused.len() as u64;
        sent.push((batch, refused));
    }
    assert!(bad_turn >= BAD.len() && strange_turn >= STRANGE.len(), "each had its turn: {bad_turn}, {strange_turn}");
    // What is no batch at all ends its stream with a reason, and the next one works.
    for (boot_id, first_sequence) in [("", 1), ("a\0", 1), (&*"x".repeat(65), 1), ("b1", u64::MAX), ("b1", 1 << 63)] {
        let batch = v1::UsageBatch {
            boot_id: boot_id.to_owned(),
            first_sequence,
            events: vec![message(&bed, node)],
            lost_events: 0,
        };
        assert_eq!(stream.send(batch).await.expect_err("refused").code(), Code::InvalidArgument);
        stream = report(&channel).await;
    }
    let booked = ledger(&bed).await;
    assert_eq!(booked.len(), expected.len(), "no event stands twice");
    assert_eq!(booked.into_iter().collect::<BTreeSet<_>>(), expected);
    let foreign = "UPDATE usage_events SET day = day WHERE organization_id <> (SELECT id FROM organizations)";
    assert_eq!(bed.database().tamper(foreign).await.expect("a count"), 0, "no row of another organization");
    assert!(bed.cx.metrics.usage_refused.load(Ordering::Relaxed) >= n_refused, "each refusal is counted");
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_only_the_database_refuses_keeps_no_other_from_the_ledger() {
    let mut bed = Bed::new().await;
    let (node, channel) = member(&mut bed).await;
    bed.database()
        .tamper("ALTER TABLE usage_events ADD CONSTRAINT unforeseen CHECK (model <> 'poison')")
        .await
        .expect("a rule that nobody foresaw");
    let mut stream = report(&channel).await;
    let mut events: Vec<_> = (0..9).map(|_| message(&bed, node)).collect();
    for at in [2, 3, 8] {
        events[at].model = "poison".to_owned();
    }
    let batch = v1::UsageBatch { boot_id: "b".to_owned(), first_sequence: 11, events, lost_events: 0 };
    for _ in 0..2 {
        let ack = stream.send(batch.clone()).await.expect("an acknowledgement");
        assert_eq!((ack.watermark, ack.retry_after_ms), (19, None));
        let refused: Vec<_> = ack.refused.iter().map(|it| (it.sequence, it.reason.as_str())).collect();
        assert_eq!(refused, [13, 14, 19].map(|sequence| (sequence, "the database refuses it")));
    }
    assert_eq!(ledger(&bed).await.len(), 6);
}

// === The stream of policy ===

async fn status_of(bed: &Bed, node: NodeId) -> NodeStatus {
    let mut tx = bed.cx.store.read(bed.organization()).await.expect("a read");
    let listed = store::nodes::list_status(&mut tx, &[node]).await.expect("a status");
    listed.into_iter().next().map(|(_, status)| status).unwrap_or_default()
}

fn word(bed: &Bed, dice: &Dice) -> Option<Up> {
    let organization_id = dice.one(&[
        bed.organization().to_string(),
        bed.organization().to_string(),
        OrganizationId::from_uuid(u128::from(dice.number())).to_string(),
        dice.text(),
    ]);
    let hash = dice.one(&[Vec::new(), vec![0; 32], vec![9; 32], vec![1; 1_000]]);
    let bad = || v1::BadResource { kind: i32::MAX, id: dice.text(), reason: dice.text(), detail: "d\0".repeat(10_000) };
    Some(match dice.below(8) {
        0 => Up::Ack(v1::Ack { organization_id, revision: dice.number() }),
        1 | 2 => Up::Nack(v1::Nack {
            organization_id,
            revision: dice.number(),
            bad: (0..dice.below(300)).map(|_| bad()).collect(),
            refusal: dice.one(&[0, 0, 1, 3, 5, 99, -1]),
            detail: dice.text(),
        }),
        3 => Up::Resync(v1::ResyncRequest { organization_id, reason: dice.text() }),
        4 => Up::Status(v1::NodeStatus {
            spool_events: dice.number(),
            lost_events: dice.number(),
            spool_age_ms: dice.number(),
            held: vec![held(organization_id, dice, hash); 3],
            ..v1::NodeStatus::default()
        }),
        5 => Up::Ping(v1::Ping { nonce: dice.number(), policy_age_ms: u64::MAX, ..v1::Ping::default() }),
        6 => Up::Pong(v1::Pong { nonce: dice.number() }),
        _ => return None,
    })
}

fn held(organization_id: String, dice: &Dice, set_hash: Vec<u8>) -> v1::Held {
    v1::Held {
        organization_id,
        revision: dice.number(),
        set_hash: set_hash.into(),
        resource_count: dice.number(),
        data_key_versions: vec![0, u32::MAX],
    }
}

/// Waits for the answer to a ping of our own; gives the reason when the control plane ended the stream instead.
async fn answered(down: &mut Streaming<v1::ControlMessage>, nonce: u64) -> Result<(), String> {
    let hearing = async {
        loop {
            match down.message().await {
                Ok(Some(message)) => match message.body {
                    Some(Down::Pong(pong)) if pong.nonce == nonce => return Ok(()),
                    Some(Down::Drain(drain)) => return Err(drain.reason),
                    _ => {}
                },
                Ok(None) => return Err("ended without a word".to_owned()),
                Err(status) => return Err(status.message().to_owned()),
            }
        }
    };
    tokio::time::timeout(WITHIN, hearing).await.expect("the stream is never stuck")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_node_says_of_policy_it_goes_on_and_others_notice_nothing() {
    count_panics();
    let bed = Bed::new().await;
    let honest = bed.join(bed.tcp()).await;
    honest.until_accepts(&bed.key).await;
    // Of the group that holds every organization, so that any id may be one of its own.
    let (node, channel) = speaker(&bed).await;
    let dice = Dice(SeededEntropy::new(4_711));
    let (mut stream, mut ends) = (None, Vec::new());
    for turn in 0..u64::from(WORDS) {
        let (up, mut down) = if let Some(standing) = stream.take() {
            standing
        } else {
            let mut first = hello(node);
            (first.build, first.boot_id) = (dice.text(), dice.text());
            first.held = vec![
                held(bed.organization().to_string(), &dice, vec![7; 32]),
                held(OrganizationId::from_uuid(u128::from(turn)).to_string(), &dice, vec![7; 32]),
                held(dice.text(), &dice, Vec::new()),
            ];
            open(channel.clone(), first).await.expect("a stream begins again")
        };
        let nonce = (1 << 60) + turn;
        let ping = Up::Ping(v1::Ping { nonce, ..v1::Ping::default() });
        for body in [word(&bed, &dice), Some(ping)] {
            // A stream that has just ended takes nothing more; its end is heard below.
            up.send(v1::NodeMessage { body }).await.ok();
        }
        match answered(&mut down, nonce).await {
            Ok(()) => stream = Some((up, down)),
            Err(end) => ends.push(end),
        }
    }
    assert!(ends.iter().all(|end| end == "too many full sets needed"), "{ends:?}");
    drop(stream);

    // What is kept of it can be read and is bounded; what was never sent was never held.
    until("its last word is written", async || (!status_of(&bed, node).await.is_connected).then_some(())).await;
    let status = status_of(&bed, node).await;
    assert!(status.build.len() <= 160 && !status.build.contains('\0'), "{status:?}");
    assert!(status.acknowledged.iter().all(|(id, _)| *id == bed.organization()), "{status:?}");
    for (_, reason) in status.last_nack.iter().flat_map(|nack| &nack.reasons) {
        assert!(reason.len() <= 2_000 && !reason.contains('\0'));
    }
    let now = bed.cx.now();
    assert!(status.last_contact_at.is_some_and(|at| now.since(at) < Duration::from_secs(600)));
    let (_, key, _) = bed.issue_key().await;
    honest.until_accepts(&key).await;
    assert_eq!(honest.link.status().state().sessions, 1);
    // Nor does it move what an operator declares.
    let declared = downlink::sync::restored::declare(&bed.cx).await.expect("declared");
    let revision = declared.revisions[&bed.organization()];
    assert!(revision < 1 << 42, "{revision}");
    let mut tx = bed.cx.store.read(bed.organization()).await.expect("a read");
    let page =
        store::audit::list(&mut tx, &store::audit::Filter::default(), None, Limit::new(200).expect("a limit")).await;
    let nacks = page.expect("a log").items.iter().filter(|entry| entry.action == "node.nack").count();
    assert!(nacks > 0, "refusals are written down");
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
}

// === Unary calls ===

struct Unary {
    leases: LeasesClient<Channel>,
    remotes: RemoteKeepingClient<Channel>,
    keeping: ResponseKeepingClient<Channel>,
}

fn told(dice: &Dice, organization_id: String) -> v1::TellRequest {
    let account = v1::AccountKey {
        organization_id,
        budget_id: domain::BudgetId::from_uuid(5).to_string(),
        window: dice.one(&["month", "fortnight", ""]).to_owned(),
        group_key: dice.text(),
    };
    let holding = v1::Holding {
        lease_id: domain::LeaseId::from_uuid(6).to_string(),
        granted: dice.number(),
        returned: dice.number(),
        unused: dice.number(),
        held: dice.number(),
    };
    v1::TellRequest {
        boot_id: dice.text(),
        sequence: dice.number(),
        asks: vec![v1::Ask { account: Some(account), need: dice.number(), ahead: dice.number() }],
        holdings: vec![holding],
        done_lease_ids: Vec::new(),
        delivered_boot_ids: vec![dice.text()],
    }
}

fn object(dice: &Dice, scope: v1::RemoteScope, id: u128) -> v1::RemoteObject {
    v1::RemoteObject {
        id: domain::RemoteId::from_uuid(id).to_string(),
        scope: Some(scope),
        kind: dice.one(&["batch", "file", "shoe"]).to_owned(),
        virtual_key_id: domain::VirtualKeyId::from_uuid(1).to_string(),
        provider: dice.text(),
        credential_id: domain::CredentialId::from_uuid(2).to_string(),
        upstream_id: dice.text(),
        facts: dice.text(),
        created_at_us: dice.one(&[0, i64::MIN, i64::MAX]),
        expires_at_us: dice.one(&[0, i64::MIN, i64::MAX]),
        due_at_us: dice.one(&[None, Some(i64::MIN), Some(i64::MAX)]),
        booked_at_us: dice.one(&[None, Some(i64::MIN)]),
    }
}

impl Unary {
    /// Asks one thing of each kind; gives the refusals.
    async fn ask(&mut self, dice: &Dice, organization_id: String, bed: &Bed) -> Vec<tonic::Status> {
        let workspace_id = bed.installation.workspace_id.to_string();
        let environment_id = bed.installation.environments[0].1.to_string();
        let place = v1::KeptPlace {
            organization_id: organization_id.clone(),
            workspace_id: workspace_id.clone(),
            environment_id: environment_id.clone(),
            response_id: dice.text(),
        };
        let keep = v1::KeepRequest {
            place: Some(place.clone()),
            data_key_version: dice.one(&[0, 1, u32::MAX]),
            sealed: vec![1; 10].into(),
            expires_at_us: dice.one(&[0, i64::MIN, i64::MAX]),
        };
        let told = told(dice, organization_id.clone());
        let scope = v1::RemoteScope { organization_id, workspace_id, environment_id };
        let object = object(dice, scope.clone(), bed.cx.mint.next_uuid());
        let settle = v1::SettleRemoteRequest {
            scope: Some(scope.clone()),
            id: object.id.clone(),
            look_again_at_us: dice.one(&[None, Some(i64::MIN), Some(i64::MAX)]),
        };
        let list = v1::ListRemotesRequest {
            scope: Some(scope),
            kind: dice.one(&["batch", "file", "\0"]).to_owned(),
            after_id: dice.one(&[None, Some(dice.text())]),
            limit: dice.one(&[0, 1, u32::MAX]),
            ascending: true,
        };
        let refusals = [
            self.leases.tell(told).await.err(),
            self.remotes.note(v1::NoteRemoteRequest { object: Some(object) }).await.err(),
            self.remotes.settle(settle).await.err(),
            self.remotes.list(list).await.err(),
            self.remotes.take_due(v1::TakeDueRemotesRequest { limit: u32::MAX }).await.err(),
            self.keeping.keep(keep).await.err(),
            self.keeping.find(v1::FindKeptRequest { place: Some(place) }).await.err(),
        ];
        refusals.into_iter().flatten().collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_asked_of_leases_and_keepers_is_answered_or_refused_by_name() {
    count_panics();
    let mut bed = Bed::new().await;
    let (_, channel) = member(&mut bed).await;
    let dice = Dice(SeededEntropy::new(99));
    let mut unary = Unary {
        leases: LeasesClient::new(channel.clone()),
        remotes: RemoteKeepingClient::new(channel.clone()),
        keeping: ResponseKeepingClient::new(channel),
    };
    let organizations = [bed.organization(), OrganizationId::from_uuid(42)].map(|id| id.to_string());
    let organizations = [&organizations[..], &[String::new(), "\0".to_owned()]].concat();
    let mut refused = BTreeSet::new();
    for _ in 0..WORDS {
        let refusals = unary.ask(&dice, dice.one(&organizations), &bed).await;
        refused.extend(refusals.iter().map(|it| (it.code().to_string(), it.message().to_owned())));
    }
    let known = [Code::InvalidArgument, Code::PermissionDenied, Code::Aborted].map(|code| code.to_string());
    let strange: Vec<_> = refused.iter().filter(|(code, _)| !known.contains(code)).collect();
    assert!(strange.is_empty(), "{strange:?}");
    assert!(refused.len() > 4, "{refused:?}");
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
}
