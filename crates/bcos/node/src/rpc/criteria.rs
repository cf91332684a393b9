//! Which logs a caller wants: the filter object of `getLogs` and its relatives, on both surfaces.

use std::collections::HashSet;

use alloy_primitives::{Address, B256, Bloom, BloomInput};
use serde_json::Value;

use super::envelope::Manner;
use super::error::RpcError;
use super::text;

/// Topic places a log can have.
const MOST_TOPICS: usize = 4;
/// Addresses or topic choices one filter may name.
const MOST_CHOICES: usize = 4_096;

/// One end of a range of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// The newest block at the time of each question.
    Latest,
    /// A fixed block.
    Number(u64),
}

impl Bound {
    /// A tag or a hex quantity; `safe`, `finalized` and `pending` are the newest block, because commits are final.
    pub(crate) fn parse(text: &str) -> Result<Self, RpcError> {
        match text {
            "" | "latest" | "safe" | "finalized" | "pending" => Ok(Self::Latest),
            "earliest" => Ok(Self::Number(0)),
            hex => text::number(hex, "block")
                .map(Self::Number)
                .map_err(|_| RpcError::params(format!("Invalid Block Number: {hex}"))),
        }
    }

    /// The number, where the newest block is `latest`.
    pub(crate) fn resolve(self, latest: u64) -> u64 {
        match self {
            Self::Latest => latest,
            Self::Number(number) => number,
        }
    }
}

/// Addresses and topics of wanted logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Matcher {
    /// No entry: every address.
    pub(crate) addresses: HashSet<Address>,
    /// Per place the choices; no choice: everything.
    pub(crate) topics: Vec<Vec<B256>>,
}

impl Matcher {
    /// Whether a log is wanted. A log with fewer topics than the filter has places is not.
    pub(crate) fn wants(&self, address: &Address, topics: &[B256]) -> bool {
        (self.addresses.is_empty() || self.addresses.contains(address))
            && self.topics.len() <= topics.len()
            && self.topics.iter().zip(topics).all(|(choices, topic)| choices.is_empty() || choices.contains(topic))
    }

    /// Whether a bloom filter can hold a wanted log.
    pub(crate) fn may_be_in(&self, bloom: &Bloom) -> bool {
        let has = |raw: &[u8]| bloom.contains_input(BloomInput::Raw(raw));
        (self.addresses.is_empty() || self.addresses.iter().any(|address| has(address.as_slice())))
            && self.topics.iter().all(|choices| choices.is_empty() || choices.iter().any(|topic| has(topic.as_slice())))
    }

    /// Reads `address` (one or several) and `topics` (null, one or several per place).
    pub(crate) fn parse(address: Option<&Value>, topics: Option<&Value>) -> Result<Self, RpcError> {
        let mut matcher = Self::default();
        for address in several(address, "address")? {
            matcher.addresses.insert(text::address(address, "address")?);
        }
        let places = match topics {
            None | Some(Value::Null) => &[][..],
            Some(Value::Array(places)) => places,
            Some(_) => return Err(RpcError::params("topics must be an array")),
        };
        if places.len() > MOST_TOPICS {
            return Err(RpcError::params("exceed max topics"));
        }
        for place in places {
            let choices = several(Some(place), "topic")?;
            matcher.topics.push(choices.iter().map(|topic| text::hash(topic, "topic")).collect::<Result<_, _>>()?);
        }
        Ok(matcher)
    }
}

fn several<'a>(value: Option<&'a Value>, what: &str) -> Result<Vec<&'a str>, RpcError> {
    let wrong = || RpcError::params(format!("{what} must be a text or an array of texts"));
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one]),
        Some(Value::Array(many)) if many.len() <= MOST_CHOICES => {
            many.iter().map(|one| one.as_str().ok_or_else(wrong)).collect()
        }
        Some(Value::Array(_)) => Err(RpcError::params(format!("more than {MOST_CHOICES} choices for {what}"))),
        Some(_) => Err(wrong()),
    }
}

/// Where to look for logs, and for which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Criteria {
    /// First block.
    pub(crate) from: Bound,
    /// Last block.
    pub(crate) to: Bound,
    /// Only this block, when given.
    pub(crate) block: Option<B256>,
    /// Which logs.
    pub(crate) matcher: Matcher,
}

