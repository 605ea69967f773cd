//! A database with an organization, destinations in it, and offices that send.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::alert::{Alert, AlertKind, Delivery, Destination, DestinationKind, Filter, Severity};
use domain::audit::Audit;
use domain::credential::SealedSecret;
use domain::id::uuid_v7;
use domain::organization::Organization;
use domain::rng::SeededEntropy;
use domain::time::ManualClock;
use domain::{AuditEntryId, Clock as _, DestinationId, JobName, OrganizationId, Permit, Scope, Timestamp};
use notify::{Address, Courier, Office, Opener};
use store::alerts::deliveries::{self, Wanted};
use store::alerts::{self, destinations};
use store::credentials::SealedDataKey;
use store::testing::TestDatabase;
use store::{AuditDraft, Store, WriteTx};
use upstream::dial::Network;
use zeroize::Zeroizing;

/// 2026-11-22T12:00:00Z.
pub(crate) const NOON: Timestamp = Timestamp::from_micros(1_795_348_800_000_000);

static NEXT: AtomicU64 = AtomicU64::new(1);

fn uuid() -> u128 {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    uuid_v7(NOON, random)
}

/// Seals nothing: what is under test here is what is sent.
struct Open;

impl Opener for Open {
    fn open(&self, _: OrganizationId, _: &[u8], _: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        Some(Zeroizing::new(sealed.to_vec()))
    }
}

pub(crate) struct World {
    _database: TestDatabase,
    pub(crate) store: Store,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) organization: OrganizationId,
}

impl World {
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::create().await.expect("a test database");
        let store = database.store().await.expect("a store");
        let organization = OrganizationId::from_uuid(uuid());
        let permit = permit(organization);
        let founded = Organization {
            id: organization,
            slug: "first".parse().expect("a slug"),
            name: "First".parse().expect("a name"),
            max_stale: Organization::DEFAULT_MAX_STALE,
            response_retention: Organization::DEFAULT_RESPONSE_RETENTION,
            version: 1,
            created_at: NOON,
        };
        let mut tx = store.found(organization).await.expect("a founding");
        store::organizations::insert(&mut tx, &permit, &founded).await.expect("an organization");
        let key = SealedDataKey { version: 1, sealed: vec![0], created_at: NOON };
        store::credentials::insert_data_key(&mut tx, &permit, &key).await.expect("a data key");
        note(&mut tx, &permit);
        tx.commit().await.expect("committed");
        Self { _database: database, store, clock: Arc::new(ManualClock::new(NOON)), organization }
    }

    /// An office that calls what the rules allow, and mails by a server.
    pub(crate) fn office(&self, rules: runtime::egress::Rules, smtp: Option<notify::smtp::Smtp>) -> Office {
        let dial = Network::new(Arc::new(rules), None).expect("a dialler");
        Office {
            store: self.store.clone(),
            courier: Arc::new(Courier::new(Arc::new(dial), smtp)),
            opener: Arc::new(Open),
            clock: Arc::<ManualClock>::clone(&self.clock),
            entropy: Arc::new(SeededEntropy::new(1)),
        }
    }

    /// An office that may call this machine.
    pub(crate) fn local_office(&self) -> Office {
        self.office(runtime::egress::Rules::new(runtime::egress::Rules::loopback()), None)
    }

    pub(crate) fn advance(&self, secs: u64) {
        self.clock.advance(Duration::from_secs(secs));
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Adds a destination; webhooks get a signing secret, which is returned.
    pub(crate) async fn destination(&self, kind: DestinationKind, name: &str, url: &str) -> (DestinationId, String) {
        let mut address = Address::parse(url).ok();
        let mut secret = String::new();
        if let Some(address) = &mut address {
            secret = address.rotate(None, &SeededEntropy::new(u64::try_from(url.len()).expect("small")));
            address.routing_key = (kind == DestinationKind::Pagerduty).then(|| "R0".to_owned());
        }
        let sealed = address.map(|address| serde_json::to_vec(&address).expect("serialises"));
        let it = Destination {
            id: DestinationId::from_uuid(uuid()),
            organization_id: self.organization,
            name: name.parse().expect("a name"),
            kind,
            is_enabled: true,
            filter: Filter::default(),
            recipients: vec!["ada@example.com".parse().expect("an address"), "bob@example.com".parse().expect("one")],
            hint: String::new(),
            secret: sealed.map(|ciphertext| SealedSecret { key_version: 1, ciphertext }),
            secret_version: 1,
            old_secret_retires_at: None,
            version: 1,
            created_at: NOON,
            updated_at: NOON,
            archived_at: None,
        };
        let permit = permit(self.organization);
        let mut tx = self.store.write(self.organization).await.expect("a write");
        destinations::insert(&mut tx, &permit, &it).await.expect("a destination");
        note(&mut tx, &permit);
        tx.commit().await.expect("committed");
        (it.id, secret)
    }

    pub(crate) async fn archive(&self, id: DestinationId) {
        let permit = permit(self.organization);
        let mut tx = self.store.write(self.organization).await.expect("a write");
        destinations::archive(&mut tx, &permit, id, NOON).await.expect("archived");
        note(&mut tx, &permit);
        tx.commit().await.expect("committed");
    }

    pub(crate) async fn send_again(&self, id: domain::DeliveryId) {
        let permit = permit(self.organization);
        let mut tx = self.store.write(self.organization).await.expect("a write");
        deliveries::send_again(&mut tx, &permit, id, self.now()).await.expect("due again");
        note(&mut tx, &permit);
        tx.commit().await.expect("committed");
    }

    pub(crate) async fn raise(&self, count: usize) -> Alert {
        let kind = (AlertKind::BudgetThreshold, Severity::Warning);
        let make = |n: usize| {
            Alert::new(self.organization, kind, "budget/1", &format!("once/{n}"), "80 % are spent.", self.now())
                .with("posted", "20")
        };
        let alerts: Vec<Alert> = (0..count).map(make).collect();
        let mut tx = self.store.system().await.expect("a transaction");
        alerts::raise(&mut tx, &alerts).await.expect("raised");
        tx.commit().await.expect("committed");
        alerts[0].clone()
    }

    pub(crate) async fn deliveries(&self) -> Vec<Delivery> {
        let mut tx = self.store.read(self.organization).await.expect("a read");
        let most = domain::Limit::new(domain::Limit::MAX).expect("a limit");
        deliveries::list(&mut tx, Wanted::default(), None, most).await.expect("a list").items
    }

    pub(crate) async fn delivery(&self) -> Delivery {
        let mut found = self.deliveries().await;
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }
}

fn permit(organization: OrganizationId) -> Permit {
    Permit::system(JobName::Bootstrap, Scope::Organization(organization))
}

fn note(tx: &mut WriteTx, permit: &Permit) {
    let audit = Audit::new("test.arrange", "test", &"id", &"name");
    let id = AuditEntryId::from_uuid(uuid());
    tx.audit(permit, AuditDraft { id, at: NOON, actor_name: "tests".to_owned(), audit });
}
