//! Who has to endorse: from endorsement policies to combinations of peers.
//!
//! A policy is turned into every set of principals that satisfies it; the sets of all policies that a call touches are merged; each
//! merged set becomes a layout (so many peers of this group and so many of that), and each group lists the peers that satisfy its
//! principal. Pure: what peers there are and what they satisfy is handed in.

use std::collections::{BTreeMap, BTreeSet};

use fabric_channel::policy::Policy;
use fabric_proto::common::msp_principal::Classification;
use fabric_proto::common::signature_policy::Type;
use fabric_proto::common::{MspPrincipal, MspRole, SignaturePolicy, SignaturePolicyEnvelope};
use prost::Message as _;

/// Most combinations that are looked at per policy, as upstream.
const MAX_COMBINATIONS: usize = 10_000;
/// Most branches of one rule that a plan can have to satisfy; no client waits for more endorsements than this.
const MAX_ENDORSERS: usize = 256;

/// Principals that together satisfy a policy, with how often each is needed.
pub type PrincipalSet = BTreeMap<Principal, u32>;

/// A principal that can be ordered and compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Principal {
    classification: i32,
    bytes: bytes::Bytes,
}

impl From<&MspPrincipal> for Principal {
    fn from(principal: &MspPrincipal) -> Self {
        Self { classification: principal.principal_classification, bytes: principal.principal.clone() }
    }
}

impl Principal {
    /// The message again.
    pub fn to_message(&self) -> MspPrincipal {
        MspPrincipal { principal_classification: self.classification, principal: self.bytes.clone() }
    }

    fn role(&self) -> Option<MspRole> {
        (self.classification == i32::from(Classification::Role))
            .then(|| MspRole::decode(self.bytes.clone()).ok())
            .flatten()
    }

    /// Whether everybody who satisfies this principal satisfies the other too (as far as roles tell).
    fn is_a(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        match (self.role(), other.role()) {
            (Some(own), Some(general)) => {
                own.msp_identifier == general.msp_identifier
                    && general.role == i32::from(fabric_proto::common::msp_role::MspRoleType::Member)
            }
            _ => false,
        }
    }
}

/// Why no combination was found; the texts are upstream's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// A policy can be satisfied by nobody.
    #[error("endorsement policy cannot be satisfied")]
    Unsatisfiable,
    /// The peers that are alive do not suffice.
    #[error("no peer combination can satisfy the endorsement policy")]
    NoCombination,
    /// They would suffice, but do not have the chaincode.
    #[error("required chaincodes are not installed on sufficient peers")]
    NotInstalled,
}

/// Groups of peers and how many of each are needed, in every possible way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layouts<P> {
    /// Peers per group name.
    pub groups: BTreeMap<String, Vec<P>>,
    /// Each layout: how many peers of which group.
    pub layouts: Vec<BTreeMap<String, u32>>,
}

/// Every set of principals that satisfies a policy of a channel.
pub fn satisfied_by(policy: &Policy) -> Vec<PrincipalSet> {
    match policy {
        Policy::Signature(signature) => satisfied_by_signatures(signature.envelope()),
        Policy::ImplicitMeta(meta) => {
            let children: Vec<Vec<PrincipalSet>> =
                meta.sub_policies().iter().map(|(_, child)| satisfied_by(child)).collect();
            choose(meta.threshold(), &children)
        }
        Policy::Reject(_) => Vec::new(),
    }
}

/// Every set of principals that satisfies a signature policy.
pub fn satisfied_by_signatures(envelope: &SignaturePolicyEnvelope) -> Vec<PrincipalSet> {
    envelope.rule.as_ref().map(|rule| sets_of_rule(rule, &envelope.identities)).unwrap_or_default()
}

fn sets_of_rule(rule: &SignaturePolicy, principals: &[MspPrincipal]) -> Vec<PrincipalSet> {
    match &rule.r#type {
        Some(Type::SignedBy(index)) => usize::try_from(*index)
            .ok()
            .and_then(|index| principals.get(index))
            .map(|principal| vec![PrincipalSet::from([(principal.into(), 1)])])
            .unwrap_or_default(),
        Some(Type::NOutOf(tree)) => {
            let children: Vec<Vec<PrincipalSet>> =
                tree.rules.iter().map(|child| sets_of_rule(child, principals)).collect();
            choose(usize::try_from(tree.n).unwrap_or(0), &children)
        }
        None => Vec::new(),
    }
}

/// All ways to satisfy `threshold` of the children, at most [`MAX_COMBINATIONS`].
fn choose(threshold: usize, children: &[Vec<PrincipalSet>]) -> Vec<PrincipalSet> {
    let children: Vec<&[PrincipalSet]> = children.iter().map(Vec::as_slice).filter(|ways| !ways.is_empty()).collect();
    // The number comes from outside and must not size anything before it is known to be sensible.
    if threshold > children.len().min(MAX_ENDORSERS) {
        return Vec::new();
    }
    let mut result = Vec::new();
    extend(threshold, &children, &PrincipalSet::new(), &mut result);
    result.sort();
    result.dedup();
    result
}

