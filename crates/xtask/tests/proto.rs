//! Proves that the protocol only grows: every message, field, enum value and method of the last release is still there.
//!
//! `proto/baseline.binpb` is the descriptor of the last release. A removed field is fine when its number and name are reserved.
//! `UPDATE_BASELINE=1` writes the present descriptor as the baseline; that belongs to a release, not to a change.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use protox::prost::Message;
use protox::prost_reflect::{DescriptorPool, EnumDescriptor, FieldDescriptor, MessageDescriptor, ServiceDescriptor};

use crate::codegen::{proto_files, root};

fn present() -> Result<Vec<u8>> {
    let proto = root().join("proto");
    let mut files = Vec::new();
    proto_files(&proto, &mut files)?;
    let descriptors = protox::compile(&files, [&proto]).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    Ok(descriptors.encode_to_vec())
}

fn is_reserved(ranges: impl Iterator<Item = (u32, u32)>, number: u32) -> bool {
    ranges.into_iter().any(|(from, to)| (from..to).contains(&number))
}

fn check_message(before: &MessageDescriptor, now: &DescriptorPool, findings: &mut Vec<String>) {
    let name = before.full_name();
    let Some(after) = now.get_message_by_name(name) else {
        findings.push(format!("message {name} is gone"));
        return;
    };
    for field in before.fields() {
        let number = field.number();
        let same = |it: &FieldDescriptor| {
            let (kind, cardinality) = (format!("{:?}", it.kind()), format!("{:?}", it.cardinality()));
            (it.name().to_owned(), kind, cardinality, it.supports_presence())
        };
        if let Some(kept) = after.get_field(number) {
            if same(&kept) != same(&field) {
                findings.push(format!("{name}.{} ({number}) was renamed or retyped", field.name()));
            }
            continue;
        }
        let ranges = after.reserved_ranges().map(|range| (range.start, range.end));
        if !is_reserved(ranges, number) || after.reserved_names().all(|kept| kept != field.name()) {
            findings.push(format!("{name}.{} ({number}) is gone and not reserved by number and name", field.name()));
        }
    }
}

fn check_enum(before: &EnumDescriptor, now: &DescriptorPool, findings: &mut Vec<String>) {
    let name = before.full_name();
    let Some(after) = now.get_enum_by_name(name) else {
        findings.push(format!("enum {name} is gone"));
        return;
    };
    for value in before.values() {
        if after.get_value(value.number()).is_none_or(|kept| kept.name() != value.name()) {
            findings.push(format!("{name}.{} ({}) was removed or renamed", value.name(), value.number()));
        }
    }
    if after.get_value(0).is_none_or(|zero| !zero.name().ends_with("_UNSPECIFIED")) {
        findings.push(format!("{name} does not start at *_UNSPECIFIED = 0"));
    }
}

fn check_service(before: &ServiceDescriptor, now: &DescriptorPool, findings: &mut Vec<String>) {
    let name = before.full_name();
    let after = now.get_service_by_name(name);
    for method in before.methods() {
        let shape = |it: &protox::prost_reflect::MethodDescriptor| {
            let (input, output) = (it.input().full_name().to_owned(), it.output().full_name().to_owned());
            (input, output, it.is_client_streaming(), it.is_server_streaming())
        };
        let kept = after.as_ref().and_then(|after| after.methods().find(|it| it.name() == method.name()));
        if kept.is_none_or(|kept| shape(&kept) != shape(&method)) {
            findings.push(format!("{name}.{} was removed or changed", method.name()));
        }
    }
}

/// Lists what of `before` is missing or different in `now`.
fn breaks(before: &DescriptorPool, now: &DescriptorPool) -> Vec<String> {
    let mut findings = Vec::new();
    before.all_messages().for_each(|message| check_message(&message, now, &mut findings));
    before.all_enums().for_each(|it| check_enum(&it, now, &mut findings));
    before.services().for_each(|service| check_service(&service, now, &mut findings));
    findings
}

#[expect(
    clippy::disallowed_methods,
    reason = "a build tool reads its environment; there is no configuration to go through"
)]
fn is_release() -> bool {
    std::env::var_os("UPDATE_BASELINE").is_some()
}

#[test]
fn the_protocol_only_grows() -> Result<()> {
    let path = root().join("proto/baseline.binpb");
    let bytes = present()?;
    if is_release() {
        fs::write(&path, &bytes)?;
    }
    let baseline = fs::read(&path).with_context(|| format!("reading {}", Path::new(&path).display()))?;
    let (before, now) = (DescriptorPool::decode(&baseline[..])?, DescriptorPool::decode(&bytes[..])?);
    let findings = breaks(&before, &now);
    assert!(findings.is_empty(), "the protocol breaks nodes of the last release:\n{}", findings.join("\n"));
    Ok(())
}

#[test]
fn a_break_of_each_kind_is_found() -> Result<()> {
    let pool = |text: &str| -> Result<DescriptorPool> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("a.proto"), format!("syntax = \"proto3\"; package a; {text}"))?;
        let set = protox::compile(["a.proto"], [folder.path()]).map_err(|error| anyhow::anyhow!("{error:?}"))?;
        Ok(DescriptorPool::decode(&set.encode_to_vec()[..])?)
    };
    let before = pool(
        "message M { string x = 1; int32 y = 2; } enum E { E_UNSPECIFIED = 0; E_A = 1; } service S { rpc R(M) returns (M); }",
    )?;
    let check = |text: &str| pool(text).map(|now| breaks(&before, &now).len());
    let rest = "enum E { E_UNSPECIFIED = 0; E_A = 1; } service S { rpc R(M) returns (M); }";
    assert_eq!(check(&format!("message M {{ string x = 1; int32 y = 2; bool z = 3; }} {rest}"))?, 0);
    assert_eq!(check(&format!("message M {{ string x = 1; reserved 2; reserved \"y\"; }} {rest}"))?, 0);
    for broken in [
        "string x = 1;",
        "string x = 1; int64 y = 2;",
        "string x = 1; int32 why = 2;",
        "string x = 1; int32 y = 3;",
        "string x = 1; reserved 2;",
    ] {
        assert_eq!(check(&format!("message M {{ {broken} }} {rest}"))?, 1, "{broken}");
    }
    let message = "message M { string x = 1; int32 y = 2; }";
    assert_eq!(
        check(&format!("{message} enum E {{ E_UNSPECIFIED = 0; E_B = 1; }} service S {{ rpc R(M) returns (M); }}"))?,
        1
    );
    assert_eq!(
        check(&format!(
            "{message} enum E {{ E_UNSPECIFIED = 0; E_A = 1; }} service S {{ rpc R(stream M) returns (M); }}"
        ))?,
        1
    );
    Ok(())
}
