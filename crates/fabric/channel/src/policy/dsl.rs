//! The policy language: `AND('Org1MSP.peer', OR('Org2MSP.member', OutOf(2, ...)))`.
//!
//! Upstream evaluates a policy text three times with a general expression library, each pass rewriting it for the next one, and
//! that shows in which texts are accepted, in the order of principals and in the error texts. The passes are repeated here
//! over an evaluator of exactly the expressions that can get through.

mod expression;

use fabric_proto::common::msp_role::MspRoleType;
use fabric_proto::common::{MspPrincipal, SignaturePolicy, SignaturePolicyEnvelope};

use self::expression::{Call, Value, evaluate};
use super::signature::{n_out_of, role_principal, signed_by};

/// The longest policy text that is read, in bytes.
pub const MAX_LENGTH: usize = 64 * 1024;

/// A policy text that cannot be read. The text of the error is upstream's, with the place marked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DslError(String);

/// Reads a policy text.
///
/// ```
/// use fabric_channel::policy::dsl;
///
/// let policy = dsl::parse("AND('Org1MSP.peer', 'Org2MSP.peer')")?;
/// assert_eq!(policy.identities.len(), 2);
/// assert!(dsl::parse("OR('Org1MSP.nobody')").is_err());
/// # Ok::<(), dsl::DslError>(())
/// ```
pub fn parse(policy: &str) -> Result<SignaturePolicyEnvelope, DslError> {
    if policy.len() > MAX_LENGTH {
        return Err(DslError(format!("policy text is longer than {MAX_LENGTH} bytes; write a shorter one")));
    }
    let not_a_policy = || DslError(format!("invalid policy string '{policy}'"));

    let gates = ["And", "AND", "Or", "OR", "OutOf", "outof", "OUTOF"];
    let Value::Text(rewritten) = evaluate(policy, &gates, &mut |call| first_pass(call))? else {
        return Err(not_a_policy());
    };
    let Value::Text(rewritten) = evaluate(&rewritten, &["outof"], &mut |call| second_pass(call))? else {
        return Err(not_a_policy());
    };
    let mut principals = Vec::new();
    let Value::Rule(rule) = evaluate(&rewritten, &["outof", "ID"], &mut |call| third_pass(call, &mut principals))?
    else {
        return Err(not_a_policy());
    };
    Ok(SignaturePolicyEnvelope { version: 0, rule: Some(rule), identities: principals })
}

const ROLES: [(&str, MspRoleType); 5] = [
    (".admin", MspRoleType::Admin),
    (".member", MspRoleType::Member),
    (".client", MspRoleType::Client),
    (".peer", MspRoleType::Peer),
    (".orderer", MspRoleType::Orderer),
];

/// `MSPID.role`, where the MSP id has letters, digits, dots and dashes only.
fn principal(text: &str) -> Option<MspPrincipal> {
    let (msp, role) = ROLES.iter().find_map(|(suffix, role)| Some((text.strip_suffix(suffix)?, *role)))?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
    (!msp.is_empty() && msp.bytes().all(allowed)).then(|| role_principal(msp, role))
}

fn quoted_if_principal(text: &str) -> String {
    if principal(text).is_some() { format!("'{text}'") } else { text.to_owned() }
}

/// Every gate becomes `outof(n, ...)`.
fn first_pass(call: Call) -> Result<Value, String> {
    let mut arguments = call.arguments;
    match call.name.as_str() {
        "And" | "AND" => arguments.insert(0, Value::Integer(arguments.len() as i64)),
        "Or" | "OR" => arguments.insert(0, Value::Integer(1)),
        _ => {}
    }
    if arguments.len() < 2 {
        return Err(format!("expected at least two arguments to NOutOf. Given {}", arguments.len()));
    }
    let mut words = Vec::with_capacity(arguments.len());
    for (index, argument) in arguments.iter().enumerate() {
        words.push(match argument {
            Value::Text(text) if index == 0 => text.clone(),
            Value::Text(text) => quoted_if_principal(text),
            Value::Integer(number) if index == 0 => number.to_string(),
            Value::Float(number) if index == 0 => (*number as i64).to_string(),
            other => return Err(format!("unexpected type {}", other.type_name())),
        });
    }
    Ok(Value::Text(format!("outof({})", words.join(", "))))
}

/// The principals' table is put in as first argument.
fn second_pass(call: Call) -> Result<Value, String> {
    let mut text = String::from("outof(ID");
    for argument in &call.arguments {
        text.push_str(", ");
        match argument {
            Value::Text(word) => text.push_str(&quoted_if_principal(word)),
            Value::Integer(number) => text.push_str(&number.to_string()),
            Value::Float(number) => text.push_str(&(*number as i64).to_string()),
            other => return Err(format!("unexpected type {}", other.type_name())),
        }
    }
    text.push(')');
    Ok(Value::Text(text))
}

/// The tree is built; inner gates first, so their principals come first in the table.
fn third_pass(call: Call, principals: &mut Vec<MspPrincipal>) -> Result<Value, String> {
    let [table, needed, rest @ ..] = call.arguments.as_slice() else {
        return Err(format!("at least 3 arguments expected, got {}", call.arguments.len()));
    };
    if rest.is_empty() {
        return Err(format!("at least 3 arguments expected, got {}", call.arguments.len()));
    }
    if !matches!(table, Value::Table) {
        return Err(format!("unrecognized type, expected the context, got {}", table.type_name()));
    }
    let needed = match needed {
        Value::Integer(number) => *number,
        Value::Float(number) => *number as i64,
        other => return Err(format!("unrecognized type, expected a number, got {}", other.type_name())),
    };
    // One more than there are is accepted: it is upstream's rule, and such policies exist.
    if needed < 0 || needed > rest.len() as i64 + 1 {
        return Err(format!("invalid t-out-of-n predicate, t {needed}, n {}", rest.len()));
    }
    let mut rules: Vec<SignaturePolicy> = Vec::with_capacity(rest.len());
    for argument in rest {
        match argument {
            Value::Text(text) => {
                let found = principal(text).ok_or_else(|| format!("error parsing principal {text}"))?;
                rules.push(signed_by(principals.len() as i32));
                principals.push(found);
            }
            Value::Rule(rule) => rules.push(rule.clone()),
            other => {
                let found = other.type_name();
                return Err(format!("unrecognized type, expected a principal or a policy, got {found}"));
            }
        }
    }
    Ok(Value::Rule(n_out_of(needed as i32, rules)))
}
