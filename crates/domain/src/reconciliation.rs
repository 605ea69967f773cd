//! What a provider says it billed, held against the ledger: a fact of its day, kept with who brought it.

use crate::usage::text_enum;
use crate::{NanoUsd, OrganizationId, ReconciliationId, Timestamp};

text_enum! {
    /// A form in which a provider exports what was used or billed.
    ExportFormat {
        /// OpenAI's usage of completions, as pages of its API or as a table.
        OpenaiUsage = "openai_usage",
        /// OpenAI's costs, as pages of its API or as a table.
        OpenaiCosts = "openai_costs",
        /// Anthropic's usage report, as pages of its API or as a table.
        AnthropicUsage = "anthropic_usage",
        /// Anthropic's cost report, as pages of its API or as a table.
        AnthropicCosts = "anthropic_costs",
        /// Lines of a Cost and Usage Report of AWS, of which those of Bedrock count.
        AwsCur = "aws_cur",
    }
}

impl ExportFormat {
    /// Returns the provider whose calls the export is about, as the ledger names it.
    #[must_use]
    pub const fn provider(self) -> &'static str {
        match self {
            Self::OpenaiUsage | Self::OpenaiCosts => "openai",
            Self::AnthropicUsage | Self::AnthropicCosts => "anthropic",
            Self::AwsCur => "bedrock",
        }
    }
}

/// What one side counted; absent for what an export does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Counted {
    /// Calls.
    pub requests: Option<u64>,
    /// Tokens read, cached or not.
    pub input: Option<u64>,
    /// Tokens written.
    pub output: Option<u64>,
    /// Cost.
    pub cost: Option<NanoUsd>,
}

/// A day and a model on which the two sides do not agree.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Difference {
    /// The day, by UTC, in days since 1970.
    pub day: i32,
    /// The model, without the date of its release.
    pub model: String,
    /// The credential, or what the export names in its place; empty when credentials are not told apart.
    pub credential: String,
    /// What the provider says.
    pub theirs: Counted,
    /// What the ledger says.
    pub ours: Counted,
}

/// How far two sides may be apart and still agree: the larger of both bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tolerance {
    /// Of the larger side, in hundredths of a percent; for counts and money.
    pub basis_points: u32,
    /// For money.
    pub amount: NanoUsd,
}

/// An export that was held against the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciliation {
    /// Its id.
    pub id: ReconciliationId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// The provider, as the ledger names it.
    pub provider: String,
    /// The form of the export.
    pub format: ExportFormat,
    /// What the file is called.
    pub file_name: String,
    /// SHA-256 of its content, which itself is not kept.
    pub digest: [u8; 32],
    /// The first day that it tells of, in days since 1970.
    pub first_day: i32,
    /// The last.
    pub last_day: i32,
    /// Rows that were read.
    pub rows: u64,
    /// Rows that tell of something else.
    pub skipped: u64,
    /// How far apart still agrees.
    pub tolerance: Tolerance,
    /// Days and models on which both sides agree.
    pub matched: u64,
    /// Days and models on which they do not.
    pub differing: u64,
    /// What the provider says altogether.
    pub theirs: Counted,
    /// What the ledger says altogether.
    pub ours: Counted,
    /// The differences, the dearest first; at most [`Self::MAX_DIFFERENCES`].
    pub differences: Vec<Difference>,
    /// Who brought it.
    pub uploaded_by: String,
    /// When.
    pub created_at: Timestamp,
}

impl Reconciliation {
    /// How many differences are kept.
    pub const MAX_DIFFERENCES: usize = 2_000;
}
