//! The configuration file.

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

use super::CryptogenError;
use super::template::{Field, render};

/// The organisations of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Config {
    /// Organisations that run orderers.
    #[serde(deserialize_with = "or_default")]
    pub orderer_orgs: Vec<OrgSpec>,
    /// Organisations that run peers.
    #[serde(deserialize_with = "or_default")]
    pub peer_orgs: Vec<OrgSpec>,
}

/// One organisation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct OrgSpec {
    /// Name; for people only.
    #[serde(deserialize_with = "text")]
    pub name: String,
    /// Domain; names the folder and every member.
    #[serde(deserialize_with = "text")]
    pub domain: String,
    /// Roles by organisational unit instead of an `admincerts` folder.
    #[serde(rename = "EnableNodeOUs", deserialize_with = "or_default")]
    pub enable_node_ous: bool,
    /// The certificate authority's name and subject.
    #[serde(rename = "CA", deserialize_with = "or_default")]
    pub ca: NodeSpec,
    /// Nodes named by number.
    #[serde(deserialize_with = "or_default")]
    pub template: NodeTemplate,
    /// Nodes named one by one.
    #[serde(deserialize_with = "or_default")]
    pub specs: Vec<NodeSpec>,
    /// Users beside the administrator.
    #[serde(deserialize_with = "or_default")]
    pub users: UsersSpec,
}

/// Nodes named by number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NodeTemplate {
    /// How many.
    #[serde(deserialize_with = "or_default")]
    pub count: u32,
    /// First number.
    #[serde(deserialize_with = "or_default")]
    pub start: u32,
    /// Host name with `{{.Prefix}}`, `{{.Index}}` and `{{.Domain}}`; empty means prefix and number.
    #[serde(deserialize_with = "text")]
    pub hostname: String,
    /// Alternative names of each.
    #[serde(rename = "SANS", deserialize_with = "texts")]
    pub sans: Vec<String>,
    /// `ecdsa` or `ed25519`; empty means the former.
    #[serde(deserialize_with = "text")]
    pub public_key_algorithm: String,
}

/// A node, or a certificate authority.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NodeSpec {
    /// Host name without the domain.
    #[serde(deserialize_with = "text")]
    pub hostname: String,
    /// Common name with `{{.Hostname}}` and `{{.Domain}}`; empty means both with a dot.
    #[serde(deserialize_with = "text")]
    pub common_name: String,
    /// Country of the subjects.
    #[serde(deserialize_with = "text")]
    pub country: String,
    /// Province of the subjects.
    #[serde(deserialize_with = "text")]
    pub province: String,
    /// Locality of the subjects.
    #[serde(deserialize_with = "text")]
    pub locality: String,
    /// Organisational unit of the subjects.
    #[serde(deserialize_with = "text")]
    pub organizational_unit: String,
    /// Street address of the subjects.
    #[serde(deserialize_with = "text")]
    pub street_address: String,
    /// Postal code of the subjects.
    #[serde(deserialize_with = "text")]
    pub postal_code: String,
    /// Alternative names with `{{.Hostname}}`, `{{.Domain}}` and `{{.CommonName}}`.
    #[serde(rename = "SANS", deserialize_with = "texts")]
    pub sans: Vec<String>,
    /// `ecdsa` or `ed25519`; empty means the former.
    #[serde(deserialize_with = "text")]
    pub public_key_algorithm: String,
}

/// Users beside the administrator.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct UsersSpec {
    /// How many.
    #[serde(deserialize_with = "or_default")]
    pub count: u32,
    /// `ecdsa` or `ed25519`; empty means the former.
    #[serde(deserialize_with = "text")]
    pub public_key_algorithm: String,
}

impl Config {
    /// Reads the YAML text of a configuration file. Unknown keys are ignored, numbers stand for their text, and an empty
    /// value for nothing, as upstream reads them.
    pub fn parse(yaml: &str) -> Result<Self, CryptogenError> {
        let parsed: Option<Self> =
            serde_yaml_ng::from_str(yaml).map_err(|error| CryptogenError::Yaml(error.to_string()))?;
        Ok(parsed.unwrap_or_default())
    }
}

impl OrgSpec {
    /// The organisation with every name worked out; `prefix` names nodes by number.
    pub(super) fn rendered(&self, prefix: &'static str) -> Result<Self, CryptogenError> {
        let fail = |reason| CryptogenError::Template { kind: prefix, reason };
        let mut organization = self.clone();
        for index in 0..self.template.count {
            let number = u64::from(index) + u64::from(self.template.start);
            let values = [
                Field("Prefix", prefix.to_owned()),
                Field("Index", number.to_string()),
                Field("Domain", self.domain.clone()),
            ];
            let pattern = or(&self.template.hostname, "{{.Prefix}}{{.Index}}");
            organization.specs.push(NodeSpec {
                hostname: render(pattern, "HostnameData", &values).map_err(fail)?,
                sans: self.template.sans.clone(),
                public_key_algorithm: self.template.public_key_algorithm.clone(),
                ..NodeSpec::default()
            });
        }
        for spec in &mut organization.specs {
            spec.render(&self.domain).map_err(fail)?;
        }
        or(&self.ca.hostname, "ca").clone_into(&mut organization.ca.hostname);
        organization.ca.render(&self.domain).map_err(fail)?;
        Ok(organization)
    }
}

impl NodeSpec {
    fn render(&mut self, domain: &str) -> Result<(), String> {
        let mut values = vec![
            Field("Hostname", self.hostname.clone()),
            Field("Domain", domain.to_owned()),
            Field("CommonName", String::new()),
        ];
        self.common_name = render(or(&self.common_name, "{{.Hostname}}.{{.Domain}}"), "SpecData", &values)?;
        values[2].1.clone_from(&self.common_name);
        let mut sans = vec![self.common_name.clone(), self.hostname.clone()];
        for pattern in &self.sans {
            sans.push(render(pattern, "SpecData", &values)?);
        }
        self.sans = sans;
        Ok(())
    }
}

fn or<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}

fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Text::deserialize(deserializer).map(|text| text.0)
}

fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let list: Option<Vec<Text>> = Option::deserialize(deserializer)?;
    Ok(list.unwrap_or_default().into_iter().map(|text| text.0).collect())
}

/// A scalar of any type as text: a postal code is a number to YAML.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;
        impl Visitor<'_> for Scalar {
            type Value = Text;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text or a number")
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Text, E> {
                Ok(Text(value.to_owned()))
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_unit<E: de::Error>(self) -> Result<Text, E> {
                Ok(Text(String::new()))
            }
        }
        deserializer.deserialize_any(Scalar)
    }
}
