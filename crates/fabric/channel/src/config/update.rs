//! Updates of a configuration: which are allowed, what they result in, and how one is computed from two configurations.

use std::collections::BTreeMap;

use fabric_proto::common::{
    Config, ConfigEnvelope, ConfigGroup, ConfigPolicy, ConfigUpdate, ConfigUpdateEnvelope, ConfigValue, Envelope,
};
use prost::Message as _;

use super::bundle::ROOT_GROUP;
use super::map::{ConfigMap, Element, Item, config_from_map, map_config};
use super::{Bundle, UpdateError, validate_config_id};
use crate::policy::{Policy, SignedData, verified_identities};
use crate::protoutil;

impl Bundle {
    /// The configuration that an update results in, if it is allowed: the orderer's side of an update.
    pub fn propose_update(&self, envelope: &Envelope) -> Result<ConfigEnvelope, UpdateError> {
        let update = protoutil::config_update_envelope(envelope).map_err(UpdateError::NotAnUpdate)?;
        let authorized = self.authorize(&update).map_err(|error| UpdateError::Authorizing(Box::new(error)))?;
        Ok(ConfigEnvelope {
            config: Some(Config { sequence: self.sequence().wrapping_add(1), channel_group: Some(authorized) }),
            last_update: Some(envelope.clone()),
        })
    }

    /// Whether a new configuration is what its update allows and results in: the peer's side of an update.
    pub fn validate(&self, envelope: &ConfigEnvelope) -> Result<(), UpdateError> {
        let config = envelope.config.as_ref().ok_or_else(|| UpdateError::refused("config envelope has nil config"))?;
        if config.sequence != self.sequence().wrapping_add(1) {
            return Err(UpdateError::refused(format!(
                "config currently at sequence {}, cannot validate config at sequence {}",
                self.sequence(),
                config.sequence
            )));
        }
        let last_update = envelope.last_update.clone().unwrap_or_default();
        let update = protoutil::config_update_envelope(&last_update)?;
        let authorized = self.authorize(&update)?;
        if Some(&authorized) != config.channel_group.as_ref() {
            return Err(UpdateError::refused("ConfigEnvelope LastUpdate did not produce the supplied config result"));
        }
        Ok(())
    }

    fn authorize(&self, envelope: &ConfigUpdateEnvelope) -> Result<ConfigGroup, UpdateError> {
        let update = ConfigUpdate::decode(envelope.config_update.clone())
            .map_err(|source| protoutil::ProtoutilError::Decode { what: "ConfigUpdate", source })?;
        if update.channel_id != self.channel_id() {
            return Err(UpdateError::refused(format!(
                "ConfigUpdate for channel '{}' but envelope for channel '{}'",
                update.channel_id,
                self.channel_id()
            )));
        }
        let wrap = |prefix: &'static str| move |text: String| UpdateError::refused(format!("{prefix}: {text}"));

        let current = map_config(self.config().channel_group.as_ref(), ROOT_GROUP).map_err(UpdateError::refused)?;
        let read_set = map_config(update.read_set.as_ref(), ROOT_GROUP).map_err(wrap("error mapping ReadSet"))?;
        verify_read_set(&current, &read_set).map_err(wrap("error validating ReadSet"))?;
        let write_set = map_config(update.write_set.as_ref(), ROOT_GROUP).map_err(wrap("error mapping WriteSet"))?;
        let delta = delta_set(&read_set, &write_set);
        let signatures = protoutil::config_update_signed_data(envelope)?;
        self.verify_delta(&current, &delta, &signatures)?;

        let mut proposed = current;
        proposed.extend(delta);
        if let Some(key) = write_set.keys().find(|key| !proposed.contains_key(*key)) {
            return Err(UpdateError::refused(format!(
                "full config did not verify: writeset contained key {key} which did not appear in proposed config"
            )));
        }
        config_from_map(&proposed, ROOT_GROUP).map_err(wrap("could not turn configMap back to channelGroup"))
    }

