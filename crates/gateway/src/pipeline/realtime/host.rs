//! What the gateway says to a session: whether a turn may be made, now, and what each has used.
//!
//! Every turn is a call of its own in the ledger, under an id of its own, with the session's in its metadata; the session has
//! one event of its own at its end. Policy is asked again before each turn, and every second for what must end a session:
//! a turn holds the model's whole window of hard budgets, and the next one's is asked for while it runs. Invariant: a turn that began is settled exactly once, also when
//! the session is dropped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use domain::Secret;
use domain::code::GatewayCode;
use domain::usage::{AttemptOutcome, ModalUsage, Outcome, TokenUsage, UnitUsage};
use ingress::rejection::{self, Rejection};
use ingress::unserved::ends_session;
use llm::canonical::event::FinishReason;
use llm::dialect::Dialect;
use parking_lot::Mutex;
use policy::snapshot::{DeploymentPolicy, OrganizationPolicy};
use provider::skim::Skimmed;
use tokio::time::Instant;

use super::SESSION;
use crate::pipeline::budget::{self, Money, Unread, Window};
use crate::pipeline::dispatch::line_record;
use crate::pipeline::rates::{self, Counted};
use crate::pipeline::relay::{self, Bill, Billing};
use crate::pipeline::reserve::Hold;
use crate::pipeline::settle::{Meter, Served};
use crate::pipeline::{Worker, refuse_key, reserve, resolve};
use ::realtime::{CloseCode, Done, End, Host, Refusal, Status, Transcribed, UpstreamError};

/// Longest name that a message repeats.
const MAX_SHOWN: usize = 64;
/// Turns that a client may have asked for and the upstream has not begun.
const MOST_GRANTED: usize = 16;

/// The gateway's side of one session.
pub(super) struct SessionHost {
    worker: Arc<Worker>,
    /// The client's key, to be asked about again.
    key: Secret<String>,
    billing: Billing,
    /// The session's own meter.
    meter: Box<Meter>,
    /// The turns under way, by the upstream's id.
    turns: Vec<(Box<str>, Box<Meter>)>,
    /// Places held for turns that were asked for and have not begun.
    granted: VecDeque<Granted>,
    /// Money for the next turn; it is asked for while another one runs.
    next: Arc<Mutex<Next>>,
}

/// What a turn needs to begin.
struct Granted {
    place: Hold,
    money: Option<Box<Money>>,
}

#[derive(Default)]
struct Next {
    money: Option<Box<Money>>,
    is_asked: bool,
}

impl SessionHost {
    pub(super) fn new(
        worker: Arc<Worker>,
        key: Secret<String>,
        organization: Arc<OrganizationPolicy>,
        deployment: Arc<DeploymentPolicy>,
        meter: Box<Meter>,
        money: Option<Box<Money>>,
    ) -> Self {
        let next = Arc::new(Mutex::new(Next { money, is_asked: false }));
        let billing = Billing { organization, deployment, input_guess: 0, is_stream: true, tier: None };
        Self { worker, key, billing, meter, turns: Vec::new(), granted: VecDeque::new(), next }
    }

    /// Asks the policy in force whether the key may still use the model, and the deployment still serves it.
    fn check(&mut self) -> Result<(), Rejection> {
        let snapshot = self.worker.shared.policy.load_full();
        let now = self.worker.shared.clock.now();
        // The time of a client secret is for opening sessions; what was opened goes on with the key that it was made of.
        let (caller, _) = snapshot.identify_session(self.key.expose(), now).map_err(refuse_key)?;
        let model = resolve::find_plain(&caller, &self.meter.model)?;
        let mut deployments = model.targets.iter().map(|target| &target.deployment);
        if !deployments.any(|it| it.id == self.billing.deployment.id && it.is_usable()) {
            return Err(Rejection::new(
                GatewayCode::NoHealthyTarget,
                "the deployment that serves this session no longer serves its model; connect again",
            ));
        }
        // Prices may have changed; what the session speaks to has not.
        self.meter.policy_revision = caller.organization.revision;
        self.billing.organization = caller.organization.clone();
        Ok(())
    }

