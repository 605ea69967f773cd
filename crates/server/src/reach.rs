//! Says when a listener is reached over a network in clear.
//!
//! Browsers sign in over plain http on the same machine only, which the control plane enforces; but an access token or a
//! password that somebody sends to an exposed address has been read on the way before it can be refused.

use std::net::SocketAddr;

use runtime::config::Resolved;

/// Returns what is wrong with a control address that others can reach without https in front, and what to do.
pub(crate) fn find_exposed(settings: &Resolved, control_addr: SocketAddr) -> Option<String> {
    let is_https = settings.find("public_url").is_some_and(|url| url.starts_with("https://"));
    if control_addr.ip().is_loopback() || is_https {
        return None;
    }
    Some(format!(
        "the console and the management API listen on {control_addr} over plain http: passwords and access tokens can be read on \
         the way, and browsers on other machines cannot sign in. Put https in front and set --public-url to its address, or \
         listen on a loopback address"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn exposed(address: &str, public_url: Option<&str>) -> bool {
        let flags: BTreeMap<String, String> =
            public_url.map(|url| ("public_url".to_owned(), url.to_owned())).into_iter().collect();
        let environment = runtime::config::Environment::default();
        let resolved = runtime::config::resolve(crate::settings::all(), &flags, &environment, None).expect("settings");
        find_exposed(&resolved, address.parse().expect("an address")).is_some()
    }

    #[test]
    fn only_an_open_address_without_https_is_exposed() {
        assert!(!exposed("127.0.0.1:7400", None));
        assert!(!exposed("[::1]:7400", Some("http://localhost:7400")));
        assert!(exposed("0.0.0.0:7400", None));
        assert!(exposed("10.0.0.5:7400", Some("http://headgate.example")));
        assert!(!exposed("0.0.0.0:7400", Some("https://headgate.example")));
    }
}
