//! Who speaks to whom, what is tried, and why some of it cannot be: the data of the matrix, and its page.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::rows::{Group, PROVIDERS, Provider};

/// What one table holds.
pub(super) struct Table {
    pub rows: Rows,
    /// What is tried, and the name that scripts give it.
    columns: &'static [(&'static str, &'static str)],
}

impl Table {
    fn has(&self, scenario: &str) -> bool {
        self.columns.iter().any(|(_, name)| *name == scenario)
    }
}

/// The providers of a table.
pub(super) enum Rows {
    Of(&'static [Group]),
    /// The one whose own API it is.
    Own(&'static str),
}

impl Rows {
    pub(super) fn list(&self) -> impl Iterator<Item = &'static Provider> {
        PROVIDERS.iter().filter(|provider| match self {
            Self::Of(groups) => groups.contains(&provider.group),
            Self::Own(name) => provider.name == *name,
        })
    }
}

const SCENARIOS: &[(&str, &str)] = &[
    ("chat", "chat"),
    ("stream", "stream"),
    ("tools", "tools"),
    ("tools, streamed", "tools_stream"),
    ("JSON schema", "schema"),
    ("image", "image"),
    ("reasoning", "reasoning"),
    ("error", "error"),
    ("cut", "cut"),
    ("client leaves", "disconnect"),
];
const CHATS: Table = Table { rows: Rows::Of(&[Group::Chat, Group::Claude]), columns: SCENARIOS };
const OLDER: Table = Table {
    rows: Rows::Of(&[Group::Chat, Group::Claude]),
    columns: &[("whole", "chat"), ("stream", "stream"), ("error", "error"), ("cut", "cut")],
};
const VECTORS: Table = Table {
    rows: Rows::Of(&[Group::Vectors]),
    columns: &[("one text", "vectors"), ("as numbers", "floats"), ("several texts", "several"), ("error", "error")],
};
const RANKING: Table = Table {
    rows: Rows::Of(&[Group::Ranking]),
    columns: &[("ranking", "rank"), ("objects, returned", "documents"), ("error", "error")],
};
const KEPT: Table = Table {
    rows: Rows::Of(&[Group::Chat, Group::Claude]),
    columns: &[
        ("continued", "continued"),
        ("continued, streamed", "continued_stream"),
        ("results of tools", "continued_tools"),
        ("begun elsewhere", "elsewhere"),
        ("shown", "retrieved"),
        ("deleted", "deleted"),
    ],
};
const PICTURES: Table = Table {
    rows: Rows::Of(&[Group::Pictures]),
    columns: &[
        ("made", "generate"),
        ("changed", "edit"),
        ("of several", "edit_several"),
        ("varied", "vary"),
        ("error", "error"),
    ],
};
const SPEECH: Table = Table {
    rows: Rows::Of(&[Group::Speech]),
    columns: &[("whole", "speech"), ("as it is made", "stream"), ("error", "error"), ("cut", "cut")],
};
const RECORDINGS: Table = Table {
    rows: Rows::Of(&[Group::Recordings]),
    columns: &[
        ("transcribed", "transcribe"),
        ("as text", "text"),
        ("word by word", "words"),
        ("stream", "stream"),
        ("translated", "translate"),
        ("error", "error"),
    ],
};
const MODERATION: Table = Table {
    rows: Rows::Of(&[Group::Moderation]),
    columns: &[("one text", "moderate"), ("several texts", "several"), ("error", "error")],
};
const OWN_COHERE: Table = Table {
    rows: Rows::Own("cohere"),
    columns: &[
        ("chat", "chat"),
        ("stream", "stream"),
        ("tools", "tools"),
        ("tools, streamed", "tools_stream"),
        ("JSON schema", "schema"),
        ("image", "image"),
        ("error", "error"),
        ("cut", "cut"),
        ("client leaves", "disconnect"),
        ("vectors", "embeddings"),
        ("ranking", "rerank"),
    ],
};
const OWN_CONVERSE: Table = Table { rows: Rows::Own("bedrock"), columns: SCENARIOS };
const OWN_INVOKE: Table = Table {
    rows: Rows::Own("bedrock"),
    columns: &[
        ("Claude", "chat"),
        ("Claude, stream", "stream"),
        ("tools", "tools"),
        ("tools, streamed", "tools_stream"),
        ("error", "error"),
        ("cut", "cut"),
        ("Titan, vectors", "embeddings"),
    ],
};

/// A script, and what it stands for.
pub(super) struct Client {
    pub title: &'static str,
    /// The packages whose versions the page names, with where they are pinned in front: `pypi openai`.
    pub packages: &'static [&'static str],
    pub surface: &'static str,
    pub script: &'static str,
    pub variant: &'static str,
    pub table: Table,
}

