//! An object as code: the call that reads it, and what that call answers. For scripts, tickets and pull requests.

use api::{Empty, Operation};
use leptos::prelude::*;
use serde::Serialize;
use ui::browser;
use ui::code_block::Snippets;

/// The call as a line for a shell; the token stays in a variable.
fn curl(origin: &str, address: &str) -> String {
    format!("curl '{origin}{address}' \\\n  -H \"Authorization: Bearer $HEADGATE_TOKEN\"")
}

/// Shows, folded, how `O` reads `object` and the object itself.
pub fn as_code<O>(path: &O::Path, query: &O::Query, object: &impl Serialize) -> AnyView
where
    O: Operation<Body = Empty>,
{
    let Ok(request) = api::client::request::<O>(path, query, &Empty {}) else { return ().into_any() };
    let json = serde_json::to_value(object).map(|object| format!("{object:#}")).unwrap_or_default();
    let snippets = vec![("curl", "curl", curl(&browser::origin(), &request.path_and_query)), ("json", "JSON", json)];
    view! {
        <details class="more">
            <summary>"As code"</summary>
            <Snippets label="As code" snippets />
        </details>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_ready_to_paste_and_holds_no_secret() {
        assert_eq!(
            curl("https://headgate.example", "/api/v1/me"),
            "curl 'https://headgate.example/api/v1/me' \\\n  -H \"Authorization: Bearer $HEADGATE_TOKEN\""
        );
    }
}
