//! The registry of stable codes that clients may rely on: gateway rejections and management API problems.
//!
//! A code, once released, keeps its meaning and its HTTP status.

/// Who has to act on a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The caller can mend it.
    Client,
    /// The upstream provider failed.
    Upstream,
    /// Headgate or its operator has to act.
    Headgate,
}

macro_rules! codes {
    ($(#[$enum_doc:meta])* $enum:ident { $($(#[$doc:meta])* $name:ident = $text:literal, $status:literal, $blame:ident, $title:literal;)+ }) => {
        $(#[$enum_doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $enum {
            $($(#[$doc])* #[doc = concat!("\n\n`", $text, "`, HTTP ", stringify!($status), ".")] $name,)+
        }

        impl $enum {
            /// Every code, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Returns the stable text.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Returns the HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ }
            }

            /// Returns who has to act.
            #[must_use]
            pub const fn blame(self) -> Blame {
                match self { $(Self::$name => Blame::$blame,)+ }
            }

            /// Returns a short sentence for people.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }
        }

        impl std::fmt::Display for $enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $enum {
            type Err = UnknownCode;

            fn from_str(text: &str) -> Result<Self, UnknownCode> {
                Self::ALL.iter().copied().find(|code| code.as_str() == text).ok_or(UnknownCode)
            }
        }

        impl serde::Serialize for $enum {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $enum {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// The text is not a code of this registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown code")]
pub struct UnknownCode;

codes! {
    /// Every way the gateway says no. The HTTP statuses are those of the public contract.
    GatewayCode {
        /// The request cannot be understood.
        RequestInvalid = "request_invalid", 400, Client, "The request is not valid";
        /// No key, or a key that does not exist.
        KeyInvalid = "key_invalid", 401, Client, "The key is not valid";
        /// The key's time is over.
        KeyExpired = "key_expired", 401, Client, "The key has expired";
        /// The key was revoked.
        KeyRevoked = "key_revoked", 401, Client, "The key was revoked";
        /// A budget would be exceeded.
        BudgetExhausted = "budget_exhausted", 402, Client, "The budget is used up";
        /// The key may not use the model.
        ModelNotAllowed = "model_not_allowed", 403, Client, "The key may not use this model";
        /// An administrator stopped the user that the call is for.
        UserStopped = "user_stopped", 403, Client, "The user was stopped";
        /// The workspace has no such model.
        ModelUnknown = "model_unknown", 404, Client, "The model does not exist";
        /// There is no such prompt.
        PromptUnknown = "prompt_unknown", 404, Client, "The prompt does not exist";
        /// No such response is kept for the caller.
        ResponseUnknown = "response_unknown", 404, Client, "The response does not exist";
        /// No such file or batch is known to the caller.
        ObjectUnknown = "object_unknown", 404, Client, "The file or batch does not exist";
        /// The gateway has no such path.
        EndpointUnknown = "endpoint_unknown", 404, Client, "The endpoint does not exist";
        /// The path exists, the method does not.
        MethodNotAllowed = "method_not_allowed", 405, Client, "The method is not allowed here";
        /// The body was not complete in time.
        RequestTimeout = "request_timeout", 408, Client, "The request body did not arrive in time";
        /// A realtime session lasted as long as it may, or nothing was said in it for too long.
        SessionExpired = "session_expired", 408, Client, "The session is over";
        /// The request is larger than the node accepts.
        RequestTooLarge = "request_too_large", 413, Client, "The request is too large";
        /// Too many requests.
        RateLimited = "rate_limited", 429, Client, "Too many requests";
        /// Headgate failed.
        Internal = "internal", 500, Headgate, "Headgate failed";
        /// Every attempt failed at the upstream.
        UpstreamError = "upstream_error", 502, Upstream, "The upstream failed";
        /// No target is healthy.
        NoHealthyTarget = "no_healthy_target", 503, Upstream, "No healthy target";
        /// Only an answer given again was wanted, and there is none.
        CacheMiss = "cache_miss", 504, Client, "No answer to give again";
        /// The node's policy is too old, or not there yet.
        PolicyStale = "policy_stale", 503, Headgate, "The node cannot verify keys at the moment";
        /// The workspace's policy does not compile.
        PolicyInvalid = "policy_invalid", 503, Headgate, "The workspace's policy is not valid";
        /// Kept responses cannot be reached.
        ResponsesAway = "responses_away", 503, Headgate, "Kept responses cannot be reached at the moment";
        /// What is known of files and batches cannot be reached.
        ObjectsAway = "objects_away", 503, Headgate, "Files and batches cannot be reached at the moment";
        /// The node has no room to note what calls use, and is told not to serve then.
        UsageFull = "usage_full", 503, Headgate, "The node cannot keep usage at the moment";
        /// The node is shutting down.
        Draining = "draining", 503, Headgate, "The node is shutting down";
        /// The upstream was too slow.
        UpstreamTimeout = "upstream_timeout", 504, Upstream, "The upstream was too slow";
    }
}

codes! {
    /// Every problem of the management API (RFC 9457 `code`).
    ProblemCode {
        /// The body, path or query cannot be understood.
        RequestInvalid = "request_invalid", 400, Client, "The request is not valid";
        /// No valid session or token.
        Unauthenticated = "unauthenticated", 401, Client, "Sign in first";
        /// Wrong e-mail or password.
        LoginFailed = "login_failed", 401, Client, "E-mail or password is wrong";
        /// Seen, but the act is not permitted.
        PermissionDenied = "permission_denied", 403, Client, "You may not do this";
        /// An unsafe request from another site.
        CrossSite = "cross_site", 403, Client, "Cross-site request refused";
        /// Absent, or not visible to the actor: the two are not told apart.
        NotFound = "not_found", 404, Client, "Not found";
        /// The path exists, the method does not.
        MethodNotAllowed = "method_not_allowed", 405, Client, "The method is not allowed here";
        /// A name is taken, or the state forbids the act.
        Conflict = "conflict", 409, Client, "Conflict with the current state";
        /// The idempotency key was used for another request.
        IdempotencyMismatch = "idempotency_mismatch", 409, Client, "The idempotency key belongs to another request";
        /// The version sent is not the current one.
        VersionMismatch = "version_mismatch", 412, Client, "Somebody else changed this in the meantime";
        /// The body is too large.
        RequestTooLarge = "request_too_large", 413, Client, "The request is too large";
        /// The body is not JSON.
        UnsupportedMediaType = "unsupported_media_type", 415, Client, "Send application/json";
        /// Understood, but a field's value cannot be accepted.
        ValidationFailed = "validation_failed", 422, Client, "A field cannot be accepted";
        /// A version or If-Match is needed.
        VersionRequired = "version_required", 428, Client, "Send the version you have seen";
        /// Too many requests.
        RateLimited = "rate_limited", 429, Client, "Too many requests";
        /// Headgate failed.
        Internal = "internal", 500, Headgate, "Headgate failed";
        /// The database cannot be reached.
        Unavailable = "unavailable", 503, Headgate, "Try again shortly";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_parse_back() {
        for code in GatewayCode::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
        }
        for code in ProblemCode::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
        }
    }
}