const fn client(
    title: &'static str,
    packages: &'static [&'static str],
    surface: &'static str,
    (script, variant): (&'static str, &'static str),
    table: Table,
) -> Client {
    Client { title, packages, surface, script, variant, table }
}

const CHAT: &str = "Chat Completions";
const RESPONSES: &str = "Responses";
const MESSAGES: &str = "Messages";
const GEMINI: &str = "generateContent";
const AI_OPENAI: &[&str] = &["npm ai", "npm @ai-sdk/openai"];
const AI_ANTHROPIC: &[&str] = &["npm ai", "npm @ai-sdk/anthropic"];
const AI_GOOGLE: &[&str] = &["npm ai", "npm @ai-sdk/google"];
const AI: &str = "node/ai_client.mjs";
const VECTORS_PY: &str = "python/vectors_client.py";
const MEDIA_PY: &str = "python/media_client.py";
const BEDROCK_PY: &str = "python/bedrock_client.py";
const LANGCHAIN: &[&str] = &["frameworks langchain-openai", "frameworks openai"];
const INSTRUCTOR: &[&str] = &["frameworks instructor", "frameworks openai"];

pub(super) const CLIENTS: &[Client] = &[
    client("openai, Python", &["pypi openai"], CHAT, ("python/openai_client.py", ""), CHATS),
    client("AzureOpenAI, Python", &["pypi openai"], CHAT, ("python/openai_client.py", "azure"), CHATS),
    client("openai, Python", &["pypi openai"], RESPONSES, ("python/responses_client.py", ""), CHATS),
    client("openai, Python", &["pypi openai"], "Responses, kept", ("python/responses_client.py", "kept"), KEPT),
    client("anthropic, Python", &["pypi anthropic"], MESSAGES, ("python/anthropic_client.py", ""), CHATS),
    client("google-genai, Python", &["pypi google-genai"], GEMINI, ("python/google_client.py", ""), CHATS),
    client("mistralai, Python", &["pypi mistralai"], CHAT, ("python/mistral_client.py", ""), CHATS),
    client("langchain-openai", LANGCHAIN, CHAT, ("python/frameworks/langchain_client.py", ""), CHATS),
    client("instructor", INSTRUCTOR, CHAT, ("python/frameworks/instructor_client.py", ""), CHATS),
    client("openai, JavaScript", &["npm openai"], CHAT, ("node/openai_client.mjs", ""), CHATS),
    client("@anthropic-ai/sdk", &["npm @anthropic-ai/sdk"], MESSAGES, ("node/anthropic_client.mjs", ""), CHATS),
    client("@google/genai", &["npm @google/genai"], GEMINI, ("node/google_client.mjs", ""), CHATS),
    client("ai + @ai-sdk/openai", AI_OPENAI, CHAT, (AI, "chat"), CHATS),
    client("ai + @ai-sdk/openai", AI_OPENAI, RESPONSES, (AI, "responses"), CHATS),
    client("ai + @ai-sdk/anthropic", AI_ANTHROPIC, MESSAGES, (AI, "messages"), CHATS),
    client("ai + @ai-sdk/google", AI_GOOGLE, GEMINI, (AI, "gemini"), CHATS),
    client("openai, Python", &["pypi openai"], "Completions", ("python/older_client.py", ""), OLDER),
    client("openai, Python", &["pypi openai"], "Embeddings", (VECTORS_PY, "openai"), VECTORS),
    client("openai, Python", &["pypi openai"], "Images", (MEDIA_PY, "pictures"), PICTURES),
    client("openai, Python", &["pypi openai"], "Speech", (MEDIA_PY, "speech"), SPEECH),
    client("openai, Python", &["pypi openai"], "Transcriptions and translations", (MEDIA_PY, "recordings"), RECORDINGS),
    client("openai, Python", &["pypi openai"], "Moderations", (MEDIA_PY, "moderation"), MODERATION),
    client("google-genai, Python", &["pypi google-genai"], "embedContent", (VECTORS_PY, "google"), VECTORS),
    client("cohere, Python", &["pypi cohere"], "Rerank", (VECTORS_PY, "cohere"), RANKING),
    client(
        "cohere, Python",
        &["pypi cohere"],
        "its own API, passed through",
        ("python/cohere_client.py", ""),
        OWN_COHERE,
    ),
    client("boto3", &["pypi boto3"], "Bedrock's Converse, passed through", (BEDROCK_PY, "converse"), OWN_CONVERSE),
    client("boto3", &["pypi boto3"], "Bedrock's Invoke, passed through", (BEDROCK_PY, "invoke"), OWN_INVOKE),
];

/// Cells that hold no tick, and why. An empty script, or no provider, means every one.
struct Reason {
    script: &'static str,
    providers: &'static [&'static str],
    scenario: &'static str,
    why: &'static str,
}

