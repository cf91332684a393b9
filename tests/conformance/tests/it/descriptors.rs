//! Our message files against the descriptors inside the published Python package.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use prost::Message as _;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};

/// One line per message, field, enum value and method, so that a difference reads as a line.
fn facts(files: &FileDescriptorSet) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    for file in &files.file {
        let package = file.package();
        for message in &file.message_type {
            message_facts(&format!(".{package}"), message, &mut facts);
        }
        for kind in &file.enum_type {
            enum_facts(&format!(".{package}"), kind, &mut facts);
        }
        for service in &file.service {
            for method in &service.method {
                facts.insert(
                    format!(".{package}.{}/{}", service.name(), method.name()),
                    format!(
                        "{} {} -> {} {}",
                        method.client_streaming(),
                        method.input_type(),
                        method.server_streaming(),
                        method.output_type()
                    ),
                );
            }
        }
    }
    facts
}

fn message_facts(scope: &str, message: &DescriptorProto, facts: &mut BTreeMap<String, String>) {
    let name = format!("{scope}.{}", message.name());
    facts.insert(name.clone(), "message".into());
    for field in &message.field {
        let oneof = field
            .oneof_index
            .and_then(|index| message.oneof_decl.get(index as usize))
            .map(|oneof| oneof.name().to_owned());
        facts.insert(
            format!("{name}#{}", field.name()),
            format!(
                "{} {:?} {:?} {} oneof {oneof:?}",
                field.number(),
                field.label(),
                field.r#type(),
                field.type_name()
            ),
        );
    }
    for nested in &message.nested_type {
        message_facts(&name, nested, facts);
    }
    for kind in &message.enum_type {
        enum_facts(&name, kind, facts);
    }
}

fn enum_facts(scope: &str, kind: &EnumDescriptorProto, facts: &mut BTreeMap<String, String>) {
    for value in &kind.value {
        facts.insert(format!("{scope}.{}={}", kind.name(), value.name()), value.number().to_string());
    }
}

#[test]
fn every_published_message_field_and_method_is_ours() {
    let packages = conformance::pip_packages("python-requirements.txt").unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("descriptors.py");
    let output = conformance::run(Command::new("python3").arg(script).arg(packages)).unwrap();
    let published = facts(&FileDescriptorSet::decode(output.stdout.as_slice()).unwrap());
    let ours = facts(&FileDescriptorSet::decode(fabric_proto::DESCRIPTORS).unwrap());
    assert!(published.len() > 900, "only {} facts were read from the package", published.len());
    let differences: Vec<String> = published
        .iter()
        .filter(|(name, fact)| ours.get(*name) != Some(fact))
        .map(|(name, fact)| format!("{name}: published {fact}, ours {:?}", ours.get(name)))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    // Nothing of ours may hide in a published package either.
    let extra: Vec<&String> = ours
        .keys()
        .filter(|name| {
            !published.contains_key(*name) && !name.starts_with(".commithash") && !name.starts_with(".google")
        })
        .collect();
    assert!(extra.is_empty(), "messages that the protocol does not have: {extra:?}");
}
