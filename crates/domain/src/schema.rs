//! JSON schemas of the vocabulary's text forms, for the OpenAPI document. Nothing here is used at run time.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

macro_rules! text_schemas {
    ($($type:ty, $name:literal, $schema:expr;)+) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    )+};
}

macro_rules! id_schemas {
    ($($name:ident)+) => {$(
        impl JsonSchema for crate::$name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": format!("^{}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$", crate::$name::PREFIX) })
            }
        }
    )+};
}

id_schemas! {
    OrganizationId WorkspaceId EnvironmentId UserId MemberId RoleBindingId VirtualKeyId AccessTokenId SessionId CredentialId
    DeploymentId RouteId ModelId PriceId BudgetId RateLimitId KillSwitchId NodeGroupId NodeId JoinTokenId RequestId AuditEntryId
    LedgerEntryId ReconciliationId
    AlertId DestinationId DeliveryId
}

fn texts(values: impl Iterator<Item = &'static str>) -> Schema {
    json_schema!({ "type": "string", "enum": values.collect::<Vec<_>>() })
}

text_schemas! {
    crate::Timestamp, "Timestamp", json_schema!({ "type": "string", "format": "date-time" });
    crate::NanoUsd, "Usd", json_schema!({ "type": "string", "pattern": "^-?[0-9]+(\\.[0-9]{1,9})?$", "description": "US dollars as a decimal text, exact to the nano-dollar." });
    crate::Slug, "Slug", json_schema!({ "type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$" });
    crate::DisplayName, "DisplayName", json_schema!({ "type": "string", "minLength": 1, "maxLength": 80 });
    crate::ModelName, "ModelName", json_schema!({ "type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[A-Za-z0-9._:@+/-]+$" });
    crate::ModelPattern, "ModelPattern", json_schema!({ "type": "string", "minLength": 1, "maxLength": 129, "description": "A model name, or a prefix followed by `*`." });
    crate::Email, "Email", json_schema!({ "type": "string", "format": "email", "maxLength": 254 });
    crate::secret::Kid, "KeyHint", json_schema!({ "type": "string", "pattern": "^[0-9A-Za-z]{12}$" });
    crate::Permission, "Permission", texts(crate::Permission::ALL.iter().map(|value| value.as_str()));
    crate::Role, "Role", texts(crate::Role::ALL.iter().map(|value| value.as_str()));
    crate::credential::DataPolicy, "DataPolicy", texts(crate::credential::DataPolicy::ALL.iter().map(|value| value.as_str()));
    crate::model::ModelKind, "ModelKind", texts(crate::model::ModelKind::ALL.iter().map(|value| value.as_str()));
    crate::model::Capability, "Capability", texts(crate::model::Capability::ALL.iter().map(|value| value.as_str()));
    crate::model::Modality, "Modality", texts(crate::model::Modality::ALL.iter().map(|value| value.as_str()));
    crate::model::Quantization, "Quantization", texts(crate::model::Quantization::ALL.iter().map(|value| value.as_str()));
    crate::usage::Outcome, "Outcome", texts(crate::usage::Outcome::ALL.iter().map(|value| value.as_str()));
    crate::usage::AttemptOutcome, "AttemptOutcome", texts(crate::usage::AttemptOutcome::ALL.iter().map(|value| value.as_str()));
    crate::usage::CacheOutcome, "CacheOutcome", texts(crate::usage::CacheOutcome::ALL.iter().map(|value| value.as_str()));
    crate::usage::SkipReason, "SkipReason", texts(crate::usage::SkipReason::ALL.iter().map(|value| value.as_str()));
    crate::usage::Endpoint, "Endpoint", texts(crate::usage::Endpoint::ALL.iter().map(|value| value.as_str()));
    crate::entry::EntryKind, "EntryKind", texts(crate::entry::EntryKind::ALL.iter().map(|value| value.as_str()));
    crate::reconciliation::ExportFormat, "ExportFormat", texts(crate::reconciliation::ExportFormat::ALL.iter().map(|value| value.as_str()));
    crate::budget::Measure, "Measure", texts(crate::budget::Measure::ALL.iter().map(|value| value.as_str()));
    crate::budget::Window, "Window", texts(crate::budget::Window::ALL.iter().map(|value| value.as_str()));
    crate::budget::Enforcement, "Enforcement", texts(crate::budget::Enforcement::ALL.iter().map(|value| value.as_str()));
    crate::budget::WhenUnreachable, "WhenUnreachable", texts(crate::budget::WhenUnreachable::ALL.iter().map(|value| value.as_str()));
    crate::budget::Dimension, "Dimension", json_schema!({ "type": "string", "pattern": "^(workspace|environment|virtual_key|end_user|model|provider|route|metadata:.{1,256})$" });
    crate::budget::Amount, "Amount", json_schema!({ "oneOf": [{ "type": "string", "pattern": "^[0-9]+(\\.[0-9]{1,9})?$" }, { "type": "integer", "minimum": 0 }], "description": "US dollars as a decimal text; a whole number of tokens or requests." });
    crate::budget::Subject, "Subject", json_schema!({
        "type": "object", "additionalProperties": false,
        "description": "Which calls count. All conditions must hold; one that is absent or empty holds for every call of the scope.",
        "properties": {
            "environment_ids": { "type": "array", "items": { "type": "string" } },
            "virtual_key_ids": { "type": "array", "items": { "type": "string" } },
            "end_users": { "type": "array", "items": { "type": "string" } },
            "metadata": { "type": "object", "additionalProperties": { "type": "array", "items": { "type": "string" } } },
            "tags": { "type": "array", "items": { "type": "string" } },
            "models": { "type": "array", "items": { "type": "string" }, "description": "Names, or prefixes followed by `*`." },
            "providers": { "type": "array", "items": { "type": "string" } },
            "route_ids": { "type": "array", "items": { "type": "string" } }
        }
    });
    crate::rate_limit::Measure, "RateMeasure", texts(crate::rate_limit::Measure::ALL.iter().map(|value| value.as_str()));
    crate::rate_limit::Per, "RatePer", texts(crate::rate_limit::Per::ALL.iter().map(|value| value.as_str()));
    crate::kill_switch::Target, "KillSwitchTarget", json_schema!({
        "type": "object", "required": ["kind"],
        "properties": {
            "kind": { "type": "string", "enum": crate::kill_switch::TargetKind::ALL.iter().map(|value| value.as_str()).collect::<Vec<_>>() },
            "id": { "type": "string", "description": "The id of the workspace, key or deployment; the registered name of the provider; what clients say in `x-headgate-user`; `provider/model`, or a prefix of that followed by `*`. Absent for the organization." }
        }
    });
    crate::ledger::PostingKind, "PostingKind", texts(crate::ledger::PostingKind::ALL.iter().map(|value| value.as_str()));
    crate::ledger::Rule, "LedgerRule", texts(crate::ledger::Rule::ALL.iter().map(|value| value.as_str()));
    crate::alert::AlertKind, "AlertKind", texts(crate::alert::AlertKind::ALL.iter().map(|value| value.as_str()));
    crate::alert::Severity, "Severity", texts(crate::alert::Severity::ALL.iter().map(|value| value.as_str()));
    crate::alert::DestinationKind, "DestinationKind", texts(crate::alert::DestinationKind::ALL.iter().map(|value| value.as_str()));
    crate::alert::DeliveryState, "DeliveryState", texts(crate::alert::DeliveryState::ALL.iter().map(|value| value.as_str()));
    crate::audit::AuditOutcome, "AuditOutcome", texts(["success", "denied"].into_iter());
    crate::secret::RevocationCause, "RevocationCause", texts(crate::secret::RevocationCause::ALL.iter().map(|value| value.as_str()));
    crate::virtual_key::KeyStatus, "KeyStatus", texts(["active", "expired", "revoked"].into_iter());
    crate::price::PriceSource, "PriceSource", texts(["catalog", "own"].into_iter());
    crate::page::Cursor, "Cursor", json_schema!({ "type": "string", "description": "Opaque; give it back as `cursor` for the next page." });
    crate::usage::TokenUsage, "TokenUsage", json_schema!({
        "type": "object",
        "description": "Tokens by kind. The four input kinds are disjoint; reasoning is a part of output.",
        "required": ["input", "cached_input", "cache_write_5m", "cache_write_1h", "output", "reasoning"],
        "properties": {
            "input": { "type": "integer", "minimum": 0 }, "cached_input": { "type": "integer", "minimum": 0 },
            "cache_write_5m": { "type": "integer", "minimum": 0 }, "cache_write_1h": { "type": "integer", "minimum": 0 },
            "output": { "type": "integer", "minimum": 0 }, "reasoning": { "type": "integer", "minimum": 0 }
        }
    });
    crate::usage::ModalUsage, "ModalUsage", json_schema!({
        "type": "object",
        "description": "Tokens that were sound or pictures, each within the kind it is named after.",
        "properties": {
            "audio_input": { "type": "integer", "minimum": 0 }, "cached_audio_input": { "type": "integer", "minimum": 0 },
            "audio_output": { "type": "integer", "minimum": 0 }, "image_input": { "type": "integer", "minimum": 0 },
            "cached_image_input": { "type": "integer", "minimum": 0 }, "image_output": { "type": "integer", "minimum": 0 }
        }
    });
    crate::usage::UnitUsage, "UnitUsage", json_schema!({
        "type": "object",
        "description": "What was counted beside tokens: pictures made, sound in milliseconds, characters spoken, searches, pages.",
        "properties": {
            "images": { "type": "integer", "minimum": 0 }, "audio_ms": { "type": "integer", "minimum": 0 },
            "characters": { "type": "integer", "minimum": 0 }, "searches": { "type": "integer", "minimum": 0 },
            "pages": { "type": "integer", "minimum": 0 }
        }
    });
    crate::image::ImageKind, "ImageKind", json_schema!({
        "type": "object",
        "description": "The kind of a picture, as far as it was said.",
        "properties": { "size": { "type": "string" }, "quality": { "type": "string" } }
    });
    crate::price::ServiceTier, "ServiceTier", texts(["batch", "flex", "priority"].into_iter());
    crate::route::Target, "Target", json_schema!({
        "type": "object", "required": ["deployment_id", "priority", "weight"],
        "properties": {
            "deployment_id": { "type": "string" },
            "priority": { "type": "integer", "minimum": 0, "maximum": 65535, "description": "Lowest first; the next is the fallback." },
            "weight": { "type": "integer", "minimum": 0, "description": "The share among targets of the same priority." }
        }
    });
    crate::route::Timeouts, "Timeouts", json_schema!({
        "type": "object",
        "properties": {
            "connect_ms": { "type": "integer", "minimum": 1 }, "first_byte_ms": { "type": "integer", "minimum": 1 },
            "idle_ms": { "type": "integer", "minimum": 1 }, "total_ms": { "type": "integer", "minimum": 1 }
        }
    });
}

impl<T: JsonSchema> JsonSchema for crate::Page<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("PageOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object", "required": ["items", "next_cursor"],
            "properties": {
                "items": { "type": "array", "items": generator.subschema_for::<T>() },
                "next_cursor": generator.subschema_for::<Option<crate::page::Cursor>>()
            }
        })
    }
}
