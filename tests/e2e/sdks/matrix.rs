//! Who speaks to whom, what is tried, and why some of it cannot be: the data of the matrix, and its page.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// A deployment whose upstream is aimock in the part of one provider.
pub(super) struct Provider {
    /// The model name that clients ask for.
    pub name: &'static str,
    pub title: &'static str,
    /// Its name in Headgate.
    pub kind: &'static str,
    pub model: &'static str,
    /// The base address below aimock's.
    pub base: &'static str,
    pub secret: &'static str,
    pub mark: Mark,
    /// What the marked header must hold.
    pub sends: &'static str,
}

/// How a call to a provider is told from the others.
pub(super) struct Mark {
    pub path: &'static str,
    pub body: &'static str,
    pub header: &'static str,
}

const BEARER: &str = "authorization";

pub(super) const PROVIDERS: &[Provider] = &[
    Provider {
        name: "openai",
        title: "OpenAI",
        kind: "openai",
        model: "gpt-4o-mini",
        base: "/v1",
        secret: "sk-openai-000000000000",
        mark: Mark { path: "/v1/", body: "\"gpt-4o-mini\"", header: BEARER },
        sends: "Bearer sk-openai-000000000000",
    },
    Provider {
        name: "anthropic",
        title: "Anthropic",
        kind: "anthropic",
        model: "claude-opus-4-5",
        base: "",
        secret: "sk-ant-000000000000",
        mark: Mark { path: "/v1/messages", body: "", header: "x-api-key" },
        sends: "sk-ant-000000000000",
    },
    Provider {
        name: "gemini",
        title: "Gemini (AI Studio)",
        kind: "gemini",
        model: "gemini-2.5-flash",
        base: "",
        secret: "AIza-gemini-000000",
        mark: Mark { path: "/v1beta/models/gemini-2.5-flash:", body: "", header: "x-goog-api-key" },
        sends: "AIza-gemini-000000",
    },
    Provider {
        name: "vertex",
        title: "Vertex AI (Gemini)",
        kind: "vertex",
        model: "gemini-2.5-flash",
        base: "/v1/projects/p/locations/us-central1",
        secret: "ya29.vertex-000000",
        mark: Mark { path: "/v1/projects/p/", body: "", header: BEARER },
        sends: "Bearer ya29.vertex-000000",
    },
    Provider {
        name: "bedrock",
        title: "Bedrock (Converse)",
        kind: "bedrock",
        model: "amazon.nova-pro-v1:0",
        base: "",
        secret: r#"{"access_key_id":"AKIA00000000","secret_access_key":"s0000000000","region":"eu-west-1"}"#,
        mark: Mark { path: "/model/amazon.nova", body: "", header: BEARER },
        sends: "AWS4-HMAC-SHA256 Credential=AKIA00000000/",
    },
    Provider {
        name: "azure",
        title: "Azure OpenAI (dated)",
        kind: "azure_openai",
        model: "gpt-4o",
        base: "?api-version=2024-10-21",
        secret: "azure-key-000000000000",
        mark: Mark { path: "/openai/", body: "", header: "api-key" },
        sends: "azure-key-000000000000",
    },
    Provider {
        name: "mistral",
        title: "Mistral",
        kind: "mistral",
        model: "mistral-large-latest",
        base: "/v1",
        secret: "mistral-000000000000",
        mark: Mark { path: "/v1/chat/completions", body: "\"mistral-large-latest\"", header: BEARER },
        sends: "Bearer mistral-000000000000",
    },
    Provider {
        name: "cohere",
        title: "Cohere",
        kind: "cohere",
        model: "command-a-03-2025",
        base: "",
        secret: "cohere-000000000000",
        mark: Mark { path: "/v2/chat", body: "", header: BEARER },
        sends: "Bearer cohere-000000000000",
    },
    Provider {
        name: "ollama",
        title: "Ollama",
        kind: "ollama",
        model: "qwen3",
        base: "",
        secret: "ollama-000000000000",
        mark: Mark { path: "/api/chat", body: "", header: BEARER },
        sends: "Bearer ollama-000000000000",
    },
    Provider {
        name: "openrouter",
        title: "OpenRouter",
        kind: "openrouter",
        model: "deepseek/deepseek-r1",
        base: "/api/v1",
        secret: "sk-or-000000000000",
        mark: Mark { path: "/api/v1/chat/completions", body: "", header: BEARER },
        sends: "Bearer sk-or-000000000000",
    },
    Provider {
        name: "compatible",
        title: "Any OpenAI-compatible server",
        kind: "openai_compatible",
        model: "local-model",
        base: "/v1",
        secret: "local-000000000000",
        mark: Mark { path: "/v1/chat/completions", body: "\"local-model\"", header: BEARER },
        sends: "Bearer local-000000000000",
    },
];

/// A script, and what it stands for.
pub(super) struct Client {
    pub title: &'static str,
    /// The packages whose versions the page names, with the registry in front: `pypi openai`.
    pub packages: &'static [&'static str],
    pub surface: &'static str,
    pub script: &'static str,
    pub variant: &'static str,
}

const fn client(
    title: &'static str,
    packages: &'static [&'static str],
    surface: &'static str,
    script: &'static str,
    variant: &'static str,
) -> Client {
    Client { title, packages, surface, script, variant }
}

const CHAT: &str = "Chat Completions";
const RESPONSES: &str = "Responses";
const MESSAGES: &str = "Messages";
const GEMINI: &str = "generateContent";
const AI_OPENAI: &[&str] = &["npm ai", "npm @ai-sdk/openai"];

