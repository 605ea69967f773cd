//! Money for exactly so many calls, two hundred clients at four nodes: never one more is sent, and none is refused while money
//! is left, also when clients leave, upstreams fail, a node is killed, and the control plane is away.
//!
//! Every client says a word of its own, so that the upstream can tell whose calls reached it. A client that is told to come back
//! does. Invariant: verdicts are about counts, never about who was served or how long it took.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use testkit::upstream::{Gate, Reply, openai_stream, openai_whole};
use testkit::{Actor, Answer, Control, Gateway, RedisServer, Upstream, until};

use crate::again::join;
use crate::chat::{MODEL, openai_at};
use crate::crash::{Seeded, seed};

const NODES: usize = 4;
const CLIENTS: usize = 200;
/// The input tokens that the upstream counts, about half of what a call has to hold for: how many calls run at once near the end
/// of a budget goes by that.
const INPUT: u64 = 100;
/// The other model of the scripted upstream, to fall back on.
const OTHER: &str = "gpt-4o";
/// The route that leads from one to the other.
const ROUTE: &str = "twice";
/// The longest that something between processes may take here.
const SOON: Duration = Duration::from_secs(60);

/// A fleet and its upstream.
struct Fleet {
    control: Control,
    gateways: Vec<Gateway>,
    upstream: Upstream,
    /// Calls that name it wait here.
    gate: Gate,
    random: Seeded,
}

/// Some calls, on one key, and the one budget that binds it.
struct Race {
    name: &'static str,
    key: String,
    path: String,
    clients: Vec<Actor>,
    model: &'static str,
}

/// How a client takes its answer.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// It waits for all of it.
    Whole,
    /// It leaves when the answer has begun.
    Leaves,
    /// It leaves after so long, wherever its call is then.
    LeavesAfter(Duration),
}

/// What became of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Served,
    /// The budget has nothing left.
    Refused,
    /// It left, its node died, or nobody could be asked.
    Cut,
}

impl Fleet {
    async fn start(seed: u64, redis: Option<&RedisServer>) -> Result<Self> {
        let gate = Gate::closed();
        let held = gate.clone();
        let upstream = Upstream::start(move |call| {
            let word = word_of(&call.body);
            let luck =
                Seeded(seed ^ u64::from_le_bytes(std::array::from_fn(|n| word.bytes().nth_back(n).unwrap_or(1))))
                    .below(4);
            if word.starts_with("rough") && call.body["model"] == MODEL && luck == 0 {
                return Reply::json(500, &json!({"error": {"message": "no luck", "type": "server_error"}}));
            }
            let mut reply = if call.body["stream"] == true { openai_stream(INPUT, 3) } else { openai_whole(INPUT) };
            if word.starts_with("killed") && luck < 2 {
                reply.before = Some(held.clone());
            }
            reply
        })
        .await?;
        let variables = openai_at(&upstream.url());
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let control = Control::start(&variables).await?;
        make_route(&control).await?;
        let joining = (0..NODES).map(|_| async {
            match redis {
                Some(redis) => join(&control, &redis.url()).await,
                None => Gateway::join(&control, control.sync_address()).await,
            }
        });
        let gateways = futures_util::future::try_join_all(joining).await?;
        Ok(Self { control, gateways, upstream, gate, random: Seeded(seed) })
    }

    /// Issues a key that one budget binds, and waits until every node knows both.
    async fn race(&self, name: &'static str, model: &'static str, measure: &str, amount: Value) -> Result<Race> {
        let (key_id, key) = self.control.issue_key(name).await?;
        let path = format!("/api/v1/workspaces/{}/budgets", self.control.first("workspace_id"));
        let body = json!({
            "name": name, "subject": {"virtual_key_ids": [key_id]}, "measure": measure,
            "limits": [{"window": "total", "amount": amount}],
        });
        let made = self.control.as_admin()?.post(&path, &body).await?;
        let id = made["id"].as_str().context("a budget has an id")?;
        let clients: Vec<Actor> = self.gateways.iter().map(|gateway| gateway.as_client(&key)).collect::<Result<_>>()?;
        for client in &clients {
            until("the node knows the key and its budget", SOON, || async {
                let answer = client.send(Method::GET, "/v1/headgate/limits", &[], None).await?;
                Ok((answer.json()["windows"][0]["budget_id"] == *id).then_some(()))
            })
            .await?;
        }
        Ok(Race { name, key, path: format!("{path}/{id}/accounts"), clients, model })
    }