/// Every way to satisfy `missing` more of the children, added to what is satisfied so far. Each child has a way and enough children are
/// left at every step, so no path ends without a result and the work is bounded by the number of results.
fn extend(missing: usize, children: &[&[PrincipalSet]], so_far: &PrincipalSet, result: &mut Vec<PrincipalSet>) {
    if missing == 0 {
        result.push(so_far.clone());
        return;
    }
    for index in 0..=children.len() - missing {
        for way in children[index] {
            if result.len() >= MAX_COMBINATIONS {
                return;
            }
            extend(missing - 1, &children[index + 1..], &sum(so_far, way), result);
        }
    }
}

fn sum(left: &PrincipalSet, right: &PrincipalSet) -> PrincipalSet {
    let mut sum = left.clone();
    for (principal, count) in right {
        *sum.entry(principal.clone()).or_insert(0) += count;
    }
    sum
}

/// Sets that satisfy all of several policies at once: what one policy asks for also counts for another that asks for the same or less.
pub fn merge(policies: &[Vec<PrincipalSet>]) -> Result<Vec<PrincipalSet>, LayoutError> {
    let mut merged = vec![PrincipalSet::new()];
    for sets in policies {
        let mut next = BTreeSet::new();
        for so_far in &merged {
            for set in sets {
                if next.len() >= MAX_COMBINATIONS {
                    break;
                }
                next.insert(cover(so_far, set));
            }
        }
        merged = next.into_iter().collect();
    }
    if merged.is_empty() { Err(LayoutError::Unsatisfiable) } else { Ok(merged) }
}

/// The smallest sum in which both sets are contained.
fn cover(left: &PrincipalSet, right: &PrincipalSet) -> PrincipalSet {
    let mut result = left.clone();
    // What is left of each needed principal after those that are there have been used up, the most special ones first.
    let mut free = left.clone();
    let mut missing = right.clone();
    for exact in [true, false] {
        for (wanted, count) in &mut missing {
            for (given, available) in &mut free {
                let fits = if exact { given == wanted } else { given.is_a(wanted) };
                if fits {
                    let used = (*count).min(*available);
                    *count -= used;
                    *available -= used;
                }
            }
        }
    }
    // A general principal that was there may be replaced by a special one that is needed: Org.member by Org.peer.
    for (wanted, count) in missing.iter_mut().filter(|(_, count)| **count > 0) {
        for (given, available) in &mut free {
            let replaced = if wanted.is_a(given) { (*count).min(*available) } else { 0 };
            if replaced > 0 {
                *available -= replaced;
                *count -= replaced;
                if let Some(there) = result.get_mut(given) {
                    *there -= replaced;
                }
                *result.entry(wanted.clone()).or_insert(0) += replaced;
            }
        }
    }
    for (wanted, count) in missing {
        if count > 0 {
            *result.entry(wanted).or_insert(0) += count;
        }
    }
    result.retain(|_, count| *count > 0);
    result
}

/// Assigns peers to the principals of the sets.
///
/// `alive` are all peers of the channel that may endorse; `satisfies` tells whether one satisfies a principal, `installed` whether it has
/// the chaincodes of the call.
pub fn plan<P: Clone>(
    sets: &[PrincipalSet],
    alive: &[P],
    satisfies: impl Fn(&P, &MspPrincipal) -> bool,
    installed: impl Fn(&P) -> bool,
) -> Result<Layouts<P>, LayoutError> {
    let principals: BTreeSet<&Principal> = sets.iter().flat_map(BTreeMap::keys).collect();
    let names: BTreeMap<&Principal, String> =
        principals.iter().enumerate().map(|(index, principal)| (*principal, format!("G{index}"))).collect();
    let members: BTreeMap<&Principal, Vec<&P>> = principals
        .iter()
        .map(|principal| {
            let message = principal.to_message();
            (*principal, alive.iter().filter(|peer| satisfies(peer, &message)).collect())
        })
        .collect();
    let enough = |set: &&PrincipalSet| {
        set.iter().all(|(principal, count)| members.get(principal).is_some_and(|peers| peers.len() >= *count as usize))
    };
    let possible: Vec<&PrincipalSet> = sets.iter().filter(enough).collect();
    if possible.is_empty() {
        return Err(LayoutError::NoCombination);
    }
    let mut groups = BTreeMap::new();
    for principal in possible.iter().flat_map(|set| set.keys()) {
        let peers: Vec<P> =
            members[principal].iter().filter(|peer| installed(peer)).map(|peer| (*peer).clone()).collect();
        if !peers.is_empty() {
            groups.insert(names[principal].clone(), peers);
        }
    }
    let layouts: Vec<BTreeMap<String, u32>> = possible
        .into_iter()
        .map(|set| set.iter().map(|(principal, count)| (names[principal].clone(), *count)).collect::<BTreeMap<_, _>>())
        .filter(|layout: &BTreeMap<String, u32>| {
            layout.iter().all(|(group, count)| groups.get(group).is_some_and(|peers| peers.len() >= *count as usize))
        })
        .collect();
    if layouts.is_empty() {
        return Err(LayoutError::NotInstalled);
    }
    Ok(Layouts { groups, layouts })
}