pub(super) const CLIENTS: &[Client] = &[
    client("openai, Python", &["pypi openai"], CHAT, "python/openai_client.py", ""),
    client("openai, Python", &["pypi openai"], RESPONSES, "python/responses_client.py", ""),
    client("anthropic, Python", &["pypi anthropic"], MESSAGES, "python/anthropic_client.py", ""),
    client("google-genai, Python", &["pypi google-genai"], GEMINI, "python/google_client.py", ""),
    client("mistralai, Python", &["pypi mistralai"], CHAT, "python/mistral_client.py", ""),
    client("langchain-openai", &["pypi langchain-openai"], CHAT, "python/langchain_client.py", ""),
    client("instructor", &["pypi instructor"], CHAT, "python/instructor_client.py", ""),
    client("openai, JavaScript", &["npm openai"], CHAT, "node/openai_client.mjs", ""),
    client("@anthropic-ai/sdk", &["npm @anthropic-ai/sdk"], MESSAGES, "node/anthropic_client.mjs", ""),
    client("@google/genai", &["npm @google/genai"], GEMINI, "node/google_client.mjs", ""),
    client("ai + @ai-sdk/openai", AI_OPENAI, CHAT, "node/ai_client.mjs", "chat"),
    client("ai + @ai-sdk/openai", AI_OPENAI, RESPONSES, "node/ai_client.mjs", "responses"),
    client("ai + @ai-sdk/anthropic", &["npm ai", "npm @ai-sdk/anthropic"], MESSAGES, "node/ai_client.mjs", "messages"),
    client("ai + @ai-sdk/google", &["npm ai", "npm @ai-sdk/google"], GEMINI, "node/ai_client.mjs", "gemini"),
];

/// The columns: what is tried, and the name that scripts give it.
const SCENARIOS: [(&str, &str); 9] = [
    ("chat", "chat"),
    ("stream", "stream"),
    ("tools", "tools"),
    ("JSON schema", "schema"),
    ("image", "image"),
    ("reasoning", "reasoning"),
    ("error", "error"),
    ("cut", "cut"),
    ("client leaves", "disconnect"),
];

/// Cells that hold no tick, and why. An empty provider or script means every one.
struct Reason {
    script: &'static str,
    provider: &'static str,
    scenario: &'static str,
    why: &'static str,
}

const REASONS: &[Reason] = &[
    Reason { script: "", provider: "cohere", scenario: "reasoning", why: COHERE_THOUGHTS },
    Reason { script: "", provider: "ollama", scenario: "reasoning", why: OLLAMA_THOUGHTS },
];

const COHERE_THOUGHTS: &str = "aimock tells Cohere's thoughts as text, which they are not in Cohere's API; the translation of the vendor's own \
                               form is in `crates/provider/fixtures/cohere`.";
const OLLAMA_THOUGHTS: &str = "aimock has no thoughts for Ollama; the translation of the project's own form is in `crates/provider/fixtures/ollama/reasoning`.";

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
        let covers = |stated: &str, actual: &str| stated.is_empty() || stated == actual;
        let script = format!("{}{}", self.client.script, self.client.variant);
        let found = REASONS.iter().find(|reason| {
            covers(reason.script, &script) && covers(reason.provider, provider.name) && reason.scenario == scenario
        });
        found.map(|reason| reason.why)
    }
}

/// Lists cells that failed without a stated reason, and those that passed in spite of one.
pub(super) fn list_wrong(ran: &[Ran]) -> Vec<String> {
    let mut wrong = Vec::new();
    for ran in ran {
        for provider in PROVIDERS {
            for (_, scenario) in SCENARIOS {
                let place = format!("{} {} → {}: {scenario}", ran.client.title, ran.client.surface, provider.title);
                match (ran.cell(provider, scenario), ran.reason(provider, scenario)) {
                    (Cell::Failed(why), None) => wrong.push(format!("{place}: {why}")),
                    (Cell::Passed, Some(why)) => wrong.push(format!("{place} works, although: {why}")),
                    _ => {}
                }
            }
        }
    }
    wrong
}

const HEADER: &str = "# Compatibility

Generated by the suite's own run (`the_sdks_of_the_vendors_reach_every_provider`; `UPDATE=1` writes it anew): the vendors' SDKs,
unchanged, through Headgate, to `@copilotkit/aimock` in the part of each provider, in that provider's own language and signed
with its own kind of secret. ✓ is a run that passed. A number is a reason, below the tables; `·` is what the client does not try,
because its API has no such thing.

- **chat**: text, system prompt, reason to stop, usage. **stream**: text in pieces, end, usage. **tools**: a call, its result, the
  answer after it. **JSON schema**: an answer of that shape. **image**: a picture inline. **reasoning**: the thought and the answer.
- **error**: the upstream's 400 with its words, its 500, a wrong key, an unknown model, each as the SDK's own kind of error.
- **cut**: the upstream breaks off in mid-stream; the SDK raises, and nothing says that the answer is whole.
- **client leaves**: the client hangs up in mid-stream; the upstream is told, and the call is billed as such.

Every whole answer of these runs is in the ledger with exactly the tokens that the upstream counted; every provider got the
picture, the schema, the tool and its result in its own language, its own secret, and never the client's key.

Not run: the SDKs of Cohere and AWS (`cohere`, `boto3`), which speak nothing but their vendors' own APIs, for which Headgate has
no surface of its own.
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
        for (title, _) in SCENARIOS {
            let _ = write!(page, " {title} |");
        }
        let _ = write!(page, "\n|---|{}\n", "---|".repeat(SCENARIOS.len()));
        for provider in PROVIDERS {
            let _ = write!(page, "| {} |", provider.title);
            for (_, scenario) in SCENARIOS {
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
        for line in std::fs::read_to_string(scripts.join("python/requirements.txt"))?.lines() {
            if let Some((name, version)) = line.split_once("==") {
                versions.insert(format!("pypi {name}"), version.to_owned());
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
