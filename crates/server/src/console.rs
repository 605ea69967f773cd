//! The built console inside the executable. Without the feature `console` there is none, and the server says how to get one.

use std::borrow::Cow;

#[cfg(feature = "console")]
#[derive(rust_embed::RustEmbed)]
#[folder = "../../web/dist"]
// A checkout that has not built the console yet still compiles and can be linted; it serves the page that says so.
#[allow_missing = true]
struct Files;

/// Gives the bytes of a console file by its path.
#[cfg(feature = "console")]
pub(crate) fn find(path: &str) -> Option<Cow<'static, [u8]>> {
    // The stamp is for the build, not for browsers.
    Files::get(path).filter(|_| path != "stamp").map(|file| file.data)
}

/// Gives the bytes of a console file by its path: this build has none.
#[cfg(not(feature = "console"))]
pub(crate) fn find(_path: &str) -> Option<Cow<'static, [u8]>> {
    None
}
