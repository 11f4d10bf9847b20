//! What may be written, and nothing else: the allow-list that the map compiles to.
//!
//! [`Allowed`] is the only thing that a connection writes, and [`AllowList::requests`] is the only place that makes one: from tags
//! that the map carries, that the contract calls written, and that lie in a table which can be written. A value goes whole or not
//! at all. Values keep their order; neighbours that follow each other share one request. After an exception, or a value that does
//! not read back as it was written, the rest of that write is left out: its last value is what makes the device act on the others.

use std::collections::HashMap;

use crate::{
    device::{
        DeviceEvent,
        codec::{OUT_OF_RANGE, RegisterOrder, encode_cells},
        error::DeviceError,
        modbus::{
            frame::{Block, WRITE_MAX},
            order_of,
            peer::Peer,
        },
        settings::{Binding, ModbusLink, Settings, Table},
    },
    domain::tag::{Access, DeviceId, StationId, Tag, TagWrite},
};

/// OPC UA Bad_NotWritable, for tags that the device owns and for tables that cannot be written.
const NOT_WRITABLE: u32 = 0x803B_0000;
/// OPC UA Bad_InvalidState, for a value that did not read back as it was written.
const NOT_HELD: u32 = 0x80AF_0000;

/// One request to write that the map allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    block: Block,
    cells: Vec<u16>,
    tags: Vec<Tag>,
    /// Whether the device is asked afterwards for what it holds.
    is_read_back: bool,
}

/// Every place that may be written.
pub(super) struct AllowList {
    device: DeviceId,
    /// The longest request.
    len_max: usize,
    places: HashMap<(StationId, Tag), Place>,
}

struct Place {
    table: Table,
    start: u16,
    binding: Binding,
    order: RegisterOrder,
}

impl Allowed {
    pub fn block(&self) -> Block {
        self.block
    }

    /// As many as the block is long; a bit is 0 or 1.
    pub fn cells(&self) -> &[u16] {
        &self.cells
    }

    #[cfg(test)]
    pub(super) fn for_test(table: Table, start: u16, cells: &[u16]) -> Self {
        let block = Block { table, start, len: cells.len() as u16 };
        Self { block, cells: cells.to_vec(), tags: Vec::new(), is_read_back: false }
    }

    /// The request that also carries what follows this one at once; `None` where it does not.
    fn join(&mut self, next: Self, len_max: usize) -> Option<Self> {
        let end = u32::from(self.block.start) + u32::from(self.block.len);
        let follows = self.block.table == next.block.table && end == u32::from(next.block.start);
        if !follows || self.cells.len() + next.cells.len() > len_max {
            return Some(next);
        }
        self.block.len = self.block.len.saturating_add(next.block.len);
        self.cells.extend(next.cells);
        self.tags.extend(next.tags);
        self.is_read_back |= next.is_read_back;
        None
    }
}

impl AllowList {
    pub(super) fn new(link: &ModbusLink, settings: &Settings) -> Self {
        let all = settings.stations.iter().flat_map(|station| {
            let written = station.bindings.iter().filter(|binding| binding.tag.access() == Access::Write);
            written.filter_map(|binding| {
                let (table, start) = binding.address.cell()?;
                let place = Place { table, start, binding: binding.clone(), order: order_of(link, binding) };
                table.is_writable().then_some(((station.station, binding.tag), place))
            })
        });
        let len_max = usize::from(link.block_max.clamp(1, WRITE_MAX));
        Self { device: settings.device, len_max, places: all.collect() }
    }

    /// Writes, and returns what was refused.
    pub(super) async fn write(&self, peer: &mut Peer, write: &TagWrite) -> Result<Vec<DeviceEvent>, DeviceError> {
        let refusal = |tag: Tag, status: u32| DeviceEvent::WriteRefused {
            device: self.device,
            station: write.station,
            tag,
            status,
        };
        let requests = match self.requests(write) {
            Ok(requests) => requests,
            Err((tag, status)) => return Ok(vec![refusal(tag, status)]),
        };
        for request in requests {
            if let Err(status) = send(peer, &request).await? {
                return Ok(request.tags.into_iter().map(|tag| refusal(tag, status)).collect());
            }
        }
        Ok(Vec::new())
    }

    fn requests(&self, write: &TagWrite) -> Result<Vec<Allowed>, (Tag, u32)> {
        let mut requests: Vec<Allowed> = Vec::new();
        for (tag, value) in &write.values {
            if tag.access() == Access::Read {
                return Err((*tag, NOT_WRITABLE));
            }
            let Some(place) = self.places.get(&(write.station, *tag)) else {
                continue;
            };
            let cells = encode_cells(&place.binding, place.order, value).map_err(|unfit| (*tag, unfit.0))?;
            let block = Block { table: place.table, start: place.start, len: place.binding.cells() };
            if cells.len() != usize::from(block.len) || block.len > WRITE_MAX {
                return Err((*tag, OUT_OF_RANGE.0));
            }
            let next = Allowed { block, cells, tags: vec![*tag], is_read_back: place.binding.read_back };
            let next = match requests.last_mut() {
                Some(last) => last.join(next, self.len_max),
                None => Some(next),
            };
            requests.extend(next);
        }
        Ok(requests)
    }
}

