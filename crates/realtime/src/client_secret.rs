//! Client secrets of realtime sessions: what a server asks for, what the secret grants, and how the session begins with it.
//!
//! `POST /v1/realtime/client_secrets`, and the older `/v1/realtime/sessions`. What is granted travels in the secret, readable and signed (that is
//! `domain::client_secret`'s and the policy's), so every node understands it and none keeps anything. Invariant: nothing that a browser must not
//! read is put into it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

/// Seconds for which a secret may open sessions: as the vendor bounds them.
const LIVES: std::ops::RangeInclusive<u64> = 10..=7_200;
/// Settings of more bytes than this do not fit into a header beside other things.
const MAX_SETTINGS: usize = 4 * 1024;
const MAX_MODEL: usize = 256;

/// Which of the two addresses was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `client_secrets`.
    ClientSecrets,
    /// `sessions`, of before general availability.
    Sessions,
}

impl Form {
    /// Seconds, when nobody says: as the vendor does.
    const fn usual_life(self) -> u64 {
        match self {
            Self::ClientSecrets => 600,
            Self::Sessions => 60,
        }
    }
}

/// Why no secret is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WishError {
    /// The body is no object, or its parts are not what they should be.
    #[error(
        "the body is not the JSON object that is expected here: `session` with `type` and `model`, and `expires_after`"
    )]
    Shape,
    /// There is no model.
    #[error("name the model of the session: one of those that GET /v1/models lists")]
    Model,
    /// A session that only writes down what is heard.
    #[error(
        "client secrets are made for sessions of type `realtime` only; connect with the key itself and `?intent=transcription`"
    )]
    Transcription,
    /// Too short or too long a life.
    #[error("a client secret lives for {} to {} seconds (`expires_after.seconds`, from `created_at`)", LIVES.start(), LIVES.end())]
    Life,
    /// The settings are too large to travel.
    #[error(
        "the settings of the session travel in the secret, and no more than {MAX_SETTINGS} bytes of them; send the rest as `session.update`"
    )]
    Large,
    /// The settings hold what whoever has the secret could read.
    #[error(
        "the settings of the session travel in the secret, where its holder can read them; leave out `authorization` and `headers` of tools"
    )]
    Readable,
}

impl WishError {
    /// Returns the field that is at fault.
    #[must_use]
    pub const fn param(self) -> &'static str {
        match self {
            Self::Shape | Self::Large => "session",
            Self::Model => "session.model",
            Self::Transcription => "session.type",
            Self::Life => "expires_after.seconds",
            Self::Readable => "session.tools",
        }
    }
}

/// What a server asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// The model, as the server names it.
    pub model: String,
    /// For how many seconds the secret may open sessions.
    pub life_secs: u64,
    settings: Map<String, Value>,
}

impl Wish {
    /// Reads a body.
    pub fn read(form: Form, body: &[u8]) -> Result<Self, WishError> {
        let mut asked: Map<String, Value> = serde_json::from_slice(body).map_err(|_| WishError::Shape)?;
        let (life, session) = match form {
            Form::ClientSecrets => (asked.remove("expires_after"), asked.remove("session")),
            Form::Sessions => {
                let life =
                    asked.remove("client_secret").and_then(|mut it| it.get_mut("expires_after").map(Value::take));
                (life, Some(Value::Object(asked)))
            }
        };
        let Some(Value::Object(mut settings)) = session else { return Err(WishError::Shape) };
        match settings.get("type").map(Value::as_str) {
            None | Some(Some("realtime")) => {}
            Some(Some("transcription")) => return Err(WishError::Transcription),
            Some(_) => return Err(WishError::Shape),
        }
        let Some(Value::String(model)) = settings.remove("model") else { return Err(WishError::Model) };
        if model.is_empty() || model.len() > MAX_MODEL {
            return Err(WishError::Model);
        }
        let is_secret =
            |tool: &Value| tool.get("authorization").or_else(|| tool.get("headers")).is_some_and(|it| !it.is_null());
        if settings.get("tools").and_then(Value::as_array).is_some_and(|tools| tools.iter().any(is_secret)) {
            return Err(WishError::Readable);
        }
        if serde_json::to_string(&settings).map_or(usize::MAX, |text| text.len()) > MAX_SETTINGS {
            return Err(WishError::Large);
        }
        Ok(Self { model, life_secs: life_of(form, life.as_ref())?, settings })
    }
}

fn life_of(form: Form, asked: Option<&Value>) -> Result<u64, WishError> {
    let Some(asked) = asked.filter(|asked| !asked.is_null()) else { return Ok(form.usual_life()) };
    let is_known = asked.get("anchor").is_none_or(|anchor| anchor == "created_at");
    let seconds = match asked.get("seconds") {
        None | Some(Value::Null) => Some(form.usual_life()),
        Some(seconds) => seconds.as_u64(),
    };
    seconds.filter(|seconds| is_known && LIVES.contains(seconds)).ok_or(WishError::Life)
}

/// What a secret grants.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// The id of the session that it is for, which may be logged.
    pub id: String,
    /// The one model.
    pub model: String,
    /// Until when it opens sessions, in seconds since 1970. What was opened goes on.
    pub expires_at: i64,
    settings: Map<String, Value>,
}

impl Grant {
    /// Grants a wish.
    #[must_use]
    pub fn of(wish: Wish, id: String, expires_at: i64) -> Self {
        Self { id, model: wish.model, expires_at, settings: wish.settings }
    }

    /// Writes it into a secret: letters, digits, `-` and `_`, because browsers send it as the name of a subprotocol.
    #[must_use]
    pub fn encode(&self) -> String {
        let Self { id, model, expires_at, settings } = self;
        let grant = json!({"id": id, "model": model, "until": expires_at, "session": settings});
        URL_SAFE_NO_PAD.encode(grant.to_string())
    }