    fn verify_delta(
        &self,
        current: &ConfigMap<'_>,
        delta: &ConfigMap<'_>,
        signatures: &[SignedData],
    ) -> Result<(), UpdateError> {
        let refuse = |text: String| Err(UpdateError::refused(format!("error validating DeltaSet: {text}")));
        if delta.is_empty() {
            return refuse("delta set was empty -- update would have no effect".into());
        }
        // All policies are over the same members, so signatures are verified once for all of them.
        let mut identities = None;
        for (key, element) in delta {
            if let Err(error) = validate_mod_policy(element.mod_policy()) {
                return refuse(format!("invalid mod_policy for element {key}: {error}"));
            }
            let Some(existing) = current.get(key) else {
                if element.version() != 0 {
                    let version = element.version();
                    return refuse(format!("attempted to set key {key} to version {version}, but key does not exist"));
                }
                continue;
            };
            // A version that would wrap around is as far off as any other.
            if existing.version().checked_add(1) != Some(element.version()) {
                return refuse(format!(
                    "attempt to set key {key} to version {}, but key is at version {}",
                    element.version(),
                    existing.version()
                ));
            }
            let Some(policy) = self.policy_for(existing) else {
                return refuse(format!("unexpected missing policy {} for item {key}", existing.mod_policy()));
            };
            let identities = identities.get_or_insert_with(|| verified_identities(signatures, self.msp_manager()));
            if let Err(source) = policy.evaluate_identities(identities) {
                let explanation = policy.explain_signed(signatures).to_string();
                tracing::warn!(%key, %explanation, "policy not satisfied for channel configuration update");
                return Err(UpdateError::Policy { key: key.clone(), source, explanation });
            }
        }
        Ok(())
    }

    /// The policy by which an element may be changed. A relative name counts from the group the element lies in; for a group,
    /// from the group itself.
    fn policy_for(&self, element: &Element<'_>) -> Option<&Policy> {
        let mut manager = self.policies();
        let mod_policy = element.mod_policy();
        if !mod_policy.is_empty() && !mod_policy.starts_with('/') && !element.path.is_empty() {
            manager = manager.child(&element.path[1..])?;
            if matches!(element.item, Item::Group(_)) {
                manager = manager.child(std::slice::from_ref(&element.key))?;
            }
        }
        manager.get(mod_policy)
    }
}

fn verify_read_set(current: &ConfigMap<'_>, read_set: &ConfigMap<'_>) -> Result<(), String> {
    for (key, read) in read_set {
        let Some(existing) = current.get(key) else {
            return Err(format!("existing config does not contain element for {key} but was in the read set"));
        };
        if existing.version() != read.version() {
            return Err(format!(
                "proposed update requires that key {key} be at version {}, but it is currently at version {}",
                read.version(),
                existing.version()
            ));
        }
    }
    Ok(())
}

/// What the write set changes: elements whose versions differ from the read set's, or that are not in it.
fn delta_set<'a>(read_set: &ConfigMap<'_>, write_set: &ConfigMap<'a>) -> ConfigMap<'a> {
    write_set
        .iter()
        .filter(|(key, written)| read_set.get(*key).is_none_or(|read| read.version() != written.version()))
        .map(|(key, written)| (key.clone(), written.clone()))
        .collect()
}

fn validate_mod_policy(mod_policy: &str) -> Result<(), String> {
    if mod_policy.is_empty() {
        return Err("mod_policy not set".into());
    }
    for (index, name) in mod_policy.strip_prefix('/').unwrap_or(mod_policy).split('/').enumerate() {
        validate_config_id(name).map_err(|error| format!("path element at {index} is invalid: {error}"))?;
    }
    Ok(())
}

/// The update that leads from one configuration to another. The channel id is left for the caller to set.
///
/// Versions in `updated` are ignored; the update's own come from `original`.
pub fn compute(original: &Config, updated: &Config) -> Result<ConfigUpdate, UpdateError> {
    let original = original
        .channel_group
        .as_ref()
        .ok_or_else(|| UpdateError::refused("no channel group included for original config"))?;
    let updated = updated
        .channel_group
        .as_ref()
        .ok_or_else(|| UpdateError::refused("no channel group included for updated config"))?;
    let difference = group_difference(original, updated);
    if !difference.changed {
        return Err(UpdateError::NoDifferences);
    }
    Ok(ConfigUpdate { read_set: Some(difference.read), write_set: Some(difference.write), ..ConfigUpdate::default() })
}

struct GroupDifference {
    read: ConfigGroup,
    write: ConfigGroup,
    changed: bool,
}

/// The differences between two maps of elements.
struct Members<T> {
    read: BTreeMap<String, T>,
    write: BTreeMap<String, T>,
    same: BTreeMap<String, T>,
    own_change: bool,
}

