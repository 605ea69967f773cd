use domain::{DeploymentId, RemoteId};

use super::*;
use crate::facts::Model;

fn object(value: &Value) -> Object {
    Object::read(value.to_string().as_bytes()).expect("an object")
}

fn facts() -> Facts {
    let model = Model {
        name: "mine".to_owned(),
        deployment: DeploymentId::from_uuid(1),
        upstream: "up-1".to_owned(),
        base: None,
        facts: None,
    };
    Facts { models: vec![model], endpoint: "/v1/chat/completions".to_owned(), ..Facts::default() }
}

const ID: RemoteId = RemoteId::from_uuid(7);

#[test]
fn togethers_job_is_a_batch_without_its_account() {
    // docs.together.ai/reference/batch-create, its example.
    let job = json!({"id": "0123", "user_id": "user_789xyz012", "input_file_id": "file-in", "file_size_bytes": 1_048_576,
        "status": "COMPLETED", "job_deadline": "2024-01-15T15:30:00Z", "created_at": "2024-01-15T14:30:00Z",
        "endpoint": "/v1/chat/completions", "progress": 75, "model_id": "up-1", "output_file_id": "file-out",
        "error_file_id": "file-err", "error": "", "completed_at": "2024-01-15T15:45:30Z"});
    for wrapped in [json!({"job": job, "warning": ""}), job.clone()] {
        let shown = batch(BatchForm::Together, object(&wrapped), &facts());
        let progress = shown.progress();
        assert!(progress.is_over && progress.ended_at == Some(Timestamp::from_micros(1_705_333_530_000_000)));
        assert_eq!((progress.output.as_deref(), progress.errors.as_deref()), (Some("file-out"), Some("file-err")));
        let shown = shown.as_batch(ID, None);
        assert_eq!((&shown["created_at"], &shown["expires_at"]), (&json!(1_705_329_000), &json!(1_705_332_600)));
        assert!(!shown.to_string().contains("user_789") && !shown.to_string().contains("up-1"), "{shown}");
    }
}

#[test]
fn every_word_for_a_state_is_one_of_openais() {
    let ended = ["completed", "failed", "expired", "cancelled"];
    for (form, place, words) in [
        (
            BatchForm::Together,
            "status",
            [
                ("VALIDATING", "validating"),
                ("IN_PROGRESS", "in_progress"),
                ("COMPLETED", "completed"),
                ("FAILED", "failed"),
                ("EXPIRED", "expired"),
                ("CANCELLED", "cancelled"),
            ]
            .as_slice(),
        ),
        (
            BatchForm::Mistral,
            "status",
            &[
                ("QUEUED", "validating"),
                ("RUNNING", "in_progress"),
                ("SUCCESS", "completed"),
                ("FAILED", "failed"),
                ("TIMEOUT_EXCEEDED", "expired"),
                ("CANCELLATION_REQUESTED", "cancelling"),
                ("CANCELLED", "cancelled"),
                ("NEW_WORD", "in_progress"),
            ],
        ),
        (
            BatchForm::Gemini,
            "state",
            &[
                ("BATCH_STATE_PENDING", "validating"),
                ("JOB_STATE_RUNNING", "in_progress"),
                ("BATCH_STATE_SUCCEEDED", "completed"),
                ("BATCH_STATE_FAILED", "failed"),
                ("BATCH_STATE_CANCELLED", "cancelled"),
                ("BATCH_STATE_EXPIRED", "expired"),
            ],
        ),
    ] {
        for (theirs, ours) in words {
            let said = if form == BatchForm::Gemini {
                json!({"name": "batches/b", "metadata": {(place): theirs}})
            } else {
                json!({"id": "b", (place): theirs})
            };
            let shown = batch(form, object(&said), &facts());
            assert_eq!(shown.text("status"), Some(*ours), "{theirs}");
            assert_eq!(shown.progress().is_over, ended.contains(ours), "{theirs}");
        }
    }
}