    /// Asks whether the key may have a model of the session's provider write down what is heard: by the provider's name for it, or by one of
    /// the workspace's that leads there.
    fn check_transcription(&self, model: &str) -> Result<(), Rejection> {
        let snapshot = self.worker.shared.policy.load_full();
        let now = self.worker.shared.clock.now();
        let (caller, _) = snapshot.identify_session(self.key.expose(), now).map_err(refuse_key)?;
        let provider = &self.billing.deployment.provider;
        let leads_there =
            |deployment: &DeploymentPolicy| deployment.provider == *provider && deployment.upstream_model == model;
        let is_allowed = caller.key.key.models.is_none()
            || caller.key.allows(&format!("{provider}/{model}"))
            || caller.workspace.models().any(|known| {
                caller.key.allows(&known.name) && known.targets.iter().any(|target| leads_there(&target.deployment))
            });
        if is_allowed {
            return Ok(());
        }
        let detail = format!(
            "this key may not have `{}` write down what is heard; use a model that GET /v1/models lists, or let an administrator add it to the key",
            resolve::clip(model, MAX_SHOWN)
        );
        Err(Rejection::new(GatewayCode::ModelNotAllowed, detail).with_param("session.audio.input.transcription.model"))
    }

    fn hold(&mut self) -> Result<Granted, Rejection> {
        self.check()?;
        let money = self.hold_money()?;
        let Billing { organization, deployment, .. } = &self.billing;
        let counted = Counted { model: Some(&self.meter.model), providers: &[&deployment.provider], need: rates::TURN };
        Ok(Granted { place: reserve::reserve_now(&self.worker, organization, &counted, &self.meter)?, money })
    }

    /// Holds as much of budgets as a turn can take, which is what its model reads and writes at the most.
    fn hold_money(&mut self) -> Result<Option<Box<Money>>, Rejection> {
        let Billing { organization, deployment, .. } = &self.billing;
        if organization.budgets().is_empty() {
            return Ok(None);
        }
        let unread = Unread {
            what: SESSION,
            providers: &[&deployment.provider],
            model: Some(&self.meter.model),
            window: Window::of_turn(deployment).map(|window| (&**deployment, window)),
            is_many: false,
        };
        let kept = self.next.lock().money.take().filter(|money| money.is_of(organization.budgets()));
        let given = match kept {
            Some(money) => Ok(Some(money)),
            None => budget::try_hold_unread(&self.worker, organization, &unread, &self.meter),
        };
        if !std::mem::replace(&mut self.next.lock().is_asked, true) {
            let next = Arc::clone(&self.next);
            let asking = budget::ask_unread(&self.worker, organization, &unread, &self.meter);
            runtime::tasks::spawn("gateway.realtime.money", async move {
                let given = match asking {
                    Some(asking) => asking.await.ok(),
                    None => None,
                };
                let mut next = next.lock();
                (next.money, next.is_asked) = (given, false);
            });
        }
        given
    }

    /// Settles a turn. What was not held for it, such as what was made without being asked for, is charged as it was.
    fn end_turn(&self, mut turn: Box<Meter>, billing: &Billing, outcome: Outcome, code: Option<GatewayCode>) {
        let Billing { organization, deployment, .. } = billing;
        let model = turn.model.clone();
        budget::hold_known(&self.worker, organization, &[&deployment.provider], &model, &mut turn);
        turn.end(outcome, code);
    }

    fn refusal(&self, rejection: &Rejection) -> Refusal {
        let body = rejection::encode(Dialect::OpenAiChat, &rejection.to_answer_error(Some(self.meter.request_id)));
        let mut body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        Refusal { error: body["error"].take(), is_final: ends_session(rejection.code) }
    }

    /// Makes the meter of a turn and notes that it has begun.
    fn begin(&self, deployment: &DeploymentPolicy, upstream_id: &str) -> Box<Meter> {
        let mut turn = self.meter.turn();
        let mut record = line_record(deployment, 1, turn.started_at);
        record.upstream_request_id =
            (!upstream_id.is_empty() && upstream_id.len() <= 128).then(|| upstream_id.to_owned());
        turn.begin_attempt(record, Instant::now());
        turn
    }

    fn fail(&self, code: Option<&str>) {
        let now = self.worker.shared.clock.now();
        let target = self.worker.shared.health.target(self.billing.deployment.id);
        match code {
            Some("rate_limit_exceeded" | "insufficient_quota") => {
                target.pause(now, upstream::health::USUAL_PAUSE);
            }
            _ => drop(target.failed(now)),
        }
    }

