//! `docs/openapi.json` is fresh. `cargo xtask openapi` runs this test with `UPDATE=1`, which writes instead of comparing.

use std::path::Path;

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "`cargo xtask openapi` tells by the environment to write and not to compare"
)]
fn openapi_document_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let mut document = serde_json::to_string_pretty(&api::openapi::document()).expect("the document is JSON");
    document.push('\n');
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, document).expect("the document can be written");
        return;
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(checked_in == document, "docs/openapi.json is stale: run `cargo xtask openapi` and commit the result");
}