impl Criteria {
    /// Reads a filter object. The `FISCO BCOS` surface wants every member to be there; Ethereum's clients leave most out.
    pub(crate) fn parse(value: &Value, manner: Manner) -> Result<Self, RpcError> {
        let Value::Object(fields) = value else {
            return Err(RpcError::params("the filter must be a JSON object"));
        };
        let get = |name: &str| fields.get(name).filter(|value| !value.is_null());
        if manner == Manner::Bcos {
            for name in ["fromBlock", "toBlock", "address", "topics"] {
                if get(name).is_none() {
                    return Err(RpcError::params(format!("{name} is null")));
                }
            }
        }
        let bound = |name: &str| match get(name) {
            None => Ok(Bound::Latest),
            Some(Value::String(tag)) => Bound::parse(tag),
            Some(_) => Err(RpcError::params(format!("{name} must be a tag or a hex quantity"))),
        };
        // Upstream spells it without the capital letter.
        let block = match get("blockHash").or_else(|| get("blockhash")) {
            Some(Value::String(text)) if !text.is_empty() => Some(text::hash(text, "blockHash")?),
            None | Some(Value::String(_)) => None,
            Some(_) => return Err(RpcError::params("blockHash must be a text")),
        };
        if block.is_some() && manner == Manner::Ethereum && (get("fromBlock").is_some() || get("toBlock").is_some()) {
            return Err(RpcError::params(
                "cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other",
            ));
        }
        let matcher = Matcher::parse(get("address"), get("topics"))?;
        Ok(Self { from: bound("fromBlock")?, to: bound("toBlock")?, block, matcher })
    }

    /// Refuses a range that can hold nothing: it ends before it begins, or runs from the newest block to an older one.
    pub(crate) fn check_range(&self) -> Result<(), RpcError> {
        match (self.from, self.to) {
            (Bound::Latest, Bound::Number(_)) => Err(RpcError::params("invalid block range params")),
            (Bound::Number(from), Bound::Number(to)) if to < from => {
                Err(RpcError::params("invalid block range params"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ADDRESS: &str = "0x6849f21d1e455e9f0712b1e99fa4fcd23758e8f1";
    const TOPIC: &str = "0xc57b01fa77f41df77eaab79a0e2623fab2e7ae3e9530d9b1cab225ad65f2b7ce";

    #[test]
    fn the_bcos_surface_names_the_first_missing_member() {
        let error = Criteria::parse(&json!({"fromBlock": "0x1"}), Manner::Bcos).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (-32602, "toBlock is null"));
        let full = json!({"fromBlock":"0x1","toBlock":"latest","address":[ADDRESS],"topics":[[TOPIC]]});
        let criteria = Criteria::parse(&full, Manner::Bcos).unwrap();
        assert_eq!((criteria.from, criteria.to), (Bound::Number(1), Bound::Latest));
        assert_eq!(Criteria::parse(&json!({}), Manner::Ethereum).unwrap().from, Bound::Latest);
    }

    #[test]
    fn places_are_matched_from_the_left() {
        let address: Address = ADDRESS.parse().unwrap();
        let topic: B256 = TOPIC.parse().unwrap();
        let other = B256::repeat_byte(1);
        let wants = |address_wanted: Value, topics: Value, of: &[B256]| {
            Matcher::parse(Some(&address_wanted), Some(&topics)).unwrap().wants(&address, of)
        };
        assert!(wants(json!(null), json!([]), &[]));
        assert!(wants(json!(ADDRESS), json!([TOPIC]), &[topic]));
        assert!(wants(json!([]), json!([null, [TOPIC]]), &[other, topic]));
        assert!(!wants(json!([]), json!([null, TOPIC]), &[topic]));
        assert!(!wants(json!([]), json!([null]), &[]));
        assert!(!wants(json!([Address::ZERO.to_string()]), json!([]), &[topic]));
        assert!(Matcher::parse(None, Some(&json!([1, 2, 3, 4, 5]))).is_err());
        assert!(Matcher::parse(None, Some(&json!(["0x12"]))).is_err());
    }

    #[test]
    fn a_bloom_excludes_only_what_it_cannot_hold() {
        let address: Address = ADDRESS.parse().unwrap();
        let topic: B256 = TOPIC.parse().unwrap();
        let mut bloom = Bloom::default();
        bloom.accrue(BloomInput::Raw(address.as_slice()));
        bloom.accrue(BloomInput::Raw(topic.as_slice()));
        let holds =
            |address: Value, topics: Value| Matcher::parse(Some(&address), Some(&topics)).unwrap().may_be_in(&bloom);
        assert!(holds(json!(ADDRESS), json!([TOPIC])));
        assert!(holds(json!([]), json!([[B256::repeat_byte(9).to_string(), TOPIC]])));
        assert!(!holds(json!(Address::repeat_byte(7).to_string()), json!([])));
        assert!(!holds(json!([]), json!([B256::repeat_byte(9).to_string()])));
    }

    #[test]
    fn ranges_that_hold_nothing_are_refused() {
        let range = |from: &str, to: &str| {
            Criteria::parse(&json!({"fromBlock": from, "toBlock": to}), Manner::Ethereum).unwrap().check_range()
        };
        assert!(range("0x1", "0x2").is_ok());
        assert!(range("earliest", "latest").is_ok());
        assert_eq!(range("0x3", "0x2").unwrap_err().message, "invalid block range params");
        assert!(range("latest", "0x2").is_err());
        assert!(Bound::parse("12").is_err());
    }
}