    /// Settles the turns that never ended, and the session.
    pub(super) fn settle(mut self, end: &End) {
        let (outcome, code) = outcome_of(end);
        for (_, mut turn) in self.turns.drain(..) {
            // What it used was never said.
            let unknown = Bill { is_estimated: true, ..Bill::default() };
            let (attempt, outcome) = match end {
                End::UpstreamClosed(_) | End::UpstreamGone => (AttemptOutcome::Broken, Outcome::UpstreamBroken),
                _ => (AttemptOutcome::Cancelled, Outcome::ClientClosed),
            };
            turn.end_attempt(attempt, &unknown, Instant::now());
            turn.end(outcome, code);
        }
        if *end == End::UpstreamGone {
            self.fail(None);
        }
        self.meter.end_session(outcome, code);
    }
}

impl Host for SessionHost {
    fn may_respond(&mut self) -> Result<(), Refusal> {
        let granted = self.hold().map_err(|rejection| self.refusal(&rejection))?;
        self.granted.push_back(granted);
        if self.granted.len() > MOST_GRANTED {
            self.granted.pop_front();
        }
        Ok(())
    }

    fn may_set_model(&mut self, model: &str) -> Result<Option<String>, Refusal> {
        let ours = &self.billing.deployment.upstream_model;
        if model == ours {
            return Ok(None);
        }
        if model == self.meter.model {
            return Ok(Some(ours.clone()));
        }
        let detail =
            "the model of a session is chosen by its address and cannot be changed; open another session for it";
        let rejection = Rejection::new(GatewayCode::RequestInvalid, detail).with_param("session.model");
        Err(self.refusal(&rejection))
    }

    fn may_transcribe(&mut self, model: &str) -> Result<(), Refusal> {
        let asked = self.check_transcription(model);
        // Another model may be named; the session is none the worse.
        asked.map_err(|rejection| Refusal { is_final: false, ..self.refusal(&rejection) })
    }

    fn began(&mut self, id: &str) -> Result<(), Refusal> {
        // What the client did not ask for was made by the upstream, at the end of speech.
        let granted = match self.granted.pop_front() {
            Some(granted) => Ok(granted),
            None => self.hold(),
        };
        let mut turn = self.begin(&self.billing.deployment, id);
        let refused = match granted {
            Ok(Granted { place, money }) => {
                (turn.hold, turn.money) = (Some(place), money);
                Ok(())
            }
            Err(rejection) => Err(self.refusal(&rejection)),
        };
        turn.open();
        self.turns.push((id.into(), turn));
        refused
    }

    fn done(&mut self, done: &Done) {
        let place = self.turns.iter().position(|(id, _)| *id == done.id);
        let mut turn = match place {
            Some(place) => self.turns.swap_remove(place).1,
            None => self.begin(&self.billing.deployment, &done.id),
        };
        let mut bill = bill(&self.billing, (done.usage.unwrap_or_default(), done.modal), UnitUsage::default(), &turn);
        bill.is_estimated |= done.usage.is_none() && done.status != Status::Failed;
        let (attempt, outcome, finish) = match done.status {
            Status::Completed if done.calls_tool => {
                (AttemptOutcome::Success, Outcome::Success, Some(FinishReason::ToolUse))
            }
            Status::Completed => (AttemptOutcome::Success, Outcome::Success, Some(FinishReason::Stop)),
            Status::CutShort => (AttemptOutcome::Success, Outcome::Success, Some(FinishReason::Length)),
            Status::Filtered => (AttemptOutcome::Success, Outcome::Success, Some(FinishReason::ContentFilter)),
            Status::Cancelled => (AttemptOutcome::Cancelled, Outcome::ClientClosed, None),
            Status::Failed => (AttemptOutcome::Broken, Outcome::UpstreamFailed, None),
        };
        if done.status == Status::Failed {
            self.fail(done.error_code.as_deref());
        }
        turn.finish = finish;
        turn.end_attempt(attempt, &bill, Instant::now());
        let code = (done.status == Status::Failed).then_some(GatewayCode::UpstreamError);
        self.end_turn(turn, &self.billing, outcome, code);
    }