    /// Lists the words of a race that reached the upstream.
    fn sent(&self, race: &Race) -> BTreeSet<String> {
        let words = self.upstream.calls().into_iter().map(|call| word_of(&call.body));
        words.filter(|word| word.starts_with(race.name)).collect()
    }

    async fn until_sent(&self, race: &Race, n: usize) -> Result<()> {
        until(&format!("{n} calls of {} reached the upstream", race.name), SOON, || async {
            Ok((self.sent(race).len() >= n).then_some(()))
        })
        .await
    }

    /// Spends what is left until all of the money is spent and none is held, and not a bit more.
    ///
    /// A refusal alone is not the end: while a node is dead nobody waits for what it had, and what it did not spend is there again
    /// when its next life says so.
    async fn settle(&self, race: &Race, money: &Value) -> Result<()> {
        let (turn, admin) = (AtomicUsize::new(0), self.control.as_admin()?);
        let account = until(&format!("{money} of {} is spent and none is held", race.name), SOON, || async {
            let n = turn.fetch_add(1, Ordering::SeqCst);
            if race.call(n, &race.word("last", n), Way::Whole).await? != End::Refused {
                return Ok(None);
            }
            let account = admin.get(&race.path).await?["items"][0].clone();
            let is_settled =
                [json!(0), json!("0")].contains(&account["held"]) && is_as_much(&account["posted"], money)?;
            Ok(is_settled.then_some(account))
        })
        .await?;
        assert!([json!(0), json!("0")].contains(&account["overdrawn"]), "{}: overspent: {account}", race.name);
        Ok(())
    }
}

impl Race {
    fn word(&self, part: &str, n: usize) -> String {
        format!("{} {part} {n:05}", self.name)
    }

    /// Calls until the answer is not to come back.
    async fn call(&self, at: usize, word: &str, way: Way) -> Result<End> {
        let is_stream = matches!(way, Way::Leaves);
        let body = json!({
            "model": self.model, "max_tokens": 5, "stream": is_stream, "messages": [{"role": "user", "content": word}]
        });
        for at in at.. {
            let client = &self.clients[at % self.clients.len()];
            match way {
                Way::Leaves => {
                    let body = body.to_string().into();
                    let Ok(mut answer) = client.open(Method::POST, "/v1/chat/completions", &[], body).await else {
                        return Ok(End::Cut);
                    };
                    if answer.status() == 200 {
                        drop(answer.body_mut().frame().await);
                    }
                    return Ok(End::Cut);
                }
                Way::LeavesAfter(time) => {
                    let sending = client.send(Method::POST, "/v1/chat/completions", &[], Some(&body));
                    drop(tokio::time::timeout(time, sending).await);
                    return Ok(End::Cut);
                }
                Way::Whole => {
                    let Ok(answer) = client.send(Method::POST, "/v1/chat/completions", &[], Some(&body)).await else {
                        return Ok(End::Cut);
                    };
                    if let Some(end) = end_of(&answer)? {
                        return Ok(end);
                    }
                }
            }
        }
        Ok(End::Cut)
    }
}

/// Says how a whole answer ends a call; `None` for one that says to come back.
fn end_of(answer: &Answer) -> Result<Option<End>> {
    Ok(match (answer.status.as_u16(), answer.header("retry-after")) {
        (200, _) => Some(End::Served),
        (402, "") => {
            assert_eq!(answer.code(), "budget_exhausted", "{}", answer.text());
            Some(End::Refused)
        }
        (402, _) => None,
        // Nobody could be asked, or the upstream failed to the end.
        (502 | 503, _) => Some(End::Cut),
        _ => bail!("{} {}", answer.status, answer.text()),
    })
}

/// Has every client call once, each at a node of its own choice; `ways` says how.
fn start(race: &Arc<Race>, mut way: impl FnMut(usize) -> Way) -> Vec<tokio::task::JoinHandle<Option<Result<End>>>> {
    let client = |n: usize| {
        let (race, way) = (Arc::clone(race), way(n));
        runtime::tasks::spawn("client", async move { race.call(n, &race.word("call", n), way).await })
    };
    (0..CLIENTS).map(client).collect()
}

async fn ends(clients: Vec<tokio::task::JoinHandle<Option<Result<End>>>>) -> Result<Vec<End>> {
    let mut ends = Vec::new();
    for client in clients {
        ends.push(client.await?.context("the client did not panic")??);
    }
    Ok(ends)
}

fn count(ends: &[End], wanted: End) -> usize {
    ends.iter().filter(|end| **end == wanted).count()
}