#[test]
fn mistrals_job_is_a_batch_with_counts_and_errors() {
    let job = json!({"id": "b-1", "object": "batch", "input_files": ["f-1"], "metadata": {"a": "b"},
        "endpoint": "/v1/chat/completions", "model": "up-1", "output_file": "f-2", "error_file": null,
        "errors": [{"message": "no", "count": 2}], "status": "SUCCESS", "created_at": 5, "total_requests": 3,
        "completed_requests": 3, "succeeded_requests": 2, "failed_requests": 1, "started_at": 6, "completed_at": 9});
    let shown = batch(BatchForm::Mistral, object(&job), &facts()).as_batch(ID, Some(RemoteId::from_uuid(8)));
    assert_eq!(shown["request_counts"], json!({"total": 3, "completed": 2, "failed": 1}));
    assert_eq!((&shown["completed_at"], &shown["in_progress_at"]), (&json!(9), &json!(6)));
    assert_eq!((&shown["errors"]["data"][0]["message"], &shown["metadata"]["a"]), (&json!("no"), &json!("b")));
    assert!(shown["output_file_id"].as_str().is_some_and(|id| id.ends_with("-output")), "{shown}");
    assert!(shown["error_file_id"].is_null() && !shown.to_string().contains("f-"), "{shown}");

    let mut dropped = Vec::new();
    let asked = json!({"input_file_id": "file-x", "endpoint": "/v1/chat/completions", "completion_window": "24h",
        "metadata": {"a": "b"}, "output_expires_after": {"seconds": 5}});
    let sent = wish(BatchForm::Mistral, object(&asked), "f-1", &facts(), &mut dropped);
    let expected = json!({"input_files": ["f-1"], "model": "up-1", "endpoint": "/v1/chat/completions",
        "timeout_hours": 24, "metadata": {"a": "b"}});
    assert_eq!((sent, dropped.as_slice()), (expected, ["output_expires_after".to_owned()].as_slice()));
}

#[test]
fn geminis_operation_is_a_batch_and_its_file_a_file() {
    let operation = json!({"name": "batches/b-1", "done": true, "response": {"responsesFile": "files/batch-b-1"},
        "metadata": {"model": "models/up-1", "state": "BATCH_STATE_SUCCEEDED", "createTime": "2026-11-22T19:00:00Z",
            "endTime": "2026-11-22T20:00:00.5Z", "batchStats": {"requestCount": "3", "successfulRequestCount": "2",
            "failedRequestCount": "1"}}});
    let shown = batch(BatchForm::Gemini, object(&operation), &facts());
    let progress = shown.progress();
    assert_eq!((progress.output.as_deref(), progress.errors), (Some("batch-b-1"), None));
    assert_eq!(shown.text("id"), Some("b-1"));
    assert_eq!(shown.as_batch(ID, None)["request_counts"], json!({"total": 3, "completed": 2, "failed": 1}));

    let failed = json!({"name": "batches/b-1", "done": true, "error": {"code": 3, "message": "bad file"}});
    let shown = batch(BatchForm::Gemini, object(&failed), &facts());
    assert_eq!(shown.text("status"), Some("failed"));
    assert_eq!(shown.write()["errors"]["data"][0]["message"], "bad file");

    let up = json!({"file": {"name": "files/f-1", "displayName": "in.jsonl", "sizeBytes": "321", "state": "ACTIVE",
        "createTime": "2026-11-22T19:00:00Z", "expirationTime": "2026-11-24T19:00:00Z", "uri": "https://x/files/f-1"}});
    let shown = file(BatchForm::Gemini, object(&up)).write();
    let expected = json!({"id": "f-1", "object": "file", "bytes": 321, "created_at": 1_795_374_000,
        "expires_at": 1_795_546_800, "filename": "in.jsonl", "purpose": "batch", "status": "processed"});
    assert_eq!(shown, expected);
}

#[test]
fn an_id_stays_one_segment() {
    for form in [BatchForm::OpenAi, BatchForm::Together, BatchForm::Mistral, BatchForm::Gemini, BatchForm::Anthropic] {
        for what in
            [What::File("a/../b?c"), What::Content("a/../b?c"), What::Batch("a/../b?c"), What::Cancel("a/../b?c")]
        {
            let path = path(form, what);
            assert!(path.contains("a%2F..%2Fb%3Fc") && !path.contains("/../"), "{path}");
        }
    }
}