impl<T> Members<T> {
    /// `compare` gives the element of the read set when both are the same, or else what goes into the write set (and, for
    /// groups, the read set); `added` makes the write set's element for one that is new.
    fn of(
        original: &BTreeMap<String, T>,
        updated: &BTreeMap<String, T>,
        compare: impl Fn(&T, &T) -> Compared<T>,
        added: impl Fn(&T) -> T,
    ) -> Self {
        let mut members =
            Self { read: BTreeMap::new(), write: BTreeMap::new(), same: BTreeMap::new(), own_change: false };
        for (name, before) in original {
            match updated.get(name).map(|after| compare(before, after)) {
                None => members.own_change = true,
                Some(Compared::Same(element)) => {
                    members.same.insert(name.clone(), element);
                }
                Some(Compared::Changed { read, write }) => {
                    members.read.extend(read.map(|read| (name.clone(), read)));
                    members.write.insert(name.clone(), write);
                }
            }
        }
        for (name, after) in updated.iter().filter(|(name, _)| !original.contains_key(*name)) {
            members.own_change = true;
            members.write.insert(name.clone(), added(after));
        }
        members
    }

    fn nothing_written(&self) -> bool {
        self.read.is_empty() && self.write.is_empty()
    }
}

impl<T: Clone> Members<T> {
    /// A group whose own version rises lists all its members, so that those not listed are gone.
    fn list_all(mut self) -> Self {
        for (name, element) in std::mem::take(&mut self.same) {
            self.read.insert(name.clone(), element.clone());
            self.write.insert(name, element);
        }
        self
    }
}

enum Compared<T> {
    Same(T),
    Changed { read: Option<T>, write: T },
}

fn value_difference(before: &ConfigValue, after: &ConfigValue) -> Compared<ConfigValue> {
    if before.mod_policy == after.mod_policy && before.value == after.value {
        return Compared::Same(ConfigValue { version: before.version, ..ConfigValue::default() });
    }
    Compared::Changed { read: None, write: ConfigValue { version: before.version.wrapping_add(1), ..after.clone() } }
}

fn policy_difference(before: &ConfigPolicy, after: &ConfigPolicy) -> Compared<ConfigPolicy> {
    if before.mod_policy == after.mod_policy && before.policy == after.policy {
        return Compared::Same(ConfigPolicy { version: before.version, ..ConfigPolicy::default() });
    }
    Compared::Changed { read: None, write: ConfigPolicy { version: before.version.wrapping_add(1), ..after.clone() } }
}

fn compare_groups(before: &ConfigGroup, after: &ConfigGroup) -> Compared<ConfigGroup> {
    let difference = group_difference(before, after);
    if difference.changed {
        Compared::Changed { read: Some(difference.read), write: difference.write }
    } else {
        Compared::Same(difference.read)
    }
}

fn added_group(group: &ConfigGroup) -> ConfigGroup {
    let write = group_difference(&ConfigGroup::default(), group).write;
    ConfigGroup { version: 0, mod_policy: group.mod_policy.clone(), ..write }
}

fn group_difference(before: &ConfigGroup, after: &ConfigGroup) -> GroupDifference {
    let policies = Members::of(&before.policies, &after.policies, policy_difference, |added| ConfigPolicy {
        version: 0,
        ..added.clone()
    });
    let values = Members::of(&before.values, &after.values, value_difference, |added| ConfigValue {
        version: 0,
        ..added.clone()
    });
    let groups = Members::of(&before.groups, &after.groups, compare_groups, added_group);

    let own_change =
        policies.own_change || values.own_change || groups.own_change || before.mod_policy != after.mod_policy;
    let nothing = policies.nothing_written() && values.nothing_written() && groups.nothing_written();
    if !own_change && nothing {
        let same = ConfigGroup { version: before.version, ..ConfigGroup::default() };
        return GroupDifference { read: same.clone(), write: same, changed: false };
    }
    let (policies, values, groups) = if own_change {
        (policies.list_all(), values.list_all(), groups.list_all())
    } else {
        (policies, values, groups)
    };
    GroupDifference {
        read: ConfigGroup {
            version: before.version,
            groups: groups.read,
            values: values.read,
            policies: policies.read,
            mod_policy: String::new(),
        },
        write: ConfigGroup {
            version: before.version.wrapping_add(u64::from(own_change)),
            groups: groups.write,
            values: values.write,
            policies: policies.write,
            mod_policy: if own_change { after.mod_policy.clone() } else { String::new() },
        },
        changed: true,
    }
}