fn word_of(body: &Value) -> String {
    body["messages"][0]["content"].as_str().unwrap_or_default().to_owned()
}

/// Makes the route that falls back from one model to the other.
async fn make_route(control: &Control) -> Result<()> {
    let (admin, workspace) = (control.as_admin()?, control.first("workspace_id"));
    let path = format!("/api/v1/workspaces/{workspace}/deployments");
    let deployments = testkit::fleet::list_all(&admin, &path).await?;
    let first = deployments.iter().find(|it| it["upstream_model"] == MODEL).context("the model is deployed")?;
    let other = json!({
        "name": "the-other", "provider": "openai", "upstream_model": OTHER, "credential_id": first["credential_id"]
    });
    let other = admin.post(&path, &other).await?;
    let targets = json!([
        {"deployment_id": first["id"], "priority": 0, "weight": 1}, {"deployment_id": other["id"], "priority": 1, "weight": 1}
    ]);
    let route = json!({"name": ROUTE, "targets": targets});
    admin.post(&format!("/api/v1/workspaces/{workspace}/routes"), &route).await?;
    Ok(())
}

/// Reads an amount of dollars as nano-dollars.
fn nanos(text: &str) -> Result<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    Ok(format!("{whole}{part:0<9}").parse()?)
}

/// Compares amounts, however many zeros are written.
fn is_as_much(one: &Value, other: &Value) -> Result<bool> {
    Ok(match (one.as_str(), other.as_str()) {
        (Some(one), Some(other)) => nanos(one)? == nanos(other)?,
        _ => one == other,
    })
}