/// Writes one request, and looks whether the device holds it where the map asks for that.
async fn send(peer: &mut Peer, request: &Allowed) -> Result<Result<(), u32>, DeviceError> {
    if let Err(code) = peer.write(request).await? {
        return Ok(Err(u32::from(code)));
    }
    if !request.is_read_back {
        return Ok(Ok(()));
    }
    Ok(match peer.read(request.block).await? {
        Ok(held) if held == request.cells => Ok(()),
        Ok(_) => Err(NOT_HELD),
        Err(code) => Err(u32::from(code)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        device::{
            settings::{Address, Link, Number, Pad, StationTags, ValueType},
            testing,
        },
        domain::tag::{StationKind, TagValue},
    };

    fn list(bindings: Vec<Binding>) -> AllowList {
        let link = testing::modbus_link(0);
        let stations = vec![StationTags { station: StationId(2), kind: StationKind::Packer, bindings }];
        let settings = testing::settings(Link::Modbus(link.clone()), stations);
        AllowList::new(&link, &settings)
    }

    fn register(tag: Tag, at: u16) -> Binding {
        Binding::new(tag, Address::Register(at), ValueType::Number(Number::U16))
    }

    fn targets() -> AllowList {
        list(vec![
            register(Tag::Reply, 102),
            register(Tag::ReplySeq, 103),
            Binding::new(Tag::Token, Address::Register(100), ValueType::Number(Number::U32)),
            register(Tag::Ack, 110),
            register(Tag::Seq, 0),
            Binding::new(Tag::TtlMs, Address::Input(7), ValueType::Number(Number::U16)),
        ])
    }

    fn requests(values: &[(Tag, i64)]) -> Result<Vec<Allowed>, (Tag, u32)> {
        let values = values.iter().map(|(tag, value)| (*tag, TagValue::Int(*value))).collect();
        targets().requests(&TagWrite { station: StationId(2), values })
    }

    #[test]
    fn neighbours_in_order_share_a_request_and_order_is_never_changed() {
        use Tag::{Ack, Reply, ReplySeq, Token};
        let found = requests(&[(Token, 65_537), (Reply, 3), (ReplySeq, 9), (Ack, 9)]).unwrap();
        let seen: Vec<_> = found.iter().map(|one| (one.block.start, one.cells(), one.tags.as_slice())).collect();
        let expected: [(u16, &[u16], &[Tag]); 2] =
            [(100, &[1, 1, 3, 9], &[Token, Reply, ReplySeq]), (110, &[9], &[Ack])];
        assert_eq!(seen, expected);
        let found = requests(&[(ReplySeq, 9), (Reply, 3)]).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].block.start, 103);
    }

    #[test]
    fn one_value_that_does_not_fit_refuses_the_whole_write() {
        assert!(requests(&[(Tag::Token, 1), (Tag::Reply, 65_536)]).is_err());
        assert_eq!(requests(&[(Tag::Seq, 1)]), Err((Tag::Seq, NOT_WRITABLE)));
        assert_eq!(requests(&[(Tag::Label, 1)]), Ok(vec![]), "it lies on another device");
        assert_eq!(requests(&[(Tag::TtlMs, 1)]), Ok(vec![]), "input registers cannot be written");
    }

    fn addresses() -> impl Strategy<Value = Address> {
        let at = 0u16..300;
        prop_oneof![
            at.clone().prop_map(Address::Register),
            at.clone().prop_map(Address::Input),
            at.clone().prop_map(Address::Coil),
            at.prop_map(Address::Discrete),
        ]
    }

    fn bindings() -> impl Strategy<Value = Vec<Binding>> {
        let value = prop_oneof![
            Just(ValueType::Bool),
            Just(ValueType::Number(Number::U16)),
            Just(ValueType::Number(Number::U64)),
            Just(ValueType::Text { length: 31, pad: Pad::Zero }),
        ];
        let tag = prop::sample::select(Tag::ALL.to_vec());
        let binding = (tag, addresses(), value).prop_map(|(tag, address, value)| {
            let value = if address.cell().is_some_and(|(table, _)| table.is_bits()) { ValueType::Bool } else { value };
            Binding::new(tag, address, value)
        });
        prop::collection::vec(binding, 1..30)
    }

    proptest! {
        #[test]
        fn nothing_but_the_places_of_written_tags_is_ever_written(
            bindings in bindings(),
            wanted in prop::collection::vec((prop::sample::select(Tag::ALL.to_vec()), 0i64..3, any::<bool>()), 1..20),
        ) {
            let list = list(bindings.clone());
            let values = wanted.into_iter().map(|(tag, value, is_text)| {
                (tag, if is_text { TagValue::Bytes(b"0012".to_vec()) } else { TagValue::Int(value) })
            });
            let Ok(requests) = list.requests(&TagWrite { station: StationId(2), values: values.collect() }) else {
                return Ok(());
            };
            for request in requests {
                prop_assert!(request.block.table.is_writable());
                prop_assert!(request.cells.len() == usize::from(request.block.len) && request.block.len <= WRITE_MAX);
                let end = request.block.start + request.block.len;
                for cell in request.block.start..end {
                    let is_mapped = bindings.iter().any(|binding| {
                        let (table, start) = binding.address.cell().unwrap();
                        binding.tag.access() == Access::Write
                            && table == request.block.table
                            && (start..start + binding.cells()).contains(&cell)
                    });
                    prop_assert!(is_mapped, "{request:?}");
                }
            }
        }
    }
}