    /// Reads what [`Self::encode`] wrote. Only after its signature was checked.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let json = URL_SAFE_NO_PAD.decode(text).ok()?;
        let mut grant: Map<String, Value> = serde_json::from_slice(&json).ok()?;
        let mut text = |name: &str| match grant.remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let (id, model) = (text("id")?, text("model")?);
        let expires_at = grant.get("until")?.as_i64()?;
        let Some(Value::Object(settings)) = grant.remove("session") else { return None };
        Some(Self { id, model, expires_at, settings })
    }

    /// Returns the event that sets a session up as was asked; `None` when nothing was asked for.
    #[must_use]
    pub fn opening(&self) -> Option<String> {
        let says_something = self.settings.keys().any(|name| name != "type");
        says_something.then(|| json!({"type": "session.update", "session": self.settings}).to_string())
    }
}

/// Writes the answer for a server.
#[must_use]
pub fn answer(form: Form, grant: &Grant, secret: &str) -> String {
    let mut session = grant.settings.clone();
    session.insert("object".to_owned(), json!("realtime.session"));
    session.insert("id".to_owned(), json!(grant.id));
    session.insert("model".to_owned(), json!(grant.model));
    let answer = match form {
        Form::ClientSecrets => {
            session.entry("type").or_insert(json!("realtime"));
            json!({"value": secret, "expires_at": grant.expires_at, "session": session})
        }
        Form::Sessions => {
            session.insert("client_secret".to_owned(), json!({"value": secret, "expires_at": grant.expires_at}));
            Value::Object(session)
        }
    };
    answer.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(form: Form, body: &Value) -> Result<Wish, WishError> {
        Wish::read(form, body.to_string().as_bytes())
    }

    #[test]
    fn what_is_asked_for_comes_back_out_of_the_secret() {
        let session = json!({"type": "realtime", "model": "voice", "instructions": "Be kind.", "audio": {"output": {"voice": "marin"}}});
        let wish = read(
            Form::ClientSecrets,
            &json!({"expires_after": {"anchor": "created_at", "seconds": 30}, "session": session}),
        )
        .unwrap();
        assert_eq!((wish.model.as_str(), wish.life_secs), ("voice", 30));
        let grant = Grant::of(wish, "sess_1".to_owned(), 1_795_341_630);
        let text = grant.encode();
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')), "{text}");
        assert_eq!(Grant::decode(&text).as_ref(), Some(&grant));
        let opening: Value = serde_json::from_str(&grant.opening().unwrap()).unwrap();
        assert_eq!(opening["type"], "session.update");
        assert_eq!((&opening["session"]["instructions"], opening["session"].get("model")), (&json!("Be kind."), None));
        let answer: Value = serde_json::from_str(&answer(Form::ClientSecrets, &grant, "hge_x")).unwrap();
        assert_eq!((&answer["value"], &answer["expires_at"]), (&json!("hge_x"), &json!(1_795_341_630)));
        assert_eq!((&answer["session"]["model"], &answer["session"]["id"]), (&json!("voice"), &json!("sess_1")));
    }

    #[test]
    fn the_older_form_says_it_in_the_session() {
        let wish = read(Form::Sessions, &json!({"model": "voice", "voice": "verse"})).unwrap();
        assert_eq!((wish.model.as_str(), wish.life_secs), ("voice", 60));
        let grant = Grant::of(wish, "sess_1".to_owned(), 9);
        let said: Value = serde_json::from_str(&answer(Form::Sessions, &grant, "hge_x")).unwrap();
        assert_eq!(said["client_secret"], json!({"value": "hge_x", "expires_at": 9}));
        assert_eq!((&said["object"], &said["voice"]), (&json!("realtime.session"), &json!("verse")));
        let bare = read(
            Form::Sessions,
            &json!({"model": "voice", "client_secret": {"expires_after": {"anchor": "created_at", "seconds": 90}}}),
        );
        let bare = Grant::of(bare.unwrap(), String::new(), 9);
        assert_eq!(bare.opening(), None, "there is nothing to say");
    }

    #[test]
    fn what_cannot_be_granted_is_refused_in_words() {
        let secrets = |session: Value| read(Form::ClientSecrets, &json!({"session": session})).unwrap_err();
        assert_eq!(secrets(json!({"type": "realtime"})), WishError::Model);
        assert_eq!(secrets(json!({"type": "transcription", "model": "m"})), WishError::Transcription);
        assert_eq!(secrets(json!({"type": 7, "model": "m"})), WishError::Shape);
        assert_eq!(secrets(json!({"model": "m", "instructions": "x".repeat(MAX_SETTINGS)})), WishError::Large);
        let mcp = json!({"type": "mcp", "server_url": "https://mcp.example", "authorization": "canary"});
        assert_eq!(secrets(json!({"model": "m", "tools": [mcp]})), WishError::Readable);
        for life in [
            json!({"seconds": 9}),
            json!({"seconds": 7_201}),
            json!({"seconds": "x"}),
            json!({"anchor": "now", "seconds": 60}),
        ] {
            let asked = json!({"expires_after": life, "session": {"model": "m"}});
            assert_eq!(read(Form::ClientSecrets, &asked), Err(WishError::Life), "{asked}");
        }
        for body in ["", "[]", "{}", "{\"session\":null}"] {
            assert_eq!(Wish::read(Form::ClientSecrets, body.as_bytes()), Err(WishError::Shape), "{body}");
        }
        for text in ["", "e30", "!!", "eyJpZCI6MX0"] {
            assert_eq!(Grant::decode(text), None, "{text}");
        }
    }
}