#[cfg(test)]
mod tests {
    use fabric_proto::common::Policy as PolicyDefinition;
    use proptest::prelude::*;

    use super::*;

    fn values() -> impl Strategy<Value = BTreeMap<String, ConfigValue>> {
        let value =
            (any::<u8>(), prop::collection::vec(any::<u8>(), 0..2), "[AB]").prop_map(|(version, value, mod_policy)| {
                ConfigValue { version: version.into(), value: value.into(), mod_policy }
            });
        prop::collection::btree_map("[a-d]", value, 0..4)
    }

    fn policies() -> impl Strategy<Value = BTreeMap<String, ConfigPolicy>> {
        let policy = (any::<u8>(), prop::option::of(0..3_i32), "[AB]").prop_map(|(version, kind, mod_policy)| {
            let policy = kind.map(|r#type| PolicyDefinition { r#type, value: bytes::Bytes::new() });
            ConfigPolicy { version: version.into(), policy, mod_policy }
        });
        prop::collection::btree_map("[a-d]", policy, 0..3)
    }

    fn trees() -> impl Strategy<Value = ConfigGroup> {
        let own = || (any::<u8>(), "[AB]", values(), policies());
        let leaf = own().prop_map(|(version, mod_policy, values, policies)| ConfigGroup {
            version: version.into(),
            groups: BTreeMap::new(),
            values,
            policies,
            mod_policy,
        });
        leaf.prop_recursive(3, 20, 3, move |inner| {
            (own(), prop::collection::btree_map("[a-d]", inner, 0..3)).prop_map(
                |((version, mod_policy, values, policies), groups)| ConfigGroup {
                    version: version.into(),
                    groups,
                    values,
                    policies,
                    mod_policy,
                },
            )
        })
    }

    fn config(group: ConfigGroup) -> Config {
        Config { sequence: 0, channel_group: Some(group) }
    }

    /// What an update leads to, whoever may have signed it.
    fn apply(original: &ConfigGroup, update: &ConfigUpdate) -> Result<ConfigGroup, String> {
        let current = map_config(Some(original), ROOT_GROUP)?;
        let read_set = map_config(update.read_set.as_ref(), ROOT_GROUP)?;
        verify_read_set(&current, &read_set)?;
        let write_set = map_config(update.write_set.as_ref(), ROOT_GROUP)?;
        let delta = delta_set(&read_set, &write_set);
        for (key, element) in &delta {
            let expected = current.get(key).map_or(0, |existing| existing.version() + 1);
            assert_eq!(element.version(), expected, "{key}");
        }
        let mut proposed = current.clone();
        proposed.extend(delta);
        config_from_map(&proposed, ROOT_GROUP)
    }

    proptest! {
        #[test]
        fn a_computed_update_leads_where_it_should(original in trees(), updated in trees()) {
            match compute(&config(original.clone()), &config(updated.clone())) {
                Ok(update) => {
                    let result = apply(&original, &update).unwrap();
                    let left = compute(&config(result.clone()), &config(updated));
                    prop_assert!(matches!(left, Err(UpdateError::NoDifferences)), "{left:?}");
                    // It fits only the configuration it was computed for, unless nothing it read has changed.
                    prop_assert!(delta_is_old(&result, &update) || !reads_fit(&result, &update));
                }
                Err(error) => {
                    prop_assert!(matches!(error, UpdateError::NoDifferences));
                    let back = compute(&config(updated), &config(original));
                    prop_assert!(matches!(back, Err(UpdateError::NoDifferences)));
                }
            }
        }
    }

    fn reads_fit(current: &ConfigGroup, update: &ConfigUpdate) -> bool {
        let current = map_config(Some(current), ROOT_GROUP).unwrap();
        let read_set = map_config(update.read_set.as_ref(), ROOT_GROUP).unwrap();
        verify_read_set(&current, &read_set).is_ok()
    }

    /// Whether an update that still passes the read check would be refused for the versions it writes.
    fn delta_is_old(current: &ConfigGroup, update: &ConfigUpdate) -> bool {
        let current = map_config(Some(current), ROOT_GROUP).unwrap();
        let read_set = map_config(update.read_set.as_ref(), ROOT_GROUP).unwrap();
        let write_set = map_config(update.write_set.as_ref(), ROOT_GROUP).unwrap();
        delta_set(&read_set, &write_set)
            .iter()
            .any(|(key, element)| current.get(key).is_some_and(|existing| existing.version() + 1 != element.version()))
    }
}