#[cfg(test)]
mod tests {
    use fabric_channel::policy::dsl;
    use fabric_proto::common::signature_policy::NOutOf;

    use super::*;

    fn sets(policy: &str) -> Vec<PrincipalSet> {
        satisfied_by_signatures(&dsl::parse(policy).unwrap())
    }

    /// Peers are named by their MSP id; each satisfies member and peer of its own.
    fn satisfies(peer: &&str, principal: &MspPrincipal) -> bool {
        Principal::from(principal)
            .role()
            .is_some_and(|role| role.msp_identifier == *peer && [0, 3].contains(&role.role))
    }

    fn counts(policy: &str, alive: &[&'static str]) -> Result<Vec<usize>, LayoutError> {
        let planned = plan(&sets(policy), alive, satisfies, |_| true)?;
        let mut sizes: Vec<usize> =
            planned.layouts.iter().map(|layout| layout.values().map(|count| *count as usize).sum()).collect();
        sizes.sort_unstable();
        Ok(sizes)
    }

    #[test]
    fn or_gives_one_layout_per_alternative() {
        assert_eq!(counts("OR('A.member','B.member')", &["A", "B"]), Ok(vec![1, 1]));
        assert_eq!(counts("OR('A.member','B.member')", &["B"]), Ok(vec![1]));
    }

    #[test]
    fn and_needs_everybody() {
        assert_eq!(counts("AND('A.peer','B.peer')", &["A", "B"]), Ok(vec![2]));
        assert_eq!(counts("AND('A.peer','B.peer')", &["A"]), Err(LayoutError::NoCombination));
    }

    #[test]
    fn out_of_gives_every_choice() {
        assert_eq!(counts("OutOf(2,'A.member','B.member','C.member')", &["A", "B", "C"]), Ok(vec![2, 2, 2]));
        assert_eq!(counts("OutOf(2,'A.member','B.member','C.member')", &["A", "C"]), Ok(vec![2]));
    }

    #[test]
    fn more_than_there_are_can_never_be_satisfied() {
        let rule = |n| {
            let one = SignaturePolicy { r#type: Some(Type::SignedBy(0)) };
            SignaturePolicy { r#type: Some(Type::NOutOf(NOutOf { n, rules: vec![one] })) }
        };
        let envelope =
            |n| SignaturePolicyEnvelope { version: 0, rule: Some(rule(n)), identities: vec![MspPrincipal::default()] };
        assert_eq!(satisfied_by_signatures(&envelope(1)).len(), 1);
        assert_eq!(satisfied_by_signatures(&envelope(2)).len(), 0);
        assert_eq!(satisfied_by_signatures(&envelope(i32::MAX)).len(), 0);
    }

    #[test]
    fn nested_rules_multiply() {
        assert_eq!(sets("AND(OR('A.member','B.member'),OR('C.member','D.member'))").len(), 4);
        assert_eq!(sets("OR(AND('A.member','B.member'),'C.member')").len(), 2);
    }

    #[test]
    fn the_same_principal_twice_needs_two_peers() {
        assert_eq!(counts("OutOf(2,'A.member','A.member')", &["A"]), Err(LayoutError::NoCombination));
        assert_eq!(counts("OutOf(2,'A.member','A.member')", &["A", "A"]), Ok(vec![2]));
    }

    #[test]
    fn merged_policies_share_endorsers() {
        let both = merge(&[sets("AND('A.peer','B.peer')"), sets("OR('A.member','C.member')")]).unwrap();
        let smallest = both.iter().map(|set| set.values().sum::<u32>()).min();
        assert_eq!(smallest, Some(2), "the peer of A also counts as its member: {both:?}");
        let reversed = merge(&[sets("OR('A.member','C.member')"), sets("AND('A.peer','B.peer')")]).unwrap();
        assert_eq!(reversed.iter().map(|set| set.values().sum::<u32>()).min(), Some(2));
    }

    #[test]
    fn peers_without_the_chaincode_do_not_count() {
        let planned = plan(&sets("AND('A.peer','B.peer')"), &["A", "B"], satisfies, |peer| *peer == "A");
        assert_eq!(planned, Err(LayoutError::NotInstalled));
    }

    #[test]
    fn a_policy_with_many_combinations_is_bounded() {
        let many: Vec<String> = (0..30).map(|index| format!("'M{index}.member'")).collect();
        assert_eq!(sets(&format!("OutOf(15,{})", many.join(","))).len(), MAX_COMBINATIONS);
    }

    #[test]
    fn half_of_a_hundred_organisations_is_planned_without_trying_everything() {
        let many: Vec<String> = (0..100).map(|index| format!("'M{index}.member'")).collect();
        let all = sets(&format!("OutOf(50,{})", many.join(",")));
        assert_eq!(all.len(), MAX_COMBINATIONS);
        assert!(all.iter().all(|set| set.len() == 50));
    }
}
