//! The ids that clients know: ours, in the form of the vendor whose surface they use.
//!
//! The output and the errors of a batch are files of the batch: their ids are made of its own, so they need no note of theirs.

use domain::RemoteId;

/// What an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// A file that was uploaded.
    File(RemoteId),
    /// The output of a batch.
    Output(RemoteId),
    /// The errors of a batch.
    Errors(RemoteId),
    /// A batch of OpenAI's form.
    Batch(RemoteId),
    /// A batch of Anthropic's form.
    MessageBatch(RemoteId),
}

const OUTPUT: &str = "-output";
const ERRORS: &str = "-errors";

impl Named {
    /// Reads an id that a client sent.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix("file-") {
            if let Some(of) = rest.strip_suffix(OUTPUT) {
                return id(of).map(Self::Output);
            }
            if let Some(of) = rest.strip_suffix(ERRORS) {
                return id(of).map(Self::Errors);
            }
            return id(rest).map(Self::File);
        }
        if let Some(rest) = text.strip_prefix("batch_") {
            return id(rest).map(Self::Batch);
        }
        id(text.strip_prefix("msgbatch_")?).map(Self::MessageBatch)
    }

    /// Returns the object that the id is made of.
    #[must_use]
    pub const fn object(self) -> RemoteId {
        let (Self::File(id) | Self::Output(id) | Self::Errors(id) | Self::Batch(id) | Self::MessageBatch(id)) = self;
        id
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.object().to_string();
        let bare = text.split_once('_').map_or(text.as_str(), |(_, bare)| bare);
        match self {
            Self::File(_) => write!(f, "file-{bare}"),
            Self::Output(_) => write!(f, "file-{bare}{OUTPUT}"),
            Self::Errors(_) => write!(f, "file-{bare}{ERRORS}"),
            Self::Batch(_) => write!(f, "batch_{bare}"),
            Self::MessageBatch(_) => write!(f, "msgbatch_{bare}"),
        }
    }
}

fn id(bare: &str) -> Option<RemoteId> {
    format!("{}_{bare}", RemoteId::PREFIX).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_nothing_else_does() {
        let id = RemoteId::from_uuid(7);
        for named in [Named::File(id), Named::Output(id), Named::Errors(id), Named::Batch(id), Named::MessageBatch(id)]
        {
            assert_eq!(Named::parse(&named.to_string()), Some(named));
        }
        assert_eq!(Named::File(id).to_string(), "file-00000000000000000000000007");
        for text in [
            "",
            "file-",
            "file-abc",
            "batch_",
            "batch_6737",
            "msgbatch_01ABC",
            "file-../x",
            "rem_00000000000000000000000007",
        ] {
            assert_eq!(Named::parse(text), None, "{text}");
        }
    }
}
