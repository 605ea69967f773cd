//! A field of a `PATCH` body that tells "leave as it is" from "set to nothing".

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A field that may be absent, null or given. Use with `#[serde(default, skip_serializing_if = "Field::is_absent")]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Field<T> {
    /// Leave as it is.
    #[default]
    Absent,
    /// Set to nothing.
    Null,
    /// Set to this.
    Value(T),
}

impl<T> Field<T> {
    /// Says whether the field was left out.
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Returns what the field becomes, given what it is.
    #[must_use]
    pub fn apply(self, current: Option<T>) -> Option<T> {
        match self {
            Self::Absent => current,
            Self::Null => None,
            Self::Value(value) => Some(value),
        }
    }
}

impl<T: Serialize> Serialize for Field<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => serializer.serialize_some(value),
            Self::Absent | Self::Null => serializer.serialize_none(),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<T>::deserialize(deserializer).map(|value| value.map_or(Self::Null, Self::Value))
    }
}

#[cfg(feature = "schema")]
impl<T: schemars::JsonSchema> schemars::JsonSchema for Field<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Option::<T>::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Option::<T>::json_schema(generator)
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Body {
        #[serde(default, skip_serializing_if = "Field::is_absent")]
        at: Field<u8>,
    }

    #[test]
    fn the_three_states_survive_json() {
        for (text, at) in [("{}", Field::Absent), (r#"{"at":null}"#, Field::Null), (r#"{"at":7}"#, Field::Value(7))] {
            assert_eq!(serde_json::from_str::<Body>(text).expect("valid JSON"), Body { at });
            assert_eq!(serde_json::to_string(&Body { at }).expect("serialises"), text);
        }
        assert_eq!(
            (Field::Absent.apply(Some(1)), Field::Null.apply(Some(1)), Field::Value(2).apply(Some(1))),
            (Some(1), None, Some(2))
        );
    }
}
