//! What can be asked of files and batches, by either vendor's paths.

/// What is asked of files and batches. Ids are as the path has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchCall<'a> {
    /// OpenAI `GET` and `POST /v1/files`.
    Files,
    /// OpenAI `GET /v1/files/{id}`, or `DELETE`.
    File(&'a str),
    /// OpenAI `GET /v1/files/{id}/content`.
    Content(&'a str),
    /// OpenAI `GET` and `POST /v1/batches`.
    Batches,
    /// OpenAI `GET /v1/batches/{id}`.
    Batch(&'a str),
    /// OpenAI `POST /v1/batches/{id}/cancel`.
    CancelBatch(&'a str),
    /// Anthropic `GET` and `POST /v1/messages/batches`.
    MessageBatches,
    /// Anthropic `GET /v1/messages/batches/{id}`, or `DELETE`.
    MessageBatch(&'a str),
    /// Anthropic `POST /v1/messages/batches/{id}/cancel`.
    CancelMessageBatch(&'a str),
    /// Anthropic `GET /v1/messages/batches/{id}/results`.
    Results(&'a str),
}