    fn transcribed(&mut self, transcribed: &Transcribed, model: Option<&str>) {
        let mut deployment = DeploymentPolicy::clone(&self.billing.deployment);
        if let Some(model) = model {
            model.clone_into(&mut deployment.upstream_model);
        }
        let mut turn = self.begin(&deployment, &transcribed.item);
        turn.served = Some(Served {
            deployment: deployment.id,
            provider: deployment.provider.clone(),
            upstream_model: deployment.upstream_model.clone(),
        });
        let billing = Billing { deployment: Arc::new(deployment), ..self.billing.clone() };
        let Transcribed { usage, modal, units, is_counted, .. } = *transcribed;
        let mut bill = bill(&billing, (usage, modal), units, &turn);
        bill.is_estimated |= !is_counted;
        turn.end_attempt(AttemptOutcome::Success, &bill, Instant::now());
        self.end_turn(turn, &billing, Outcome::Success, None);
    }

    fn failed(&mut self, error: &UpstreamError) {
        // A turn that was asked for may have been refused; then its place is free again.
        self.granted.pop_front();
        tracing::debug!(
            request.id = %self.meter.request_id,
            error.kind = %error.kind,
            error.code = %error.code,
            "an upstream complains in a session",
        );
        if matches!(&*error.kind, "server_error" | "api_error") {
            self.fail(None);
        }
    }

    fn exhausted(&mut self, pause: Duration) {
        let now = self.worker.shared.clock.now();
        self.worker.shared.health.target(self.billing.deployment.id).pause(now, pause);
    }

    fn may_go_on(&mut self) -> Result<(), Refusal> {
        match self.check() {
            Err(rejection) if ends_session(rejection.code) => Err(self.refusal(&rejection)),
            // What passes keeps turns from being made, and no session from going on.
            _ => Ok(()),
        }
    }

    fn explain(&mut self, end: &End) -> Option<Refusal> {
        let (code, detail) = match end {
            End::ClientClosed(_) | End::ClientGone | End::ClientBroke(_) | End::UpstreamClosed(_) | End::Refused(_) => {
                return None;
            }
            End::TooLarge => {
                (GatewayCode::RequestTooLarge, "the message is larger than this gateway accepts; send less at a time")
            }
            End::UpstreamGone => (GatewayCode::UpstreamError, "the upstream broke the session off; connect again"),
            End::Draining => (GatewayCode::Draining, "this gateway node is shutting down; connect again"),
            End::Idle => (GatewayCode::SessionExpired, "nothing was said for too long; connect again"),
            End::Expired => (GatewayCode::SessionExpired, "the session has lasted as long as one may; connect again"),
        };
        Some(self.refusal(&Rejection::new(code, detail)))
    }
}

/// Bills what a turn used.
fn bill(billing: &Billing, (usage, modal): (TokenUsage, ModalUsage), units: UnitUsage, turn: &Meter) -> Bill {
    let mut found = Skimmed { usage: Some(usage), units, ..Skimmed::default() };
    found.note_modal(modal);
    billing.bill(&found, relay::End::Complete, turn.started_at)
}

/// How a session ended, for the ledger.
fn outcome_of(end: &End) -> (Outcome, Option<GatewayCode>) {
    let is_orderly = |code: CloseCode| matches!(code, CloseCode::Normal | CloseCode::Away);
    match end {
        End::ClientClosed(_) => (Outcome::Success, None),
        End::ClientGone => (Outcome::ClientClosed, None),
        End::UpstreamClosed(frame) if frame.as_ref().is_none_or(|frame| is_orderly(frame.code)) => {
            (Outcome::Success, None)
        }
        End::UpstreamClosed(_) | End::UpstreamGone => (Outcome::UpstreamBroken, Some(GatewayCode::UpstreamError)),
        End::ClientBroke(_) => (Outcome::Rejected, Some(GatewayCode::RequestInvalid)),
        End::TooLarge => (Outcome::Rejected, Some(GatewayCode::RequestTooLarge)),
        End::Refused(refusal) => {
            let code = refusal.error.get("code").and_then(|code| code.as_str()).and_then(|code| code.parse().ok());
            (Outcome::Rejected, code)
        }
        End::Draining => (Outcome::Rejected, Some(GatewayCode::Draining)),
        End::Idle | End::Expired => (Outcome::Rejected, Some(GatewayCode::SessionExpired)),
    }
}