fn dollars(nanos: u64) -> Value {
    json!(format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hard_budget_is_spent_to_its_end_and_never_exceeded_whatever_happens() -> Result<()> {
    let seed = seed();
    println!("seed {seed}: repeat with HEADGATE_TEST_SEED={seed}");
    let mut fleet = Fleet::start(seed, None).await?;
    nothing_is_cut(&fleet).await?;
    money_is_counted_to_the_nano_dollar(&fleet).await?;
    clients_leave_and_upstreams_fail(&mut fleet).await?;
    a_node_is_killed(&mut fleet).await?;
    the_control_plane_is_away(&mut fleet).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_emptied_and_dies_in_the_middle_of_a_race_makes_no_money_and_takes_none() -> Result<()> {
    const MONEY: usize = 120;
    let seed = seed();
    println!("seed {seed}: repeat with HEADGATE_TEST_SEED={seed}");
    let mut redis = RedisServer::start();
    let mut fleet = Fleet::start(seed, Some(&redis)).await?;
    // Every call asks Redis, too.
    let path = format!("/api/v1/workspaces/{}/rate-limits", fleet.control.first("workspace_id"));
    let rates =
        json!([{"measure": "requests", "per": "day", "amount": 100_000}, {"measure": "concurrent", "amount": 10_000}]);
    fleet.control.as_admin()?.post(&path, &json!({"name": "Plenty", "rates": rates})).await?;
    for (name, is_back_at_once) in [("emptied", true), ("dead", false)] {
        let race = Arc::new(fleet.race(name, MODEL, "requests", json!(MONEY)).await?);
        let clients = start(&race, |_| Way::Whole);
        let n = 10 + usize::try_from(fleet.random.below(30))?;
        fleet.until_sent(&race, n).await?;
        redis.run(&["FLUSHALL"]);
        redis.run(&["SCRIPT", "FLUSH"]);
        let n = 50 + usize::try_from(fleet.random.below(30))?;
        fleet.until_sent(&race, n).await?;
        redis.kill();
        if is_back_at_once {
            redis.start_again();
        }
        let ends = ends(clients).await?;
        assert_eq!((count(&ends, End::Served), count(&ends, End::Refused)), (MONEY, CLIENTS - MONEY));
        fleet.settle(&race, &json!(MONEY)).await?;
        if !is_back_at_once {
            redis.start_again();
        }
    }
    Ok(())
}

/// As many as there is money for are served, and the others are told that there is none.
async fn nothing_is_cut(fleet: &Fleet) -> Result<()> {
    const MONEY: usize = 120;
    let race = Arc::new(fleet.race("plain", MODEL, "requests", json!(MONEY)).await?);
    let ends = ends(start(&race, |_| Way::Whole)).await?;
    assert_eq!((count(&ends, End::Served), count(&ends, End::Refused)), (MONEY, CLIENTS - MONEY));
    assert_eq!(fleet.sent(&race).len(), MONEY);
    fleet.settle(&race, &json!(MONEY)).await?;
    assert_eq!(fleet.sent(&race).len(), MONEY);
    Ok(())
}

/// Calls hold more than they cost: with money for the last one's bound, exactly so many are served.
async fn money_is_counted_to_the_nano_dollar(fleet: &Fleet) -> Result<()> {
    const CALLS: usize = 100;
    let poor = fleet.race("nothing", MODEL, "cost", json!("0")).await?;
    let word = poor.word("call", 0);
    let body =
        json!({"model": MODEL, "max_tokens": 5, "stream": false, "messages": [{"role": "user", "content": word}]});
    let refused = poor.clients[0].send(Method::POST, "/v1/chat/completions", &[], Some(&body)).await?;
    assert_eq!(refused.status, 402, "{}", refused.text());
    let text = refused.text();
    let bound =
        text.split_once("may take ").and_then(|(_, rest)| rest.split_once(" USD")).context("it says how much")?.0;
    let free = fleet.gateways[0].as_client(fleet.control.first("virtual_key"))?;
    let answer = free.send(Method::POST, "/v1/chat/completions", &[], Some(&body)).await?;
    let (bound, cost) = (nanos(bound)?, nanos(answer.header("x-headgate-cost-usd"))?);
    assert!(bound > cost && cost > 0, "{bound} {cost}");

    let n = u64::try_from(CALLS)?;
    // As long a name as above: what a call may cost goes by its bytes.
    let race = Arc::new(fleet.race("dollars", MODEL, "cost", dollars((n - 1) * cost + bound)).await?);
    let ends = ends(start(&race, |_| Way::Whole)).await?;
    assert_eq!((count(&ends, End::Served), count(&ends, End::Refused)), (CALLS, CLIENTS - CALLS));
    fleet.settle(&race, &dollars(n * cost)).await?;
    assert_eq!(fleet.sent(&race).len(), CALLS);
    Ok(())
}

async fn clients_leave_and_upstreams_fail(fleet: &mut Fleet) -> Result<()> {
    const MONEY: usize = 100;
    let race = Arc::new(fleet.race("rough", ROUTE, "requests", json!(MONEY)).await?);
    let random = &mut fleet.random;
    let clients = start(&race, |_| match random.below(6) {
        0 => Way::Leaves,
        1 => Way::LeavesAfter(Duration::from_millis(random.below(40))),
        _ => Way::Whole,
    });
    ends(clients).await?;
    fleet.settle(&race, &json!(MONEY)).await?;
    let n_sent = fleet.sent(&race).len();
    assert!(n_sent <= MONEY, "{n_sent} calls were sent with money for {MONEY}");
    Ok(())
}

async fn a_node_is_killed(fleet: &mut Fleet) -> Result<()> {
    const MONEY: usize = 80;
    let mut race = fleet.race("killed", MODEL, "requests", json!(MONEY)).await?;
    let running =
        Arc::new(Race { clients: race.clients.clone(), key: race.key.clone(), path: race.path.clone(), ..race });
    let clients = start(&running, |_| Way::Whole);
    fleet.until_sent(&running, 30).await?;
    let victim = usize::try_from(fleet.random.below(NODES as u64))?;
    fleet.gateways[victim].process.kill().await?;
    fleet.gate.open();
    ends(clients).await?;
    fleet.gateways[victim].again().await?;
    race.clients[victim] = fleet.gateways[victim].as_client(&race.key)?;
    // What the node had set aside for calls that it never ended is spent, what it had not is there again.
    fleet.settle(&race, &json!(MONEY)).await?;
    let n_sent = fleet.sent(&race).len();
    assert!(n_sent <= MONEY, "{n_sent} calls were sent with money for {MONEY}");
    Ok(())
}

async fn the_control_plane_is_away(fleet: &mut Fleet) -> Result<()> {
    const MONEY: usize = 150;
    let race = Arc::new(fleet.race("alone", MODEL, "requests", json!(MONEY)).await?);
    let clients = start(&race, |_| Way::Whole);
    let n = 10 + usize::try_from(fleet.random.below(60))?;
    fleet.until_sent(&race, n).await?;
    fleet.control.process.kill().await?;
    ends(clients).await?;
    assert!(fleet.sent(&race).len() <= MONEY);
    fleet.control.again().await?;
    fleet.settle(&race, &json!(MONEY)).await?;
    assert_eq!(fleet.sent(&race).len(), MONEY);
    Ok(())
}
