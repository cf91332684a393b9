//! The configuration tree as a flat map from paths to elements, which is the form the update rules are stated in.

use std::collections::BTreeMap;

use fabric_proto::common::{ConfigGroup, ConfigPolicy, ConfigValue};

use super::validate_config_id;

/// Trees deeper than this are refused. The wire format's decoder stops at about half of it.
const MAX_DEPTH: usize = 64;

/// When orderer capabilities are there, elements from before 1.1 get the modification policy they never had.
const ORDERER_CAPABILITIES: &str = "[Value]  /Channel/Orderer/Capabilities";
const DEFAULT_MOD_POLICY: &str = "Admins";

#[derive(Debug, Clone, Copy)]
pub(super) enum Item<'a> {
    Group(&'a ConfigGroup),
    Value(&'a ConfigValue),
    Policy(&'a ConfigPolicy),
}

/// An element with the names of the groups it lies in.
#[derive(Debug, Clone)]
pub(super) struct Element<'a> {
    pub(super) item: Item<'a>,
    pub(super) key: String,
    pub(super) path: Vec<String>,
}

impl Element<'_> {
    pub(super) fn version(&self) -> u64 {
        match self.item {
            Item::Group(group) => group.version,
            Item::Value(value) => value.version,
            Item::Policy(policy) => policy.version,
        }
    }

    pub(super) fn mod_policy(&self) -> &str {
        match self.item {
            Item::Group(group) => &group.mod_policy,
            Item::Value(value) => &value.mod_policy,
            Item::Policy(policy) => &policy.mod_policy,
        }
    }
}

pub(super) type ConfigMap<'a> = BTreeMap<String, Element<'a>>;

fn prefix(item: Item<'_>) -> &'static str {
    match item {
        Item::Group(_) => "[Group]  ",
        Item::Value(_) => "[Value]  ",
        Item::Policy(_) => "[Policy] ",
    }
}

fn add<'a>(map: &mut ConfigMap<'a>, item: Item<'a>, key: &str, path: &[String]) -> Result<(), String> {
    let prefix = prefix(item);
    validate_config_id(key).map_err(|error| format!("illegal characters in key: {prefix}: {error}"))?;
    let mut full = String::from(prefix);
    for name in path {
        full.push('/');
        full.push_str(name);
    }
    full.push('/');
    full.push_str(key);
    map.insert(full, Element { item, key: key.to_owned(), path: path.to_vec() });
    Ok(())
}

fn recurse<'a>(
    map: &mut ConfigMap<'a>,
    group: &'a ConfigGroup,
    key: &str,
    path: &mut Vec<String>,
) -> Result<(), String> {
    if path.len() > MAX_DEPTH {
        return Err(format!("configuration is nested deeper than {MAX_DEPTH} groups"));
    }
    add(map, Item::Group(group), key, path)?;
    path.push(key.to_owned());
    for (name, child) in &group.groups {
        recurse(map, child, name, path)?;
    }
    for (name, value) in &group.values {
        add(map, Item::Value(value), name, path)?;
    }
    for (name, policy) in &group.policies {
        add(map, Item::Policy(policy), name, path)?;
    }
    path.pop();
    Ok(())
}

/// The map of a tree; an absent tree gives an empty map.
pub(super) fn map_config<'a>(group: Option<&'a ConfigGroup>, root: &str) -> Result<ConfigMap<'a>, String> {
    let mut map = ConfigMap::new();
    if let Some(group) = group {
        recurse(&mut map, group, root, &mut Vec::new())?;
    }
    Ok(map)
}

/// The tree of a map. Each group's own child list decides which elements are in it.
pub(super) fn config_from_map(map: &ConfigMap<'_>, root: &str) -> Result<ConfigGroup, String> {
    build(map, &format!("/{root}"))
}

fn build(map: &ConfigMap<'_>, path: &str) -> Result<ConfigGroup, String> {
    let full = format!("[Group]  {path}");
    let element = map.get(&full).ok_or_else(|| format!("missing group at path: {full}"))?;
    let Item::Group(group) = element.item else {
        return Err(format!("ConfigGroup not found at group path: {full}"));
    };
    let mut result =
        ConfigGroup { version: group.version, mod_policy: group.mod_policy.clone(), ..ConfigGroup::default() };
    for name in group.groups.keys() {
        result.groups.insert(name.clone(), build(map, &format!("{path}/{name}"))?);
    }
    for name in group.values.keys() {
        let full = format!("[Value]  {path}/{name}");
        match map.get(&full).map(|element| element.item) {
            Some(Item::Value(value)) => result.values.insert(name.clone(), value.clone()),
            Some(_) => return Err(format!("ConfigValue not found at value path: {full}")),
            None => return Err(format!("missing value at path: {full}")),
        };
    }
    for name in group.policies.keys() {
        let full = format!("[Policy] {path}/{name}");
        match map.get(&full).map(|element| element.item) {
            Some(Item::Policy(policy)) => result.policies.insert(name.clone(), policy.clone()),
            Some(_) => return Err(format!("ConfigPolicy not found at policy path: {full}")),
            None => return Err(format!("missing policy at path: {full}")),
        };
    }
    if map.contains_key(ORDERER_CAPABILITIES) {
        let own = std::iter::once(&mut result.mod_policy);
        let values = result.values.values_mut().map(|value| &mut value.mod_policy);
        let policies = result.policies.values_mut().map(|policy| &mut policy.mod_policy);
        for mod_policy in own.chain(values).chain(policies).filter(|mod_policy| mod_policy.is_empty()) {
            DEFAULT_MOD_POLICY.clone_into(mod_policy);
        }
    }
    Ok(result)
}
