//! E-mail by the installation's own SMTP server. Its address is the operator's, so egress rules are not asked. TLS is required
//! unless the operator's address says otherwise.

use std::path::Path;
use std::time::Duration;

use domain::Secret;
use domain::alert::{Alert, Destination};
use http::Uri;
use lettre::message::{Mailbox, header};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use percent_encoding::percent_decode_str;

use crate::courier::{Answer, Verdict};
use crate::form;

/// Longest time for one step of a conversation with the server.
const STEP: Duration = Duration::from_secs(10);

/// What is wrong with the settings of the server.
#[derive(Debug, thiserror::Error)]
pub enum SmtpError {
    /// The address is none.
    #[error(
        "smtp_url is written smtps://[user:password@]host[:port], or smtp://… for STARTTLS; smtp://…?tls=none sends in clear"
    )]
    Url,
    /// The sender is none.
    #[error("smtp_from is written alerts@example.com or Alerts <alerts@example.com>")]
    From,
    /// The authorities cannot be read.
    #[error("reading upstream_ca_file for SMTP: {0}")]
    Authorities(String),
}

/// The server, and who mails come from.
pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl std::fmt::Debug for Smtp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Smtp").field("from", &self.from).finish_non_exhaustive()
    }
}

impl Smtp {
    /// Reads the settings; nothing is connected yet. `ca_file` has authorities (PEM) beside the public ones.
    pub fn new(url: &Secret<String>, from: &str, ca_file: Option<&Path>) -> Result<Self, SmtpError> {
        let from: Mailbox = from.parse().map_err(|_| SmtpError::From)?;
        let uri: Uri = url.expose().parse().map_err(|_| SmtpError::Url)?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(SmtpError::Url)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if !matches!(uri.path(), "" | "/") {
            return Err(SmtpError::Url);
        }
        let (default_port, tls) = match (uri.scheme_str(), uri.query()) {
            (Some("smtps"), None) => (465, Tls::Wrapper(parameters(&host, ca_file)?)),
            (Some("smtp"), None | Some("tls=required")) => (587, Tls::Required(parameters(&host, ca_file)?)),
            (Some("smtp"), Some("tls=none")) => (25, Tls::None),
            _ => return Err(SmtpError::Url),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(uri.port_u16().unwrap_or(default_port))
            .tls(tls)
            .timeout(Some(STEP))
            .hello_name(ClientId::Domain(from.email.domain().to_owned()));
        if let Some(credentials) = credentials(&uri)? {
            builder = builder.credentials(credentials);
        }
        Ok(Self { transport: builder.build(), from })
    }

    /// Sends an alert to the mailboxes of a destination, in one message. Never longer than a few steps take.
    pub async fn send(&self, alert: &Alert, destination: &Destination) -> Answer {
        let message = match self.message(alert, destination) {
            Ok(message) => message,
            Err(reason) => return Answer::new(Verdict::Refused, None, &reason),
        };
        match self.transport.send(message).await {
            Ok(response) => {
                let said: Vec<&str> = response.message().collect();
                Answer::new(Verdict::Taken, Some(u16::from(response.code())), &said.join(" "))
            }
            Err(error) => {
                let verdict = if error.is_permanent() { Verdict::Refused } else { Verdict::Later(None) };
                let status = error.status().map(u16::from);
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                let reason = cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
                Answer::new(verdict, status, &reason)
            }
        }
    }

    fn message(&self, alert: &Alert, destination: &Destination) -> Result<Message, String> {
        let (subject, text) = form::email(alert);
        // The same at every try, so that mailboxes can tell a repeat.
        let id = format!("<{}.{}@{}>", alert.id, destination.id, self.from.email.domain());
        let mut builder = Message::builder()
            .from(self.from.clone())
            .subject(subject)
            .message_id(Some(id))
            .header(header::ContentType::TEXT_PLAIN);
        for mail in &destination.recipients {
            let mailbox: Mailbox =
                mail.as_str().parse().map_err(|error| format!("a recipient cannot be mailed: {error}"))?;
            builder = builder.to(mailbox);
        }
        builder.body(text).map_err(|error| error.to_string())
    }
}

fn parameters(host: &str, ca_file: Option<&Path>) -> Result<TlsParameters, SmtpError> {
    let failed = |error: &dyn std::fmt::Display| SmtpError::Authorities(error.to_string());
    let mut builder = TlsParameters::builder(host.to_owned()).certificate_store(CertificateStore::WebpkiRoots);
    if let Some(path) = ca_file {
        let pem = std::fs::read(path).map_err(|error| failed(&error))?;
        builder = builder.add_root_certificate(Certificate::from_pem(&pem).map_err(|error| failed(&error))?);
    }
    builder.build_rustls().map_err(|error| failed(&error))
}

fn credentials(uri: &Uri) -> Result<Option<Credentials>, SmtpError> {
    let Some((user, _)) = uri.authority().and_then(|authority| authority.as_str().rsplit_once('@')) else {
        return Ok(None);
    };
    let (name, password) = user.split_once(':').ok_or(SmtpError::Url)?;
    let plain = |text: &str| percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned);
    match (plain(name), plain(password)) {
        (Ok(name), Ok(password)) => Ok(Some(Credentials::new(name, password))),
        _ => Err(SmtpError::Url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(url: &str, from: &str) -> Result<Smtp, SmtpError> {
        Smtp::new(&Secret::new(url.to_owned()), from, None)
    }

    #[test]
    fn the_address_says_how_it_is_secured() {
        for url in [
            "smtps://mail.example.com",
            "smtp://us%40er:p%3Aw@mail.example.com:2525",
            "smtp://mail.example.com?tls=required",
            "smtp://127.0.0.1:25?tls=none",
        ] {
            assert!(open(url, "Alerts <alerts@example.com>").is_ok(), "{url}");
        }
        for url in [
            "",
            "mail.example.com",
            "http://mail.example.com",
            "smtp://mail?tls=maybe",
            "smtps://mail?tls=none",
            "smtp://user@mail",
        ] {
            assert!(matches!(open(url, "alerts@example.com"), Err(SmtpError::Url)), "{url}");
        }
        assert!(matches!(open("smtps://mail.example.com", "nobody"), Err(SmtpError::From)));
    }

    #[test]
    fn nothing_shows_the_password() {
        let smtp = open("smtps://user:canary@mail.example.com", "alerts@example.com").expect("settings");
        assert!(!format!("{smtp:?}").contains("canary"));
    }
}