const REASONS: &[Reason] = &[
    Reason { script: "", providers: &["cohere"], scenario: "reasoning", why: COHERE_THOUGHTS },
    Reason { script: "", providers: &["ollama"], scenario: "reasoning", why: OLLAMA_THOUGHTS },
    Reason { script: "", providers: &["bedrock-vectors"], scenario: "several", why: TITAN_TEXTS },
    Reason { script: "", providers: &["studio-pictures"], scenario: "edit", why: NO_CHANGES },
    Reason { script: "", providers: &["studio-pictures"], scenario: "edit_several", why: NO_CHANGES },
    Reason { script: "", providers: &["studio-pictures", "azure-pictures"], scenario: "vary", why: NO_CHANGES },
    Reason { script: "", providers: SPEECH_ONLY, scenario: "translate", why: NO_TRANSLATIONS },
    Reason { script: "", providers: &["groq-recordings"], scenario: "stream", why: WHISPER },
    Reason { script: "python/mistral_client.py", providers: IN_PIECES, scenario: "tools_stream", why: MISTRAL_PIECES },
];

const NO_CHANGES: &str = "The vendor changes or varies no pictures with this model; the call is refused, and says so.";
const NO_TRANSLATIONS: &str = "The vendor translates no speech; the call is refused, and says so.";
const WHISPER: &str =
    "Whisper answers whole, whatever is asked, and what is in OpenAI's own form is handed on as it is.";
const SPEECH_ONLY: &[&str] = &["elevenlabs-recordings", "deepgram-recordings"];
const IN_PIECES: &[&str] = &[
    "openai",
    "anthropic",
    "gemini",
    "vertex",
    "bedrock",
    "azure",
    "cohere",
    "ollama",
    "openrouter",
    "compatible",
    "bedrock-claude",
    "vertex-claude",
];
const MISTRAL_PIECES: &str = "Mistral's SDK reads a call in a stream only when it comes whole, as Mistral's own do; of other \
                              vendors' it comes in OpenAI's pieces, and the SDK raises.";

const COHERE_THOUGHTS: &str = "aimock tells Cohere's thoughts as text, which they are not in Cohere's API; the translation of the vendor's own \
                               form is in `crates/provider/fixtures/cohere`.";
const OLLAMA_THOUGHTS: &str = "aimock has no thoughts for Ollama; the translation of the project's own form is in `crates/provider/fixtures/ollama/reasoning`.";

const TITAN_TEXTS: &str = "Amazon's own model takes one text a call, and Headgate makes one call of one; it says so.";

/// What one script said: by model, by scenario.
pub(super) struct Ran {
    pub client: &'static Client,
    pub results: Value,
}

enum Cell {
    Passed,
    /// The script has no such scenario.
    Absent,
    Failed(String),
}

impl Ran {
    fn cell(&self, provider: &Provider, scenario: &str) -> Cell {
        let told = &self.results[provider.name][scenario];
        match told["ok"].as_bool() {
            None => Cell::Absent,
            Some(true) => Cell::Passed,
            Some(false) => Cell::Failed(told["why"].as_str().unwrap_or_default().to_owned()),
        }
    }

    fn reason(&self, provider: &Provider, scenario: &str) -> Option<&'static str> {
        let script = format!("{}{}", self.client.script, self.client.variant);
        let found = REASONS.iter().find(|reason| {
            (reason.script.is_empty() || reason.script == script)
                && (reason.providers.is_empty() || reason.providers.contains(&provider.name))
                && reason.scenario == scenario
        });
        found.map(|reason| reason.why)
    }
}

/// Lists cells that failed without a stated reason, and those that passed in spite of one. What a script tries beside the
/// columns of its table must pass.
pub(super) fn list_wrong(ran: &[Ran]) -> Vec<String> {
    let mut wrong = Vec::new();
    for ran in ran {
        for provider in ran.client.table.rows.list() {
            for (_, scenario) in ran.client.table.columns {
                let place = format!("{} {} → {}: {scenario}", ran.client.title, ran.client.surface, provider.title);
                match (ran.cell(provider, scenario), ran.reason(provider, scenario)) {
                    (Cell::Failed(why), None) => wrong.push(format!("{place}: {why}")),
                    (Cell::Passed, Some(why)) => wrong.push(format!("{place} works, although: {why}")),
                    _ => {}
                }
            }
            let tried = ran.results[provider.name].as_object().into_iter().flatten();
            for (scenario, told) in
                tried.filter(|(scenario, told)| !ran.client.table.has(scenario) && told["ok"] != true)
            {
                wrong.push(format!("{} → {}: {scenario}: {}", ran.client.title, provider.title, told["why"]));
            }
        }
    }
    wrong
}

const HEADER: &str = "# Compatibility

