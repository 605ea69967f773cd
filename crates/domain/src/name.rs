//! Names that people choose: parsed once at the edge, valid for ever after.

use std::fmt;
use std::str::FromStr;

/// Says why a name was refused; the text is fit for a form field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing but white space.
    #[error("must not be empty")]
    Empty,
    /// Too many characters.
    #[error("must be at most {max} characters long")]
    TooLong {
        /// The bound in characters.
        max: usize,
    },
    /// A character that the kind of name does not allow.
    #[error("{rule}")]
    Characters {
        /// What is allowed.
        rule: &'static str,
    },
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $parse:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// Parses and normalises a text.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                $parse(text).map(|text| Self(text.into()))
            }

            /// Returns the text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    )+};
}

names! {
    /// A short name for URLs: 1–40 of `a-z 0-9 -`, beginning and ending with a letter or digit.
    Slug = slug,
    /// A name for people: 1–80 characters, trimmed, no control characters.
    DisplayName = display_name,
    /// A public model name: 1–128 of `A-Z a-z 0-9 . _ : @ + / -`, no empty path segment, no `..` segment.
    ModelName = model_name,
    /// A model name or a prefix followed by `*`; `*` alone matches every model.
    ModelPattern = model_pattern,
    /// A model of the catalog, as `provider/name`: whose limits, abilities and prices hold for one that an upstream names otherwise
    /// (a deployment of Azure, a tuned model, a cloud's inference profile).
    BaseModel = base_model,
    /// An e-mail address, lower case, at most 254 characters; only its rough shape is checked.
    Email = email,
}

impl ModelPattern {
    /// Says whether the pattern covers `model`.
    #[must_use]
    pub fn matches(&self, model: &str) -> bool {
        self.0.strip_suffix('*').map_or(&*self.0 == model, |prefix| model.starts_with(prefix))
    }
}

impl BaseModel {
    /// Returns the provider's name, and that of the model at it.
    #[must_use]
    pub fn parts(&self) -> (&str, &str) {
        self.0.split_once('/').unwrap_or_default()
    }
}

fn bounded(text: &str, max: usize) -> Result<&str, NameError> {
    match text.trim() {
        "" => Err(NameError::Empty),
        text if text.chars().count() > max => Err(NameError::TooLong { max }),
        text => Ok(text),
    }
}

fn slug(text: &str) -> Result<String, NameError> {
    let text = bounded(text, 40)?;
    let allowed = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !allowed || text.starts_with('-') || text.ends_with('-') {
        return Err(NameError::Characters { rule: "use lower-case letters, digits and inner hyphens" });
    }
    Ok(text.to_owned())
}

fn display_name(text: &str) -> Result<String, NameError> {
    let text = bounded(text, 80)?;
    if text.chars().any(char::is_control) {
        return Err(NameError::Characters { rule: "must not contain control characters" });
    }
    Ok(text.to_owned())
}

fn base_model(text: &str) -> Result<String, NameError> {
    let text = bounded(text, 300)?;
    let is_whole = text.split_once('/').is_some_and(|(provider, name)| !provider.is_empty() && !name.is_empty());
    if !is_whole || text.chars().any(char::is_control) {
        return Err(NameError::Characters { rule: "use provider/name, as the models page lists them" });
    }
    Ok(text.to_owned())
}

fn model_name(text: &str) -> Result<String, NameError> {
    let text = bounded(text, 128)?;
    let allowed = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:@+/-".contains(&byte));
    if !allowed || text.split('/').any(|segment| segment.is_empty() || segment == "." || segment == "..") {
        return Err(NameError::Characters {
            rule: "use letters, digits and . _ : @ + - with / between non-empty parts",
        });
    }
    Ok(text.to_owned())
}

fn model_pattern(text: &str) -> Result<String, NameError> {
    let text = bounded(text, 129)?;
    match text.strip_suffix('*') {
        Some("") => {}
        Some(prefix) => drop(model_name(prefix.strip_suffix('/').unwrap_or(prefix))?),
        None => drop(model_name(text)?),
    }
    Ok(text.to_owned())
}

fn email(text: &str) -> Result<String, NameError> {
    let text = bounded(text, 254)?.to_lowercase();
    let shape = text.split_once('@').is_some_and(|(local, host)| {
        !local.is_empty() && !host.is_empty() && !host.contains('@') && !host.starts_with('.') && !host.ends_with('.')
    });
    if !shape || text.chars().any(|c| c.is_whitespace() || c.is_control() || "<>\",;\\".contains(c)) {
        return Err(NameError::Characters { rule: "must be an e-mail address such as ada@example.com" });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_names_cannot_travel() {
        for good in ["gpt-4o-mini", "echo/echo-1", "anthropic/claude-sonnet-4.5:beta", "ft:gpt-4o@2"] {
            assert_eq!(ModelName::parse(good).map(|name| name.to_string()).as_deref(), Ok(good));
        }
        for bad in ["", "../admin", "a//b", "a/../b", "a/", "/a", "a b", "a?x", "a%2fb", "a#", "ü"] {
            assert!(ModelName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn patterns_match_by_prefix() {
        let pattern = ModelPattern::parse("openai/*").expect("a valid pattern");
        assert!(pattern.matches("openai/gpt-4o") && !pattern.matches("anthropic/x"));
        assert!(ModelPattern::parse("*").expect("a valid pattern").matches("anything"));
        assert!(ModelPattern::parse("a*b").is_err());
    }

    #[test]
    fn slugs_and_mails_are_normal() {
        assert!(Slug::parse("team-7").is_ok() && Slug::parse("-team").is_err() && Slug::parse("Team").is_err());
        assert_eq!(Email::parse(" Ada@Example.com ").map(|mail| mail.to_string()).as_deref(), Ok("ada@example.com"));
        assert!(
            Email::parse("ada").is_err() && Email::parse("a@b@c").is_err() && Email::parse("admin@localhost").is_ok()
        );
    }
}
