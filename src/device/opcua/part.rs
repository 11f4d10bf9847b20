//! A tag's own value inside the value of its node: one element of an array, one field of a structure.
//!
//! The map lists the members of the structure in their order, so that no type has to be browsed. A structure of another length than
//! the list says is not understood: a wrong list must not read garbage as a number. Lists, nested structures and optional fields
//! are written out member by member; `rest` at the end takes what is of no interest.

use opcua::types::{ByteString, DateTime, ExtensionObject, Variant, type_loader::ByteStringBody};

use crate::device::settings::{Member, Part};

/// The value to decode; `None` where the node's value does not hold it.
pub(super) fn pick(part: &Part, variant: &Variant) -> Option<Variant> {
    let element = match part.index {
        None => variant,
        Some(index) => match variant {
            Variant::Array(array) => array.values.get(usize::from(index))?,
            _ => return None,
        },
    };
    let element = match element {
        Variant::Variant(inner) => inner.as_ref(),
        plain => plain,
    };
    match &part.field {
        None => Some(element.clone()),
        Some(field) => match element {
            Variant::ExtensionObject(object) => member(body(object)?, &field.layout, field.place),
            _ => None,
        },
    }
}

fn body(object: &ExtensionObject) -> Option<&[u8]> {
    object.inner_as::<ByteStringBody>()?.raw_body().value.as_deref()
}

/// The member at `place`, where the whole body is as the list says.
fn member(mut body: &[u8], layout: &[Member], place: usize) -> Option<Variant> {
    let mut found = None;
    for (index, member) in layout.iter().enumerate() {
        let value = take(*member, &mut body)?;
        if index == place {
            found = Some(value);
        }
    }
    found.filter(|_| body.is_empty())
}

fn take(member: Member, body: &mut &[u8]) -> Option<Variant> {
    Some(match member {
        Member::Bool => Variant::Boolean(take_bytes::<1>(body)? != [0]),
        Member::I8 => Variant::SByte(i8::from_le_bytes(take_bytes(body)?)),
        Member::U8 => Variant::Byte(u8::from_le_bytes(take_bytes(body)?)),
        Member::I16 => Variant::Int16(i16::from_le_bytes(take_bytes(body)?)),
        Member::U16 => Variant::UInt16(u16::from_le_bytes(take_bytes(body)?)),
        Member::I32 => Variant::Int32(i32::from_le_bytes(take_bytes(body)?)),
        Member::U32 => Variant::UInt32(u32::from_le_bytes(take_bytes(body)?)),
        Member::I64 => Variant::Int64(i64::from_le_bytes(take_bytes(body)?)),
        Member::U64 => Variant::UInt64(u64::from_le_bytes(take_bytes(body)?)),
        Member::F32 => Variant::Float(f32::from_le_bytes(take_bytes(body)?)),
        Member::F64 => Variant::Double(f64::from_le_bytes(take_bytes(body)?)),
        Member::Time => Variant::DateTime(Box::new(DateTime::from(i64::from_le_bytes(take_bytes(body)?)))),
        Member::Text => {
            let length = i32::from_le_bytes(take_bytes(body)?);
            // -1 is a null text.
            let (text, rest) = body.split_at_checked(usize::try_from(length.max(0)).ok()?)?;
            *body = rest;
            Variant::ByteString(ByteString::from(text))
        }
        Member::Rest => Variant::ByteString(ByteString::from(std::mem::take(body))),
    })
}

fn take_bytes<const COUNT: usize>(body: &mut &[u8]) -> Option<[u8; COUNT]> {
    let (bytes, rest) = body.split_first_chunk::<COUNT>()?;
    *body = rest;
    Some(*bytes)
}

#[cfg(test)]
mod tests {
    use opcua::types::{Array, NodeId, VariantScalarTypeId};
    use proptest::prelude::*;

    use super::*;
    use crate::device::settings::StructField;

    fn structure(body: &[u8]) -> Variant {
        let body = ByteStringBody::new(ByteString::from(body), NodeId::new(2, 5u32));
        Variant::ExtensionObject(ExtensionObject::new(body))
    }

    fn field(layout: &[Member], place: usize) -> Part {
        Part { index: None, field: Some(StructField { layout: layout.to_vec(), place }) }
    }

    const LAYOUT: [Member; 3] = [Member::U32, Member::Text, Member::I16];
    const BODY: &[u8] = &[7, 0, 0, 0, 2, 0, 0, 0, b'0', b'1', 0xFE, 0xFF];

    #[test]
    fn finds_each_member_of_a_structure() {
        let value = structure(BODY);
        assert_eq!(pick(&field(&LAYOUT, 0), &value), Some(Variant::UInt32(7)));
        assert_eq!(pick(&field(&LAYOUT, 1), &value), Some(Variant::ByteString(ByteString::from(&b"01"[..]))));
        assert_eq!(pick(&field(&LAYOUT, 2), &value), Some(Variant::Int16(-2)));
    }

    // F55
    #[test]
    fn a_structure_of_another_length_is_not_understood() {
        let longer = [BODY, &[0]].concat();
        assert_eq!(pick(&field(&LAYOUT, 0), &structure(&longer)), None);
        assert_eq!(pick(&field(&LAYOUT, 0), &structure(&BODY[..11])), None);
        assert_eq!(pick(&field(&[Member::Text], 0), &structure(BODY)), None);
        let open = [Member::U32, Member::Rest];
        assert_eq!(pick(&field(&open, 0), &structure(&longer)), Some(Variant::UInt32(7)));
        assert_eq!(pick(&field(&LAYOUT, 0), &Variant::UInt32(7)), None);
    }

    #[test]
    fn an_element_is_taken_out_of_a_list_of_anything() {
        let values = vec![Variant::Variant(Box::new(Variant::UInt32(5))), Variant::Variant(Box::new(structure(BODY)))];
        let list =
            Variant::Array(Box::new(Array { value_type: VariantScalarTypeId::Variant, values, dimensions: None }));
        let at = |index| Part { index: Some(index), ..Part::default() };
        assert_eq!(pick(&at(0), &list), Some(Variant::UInt32(5)));
        assert_eq!(pick(&at(2), &list), None);
        assert_eq!(pick(&Part { index: Some(1), ..field(&LAYOUT, 2) }, &list), Some(Variant::Int16(-2)));
        assert_eq!(pick(&at(0), &Variant::UInt32(5)), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(body in proptest::collection::vec(any::<u8>(), 0..64), place in 0_usize..4) {
            let value = structure(&body);
            if let Some(Variant::ByteString(text)) = pick(&field(&LAYOUT, place), &value) {
                prop_assert!(text.value.unwrap_or_default().len() <= body.len());
            }
        }
    }
}
