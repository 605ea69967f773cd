//! Ready calls for a key: curl, Python and TypeScript, for this gateway and a model the key may use.

use domain::ModelPattern;

/// Chooses a model for the example: the first the key names, else the first the workspace has, else the built-in echo.
pub(super) fn example_model(allowed: &[ModelPattern], names: &[String]) -> String {
    let concrete = allowed.iter().find(|pattern| !pattern.as_str().ends_with('*')).map(ToString::to_string);
    let matching = || names.iter().find(|name| allowed.iter().any(|pattern| pattern.matches(name))).cloned();
    let chat = |names: &[String]| names.iter().find(|name| !name.contains("embed")).cloned();
    concrete.or_else(matching).or_else(|| chat(names)).unwrap_or_else(|| "echo/echo-1".to_owned())
}

/// Writes the three snippets: `(key, name, code)`.
pub(super) fn write(gateway_url: &str, secret: &str, model: &str) -> Vec<(&'static str, &'static str, String)> {
    let base = gateway_url.trim_end_matches('/');
    let curl = format!(
        "curl {base}/v1/chat/completions \\\n  -H \"Authorization: Bearer {secret}\" \\\n  -H \"Content-Type: application/json\" \\\n  -d '{{\"model\": \"{model}\", \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}'"
    );
    let python = format!(
        "from openai import OpenAI\n\nclient = OpenAI(\n    base_url=\"{base}/v1\",\n    api_key=\"{secret}\",\n)\nanswer = client.chat.completions.create(\n    model=\"{model}\",\n    messages=[{{\"role\": \"user\", \"content\": \"Hello\"}}],\n)\nprint(answer.choices[0].message.content)"
    );
    let typescript = format!(
        "import OpenAI from \"openai\";\n\nconst client = new OpenAI({{\n  baseURL: \"{base}/v1\",\n  apiKey: \"{secret}\",\n}});\nconst answer = await client.chat.completions.create({{\n  model: \"{model}\",\n  messages: [{{ role: \"user\", content: \"Hello\" }}],\n}});\nconsole.log(answer.choices[0].message.content);"
    );
    vec![("curl", "curl", curl), ("python", "Python", python), ("typescript", "TypeScript", typescript)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_uses_a_model_the_key_may_call() {
        let names = ["echo/echo-embed".to_owned(), "gpt-4o-mini".to_owned()];
        let pattern = |text: &str| ModelPattern::parse(text).expect("a pattern");
        assert_eq!(example_model(&[], &names), "gpt-4o-mini");
        assert_eq!(example_model(&[pattern("gpt-*")], &names), "gpt-4o-mini");
        assert_eq!(example_model(&[pattern("x/*"), pattern("claude")], &names), "claude");
        assert_eq!(example_model(&[], &[]), "echo/echo-1");
    }

    #[test]
    fn snippets_name_this_gateway() {
        for (_, name, code) in write("http://127.0.0.1:7410/", "hgk_x", "m") {
            assert!(code.contains("http://127.0.0.1:7410/v1") && code.contains("hgk_x"), "{name}");
        }
    }
}
