//! Decoding with the tolerance of the original's decoder.
//!
//! A field whose wire type is not the declared one is an unknown field to the original and an error to ours. Verdicts must not
//! depend on that difference, so bytes that our decoder refuses are filtered by the message's descriptor and tried once more.
//! The filter runs only on refused bytes; ordinary traffic never meets it.

use std::sync::LazyLock;

use bytes::{BufMut, Bytes, BytesMut};
use fabric_proto::rwset::TxReadWriteSet;
use prost::encoding::{WireType, encode_varint};
use prost::{DecodeError, Message};
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

use crate::rwset::TxRwset;

static POOL: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(fabric_proto::DESCRIPTORS).ok());

/// Nesting of messages that the filter follows; far above what any message here needs.
const MAX_DEPTH: usize = 100;
/// Nesting of unknown groups that the original follows.
const MAX_GROUP_DEPTH: usize = 10_000;

/// Decodes `bytes` as the message `name` (its full protobuf name).
pub fn decode<M: Message + Default>(name: &str, bytes: &Bytes) -> Result<M, DecodeError> {
    M::decode(bytes.clone()).or_else(|refused| match filtered(name, bytes) {
        Some(filtered) => M::decode(filtered),
        None => Err(refused),
    })
}

/// Decodes a read-write set down to its last level.
pub fn decode_rwset(bytes: &Bytes) -> Option<TxRwset> {
    if let Ok(rwset) = TxRwset::decode(bytes) {
        return Some(rwset);
    }
    let mut message: TxReadWriteSet = decode("rwset.TxReadWriteSet", bytes).ok()?;
    for namespace in &mut message.ns_rwset {
        namespace.rwset = filtered("kvrwset.KVRWSet", &namespace.rwset)?;
        for collection in &mut namespace.collection_hashed_rwset {
            collection.hashed_rwset = filtered("kvrwset.HashedRWSet", &collection.hashed_rwset)?;
        }
    }
    TxRwset::from_message(message).ok()
}

/// `bytes` without the fields that are unknown or of another wire type; `None` when they are no message at all.
fn filtered(name: &str, bytes: &Bytes) -> Option<Bytes> {
    let descriptor = POOL.as_ref()?.get_message_by_name(name)?;
    filter(&descriptor, bytes, 0)
}

fn filter(descriptor: &MessageDescriptor, bytes: &[u8], depth: usize) -> Option<Bytes> {
    if depth > MAX_DEPTH {
        return None;
    }
    let mut out = BytesMut::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let start = rest;
        let (number, wire) = tag(&mut rest)?;
        let content = rest;
        let inner = skip(&mut rest, number, wire)?;
        let Some(field) = descriptor.get_field(number).filter(|field| accepts(field, wire)) else { continue };
        if let Kind::Message(nested) = field.kind() {
            let nested = filter(&nested, inner, depth + 1)?;
            encode_varint(u64::from(number) << 3 | 2, &mut out);
            encode_varint(nested.len() as u64, &mut out);
            out.put_slice(&nested);
        } else {
            debug_assert!(content.len() <= start.len());
            out.put_slice(&start[..start.len() - rest.len()]);
        }
    }
    Some(out.freeze())
}

fn accepts(field: &FieldDescriptor, wire: WireType) -> bool {
    let declared = match field.kind() {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => WireType::SixtyFourBit,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => WireType::ThirtyTwoBit,
        Kind::String | Kind::Bytes | Kind::Message(_) => WireType::LengthDelimited,
        _ => WireType::Varint,
    };
    wire == declared || (field.is_list() && wire == WireType::LengthDelimited)
}

fn tag(rest: &mut &[u8]) -> Option<(u32, WireType)> {
    let key = prost::encoding::decode_varint(rest).ok()?;
    let number = u32::try_from(key >> 3).ok().filter(|number| (1..1 << 29).contains(number))?;
    Some((number, WireType::try_from(key & 7).ok()?))
}

/// Steps over one field; returns its content when it is length-delimited, and nothing otherwise.
fn skip<'a>(rest: &mut &'a [u8], number: u32, wire: WireType) -> Option<&'a [u8]> {
    let mut open = Vec::new();
    let mut current = (number, wire);
    loop {
        let mut content: &[u8] = &[];
        match current.1 {
            WireType::Varint => {
                prost::encoding::decode_varint(rest).ok()?;
            }
            WireType::SixtyFourBit => *rest = rest.get(8..)?,
            WireType::ThirtyTwoBit => *rest = rest.get(4..)?,
            WireType::LengthDelimited => {
                let length = usize::try_from(prost::encoding::decode_varint(rest).ok()?).ok()?;
                content = rest.get(..length)?;
                *rest = rest.get(length..)?;
            }
            WireType::StartGroup if open.len() < MAX_GROUP_DEPTH => open.push(current.0),
            WireType::EndGroup if open.pop() == Some(current.0) => {}
            WireType::StartGroup | WireType::EndGroup => return None,
        }
        if open.is_empty() {
            return Some(content);
        }
        current = tag(rest)?;
    }
}

#[cfg(test)]
mod tests {
    use fabric_proto::common::{ChannelHeader, Payload};

    use super::*;

    #[test]
    fn a_known_field_of_another_wire_type_is_unknown() {
        // `data` (field 2, bytes) as a number, then a proper `data`.
        let bytes = Bytes::from_static(&[0x10, 0x05, 0x12, 0x01, 0x41]);
        assert!(Payload::decode(bytes.clone()).is_err());
        let payload: Payload = decode("common.Payload", &bytes).unwrap();
        assert_eq!(payload.data, "A");
    }

    #[test]
    fn the_filter_reaches_nested_messages() {
        // header { channel_header as a number, signature_header "s" }
        let bytes = Bytes::from_static(&[0x0a, 0x05, 0x08, 0x01, 0x12, 0x01, b's']);
        let payload: Payload = decode("common.Payload", &bytes).unwrap();
        assert_eq!(payload.header.unwrap().signature_header, "s");
    }

    #[test]
    fn what_is_no_message_stays_refused() {
        // A length beyond the end, an end of a group that never began, field number 0.
        for bytes in [&[0x0a, 0xff, 0x01, 0x02][..], &[0x0b, 0x0c, 0x14], &[0x00]] {
            assert!(decode::<ChannelHeader>("common.ChannelHeader", &Bytes::copy_from_slice(bytes)).is_err());
        }
        // Bytes where a number is due are an unknown field, not an error.
        assert!(decode::<ChannelHeader>("common.ChannelHeader", &Bytes::from_static(&[0x0a, 0x01, 0xff])).is_ok());
        // Text that is not UTF-8 is an error to both decoders.
        assert!(decode::<ChannelHeader>("common.ChannelHeader", &Bytes::from_static(&[0x22, 0x01, 0xff])).is_err());
    }
}