Generated by the suite's own run (`the_sdks_of_the_vendors_reach_every_provider`; `UPDATE=1` writes it anew): the vendors' SDKs,
unchanged, through Headgate, to `@copilotkit/aimock` in the part of each provider, in that provider's own language and signed
with its own kind of secret. ✓ is a run that passed. A number is a reason, below the tables; `·` was not
tried with this client: often because its API has no such thing, not always.

- **chat**: text, system prompt, reason to stop, usage. **stream**: text in pieces, end, usage. **tools**: a call, its result, the
  answer after it. **tools, streamed**: two calls in one streamed answer, put together from their pieces; both results, and the
  streamed answer after them. **JSON schema**: an answer of that shape. **image**: a picture inline. **reasoning**: the thought and the answer.
- **error**: the upstream's 400 with its words, its 500, a wrong key, an unknown model, each as the SDK's own kind of error.
- **cut**: the upstream breaks off in mid-stream; the SDK raises, and nothing says that the answer is whole.
- **client leaves**: the client hangs up in mid-stream; the upstream is told, and the call is billed as such.

Every whole answer of these runs is in the ledger with exactly the tokens that the upstream counted; every provider got the
picture, the schema, the tool and its result in its own language, its own secret, and never the client's key.

OpenAI's and Anthropic's SDKs also list the models, page by page, show one, and Anthropic's and Google's (Python) count tokens,
over OpenAI and Anthropic. instructor's **stream** is an object that fills up, field by field.

The SDKs of AWS and Cohere (`boto3`, `cohere`) speak their vendors' own APIs and reach those through `/passthrough/…`: signed
here, untouched on the way, counted. boto3 sends a key as `AWS_BEARER_TOKEN_BEDROCK`. What aimock lacks (vectors and rankings with
a count, completions, Claude on Vertex AI, pictures, speech, recordings, moderation) is answered in the vendor's form by the
test's own upstream.
";

/// Writes the page.
pub(super) fn render(ran: &[Ran]) -> Result<String> {
    let mut page = HEADER.to_owned();
    let mut reasons: Vec<&str> = Vec::new();
    let versions = Versions::read()?;
    for ran in ran {
        let packages: Vec<String> =
            ran.client.packages.iter().map(|package| versions.find(package)).collect::<Result<_>>()?;
        // Writing to a string cannot fail.
        let _ = write!(
            page,
            "\n## {}: {}\n\n{}\n\n| Provider |",
            ran.client.title,
            ran.client.surface,
            packages.join(", ")
        );
        let table = &ran.client.table;
        for (title, _) in table.columns {
            let _ = write!(page, " {title} |");
        }
        let _ = write!(page, "\n|---|{}\n", "---|".repeat(table.columns.len()));
        for provider in table.rows.list() {
            let _ = write!(page, "| {} |", provider.title);
            for (_, scenario) in table.columns {
                let cell = match ran.cell(provider, scenario) {
                    Cell::Passed => "✓".to_owned(),
                    Cell::Absent => "·".to_owned(),
                    Cell::Failed(_) => number(ran.reason(provider, scenario).unwrap_or_default(), &mut reasons),
                };
                let _ = write!(page, " {cell} |");
            }
            page.push('\n');
        }
    }
    if !reasons.is_empty() {
        page.push_str("\n## Reasons\n\n");
        for (at, reason) in reasons.iter().enumerate() {
            let _ = writeln!(page, "{}. {reason}", at + 1);
        }
    }
    Ok(page)
}

fn number(reason: &'static str, reasons: &mut Vec<&'static str>) -> String {
    let at = reasons.iter().position(|known| *known == reason).unwrap_or_else(|| {
        reasons.push(reason);
        reasons.len() - 1
    });
    (at + 1).to_string()
}

/// The versions that the lists of packages pin.
struct Versions(BTreeMap<String, String>);

impl Versions {
    fn read() -> Result<Self> {
        let scripts = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e");
        let mut versions = BTreeMap::new();
        for (place, list) in [("pypi", "python/requirements.txt"), ("frameworks", "python/frameworks/requirements.txt")]
        {
            for line in std::fs::read_to_string(scripts.join(list))?.lines() {
                if let Some((name, version)) = line.split_once("==") {
                    versions.insert(format!("{place} {name}"), version.to_owned());
                }
            }
        }
        let package: Value = serde_json::from_str(&std::fs::read_to_string(scripts.join("node/package.json"))?)?;
        for (name, version) in package["dependencies"].as_object().context("packages")? {
            versions.insert(format!("npm {name}"), version.as_str().unwrap_or_default().to_owned());
        }
        Ok(Self(versions))
    }

    fn find(&self, package: &str) -> Result<String> {
        let version = self.0.get(package).with_context(|| format!("{package} is pinned nowhere"))?;
        Ok(format!("{} {version}", package.split_once(' ').map_or(package, |(_, name)| name)))
    }
}
