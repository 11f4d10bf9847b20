//! Writes to registers: values in their order; neighbours that follow each other share one request. After an exception the rest
//! of that write is left out, because its last value is what makes the device act on the others.

use std::collections::HashMap;

use crate::{
    device::{
        DeviceEvent,
        codec::{RegisterOrder, encode_registers},
        error::DeviceError,
        modbus::{
            order_of,
            peer::{Peer, WRITE_MAX},
        },
        settings::{Address, Binding, ModbusLink, Settings},
    },
    domain::tag::{Access, DeviceId, StationId, Tag, TagWrite},
};

/// OPC UA Bad_NotWritable, for tags that the device owns.
const NOT_WRITABLE: u32 = 0x803B_0000;
/// OPC UA Bad_NodeIdInvalid, for an address that is no register.
const NO_REGISTER: u32 = 0x8033_0000;

/// The registers of everything that may be written; nothing else ever is.
pub(super) struct Targets {
    device: DeviceId,
    targets: HashMap<(StationId, Tag), (Binding, RegisterOrder)>,
}

/// One request.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    start: u16,
    words: Vec<u16>,
    tags: Vec<Tag>,
}

impl Targets {
    pub(super) fn new(link: &ModbusLink, settings: &Settings) -> Self {
        let all = settings.stations.iter().flat_map(|station| {
            station.bindings.iter().map(|binding| {
                let key = (station.station, binding.tag);
                (key, (binding.clone(), order_of(link, binding)))
            })
        });
        Self { device: settings.device, targets: all.collect() }
    }

    /// Writes, and returns what was refused.
    pub(super) async fn write(&self, peer: &mut Peer, write: &TagWrite) -> Result<Vec<DeviceEvent>, DeviceError> {
        let refusal = |tag: Tag, status: u32| DeviceEvent::WriteRefused {
            device: self.device,
            station: write.station,
            tag,
            status,
        };
        let runs = match self.runs(write) {
            Ok(runs) => runs,
            Err((tag, status)) => return Ok(vec![refusal(tag, status)]),
        };
        for run in runs {
            if let Err(code) = self.send(peer, &run).await? {
                return Ok(run.tags.into_iter().map(|tag| refusal(tag, u32::from(code))).collect());
            }
        }
        Ok(Vec::new())
    }

    /// A value longer than a request goes in several, from its start.
    async fn send(&self, peer: &mut Peer, run: &Run) -> Result<Result<(), u8>, DeviceError> {
        let mut start = run.start;
        for words in run.words.chunks(WRITE_MAX) {
            if let Err(code) = peer.write(start, words).await? {
                return Ok(Err(code));
            }
            start = start.wrapping_add(u16::try_from(words.len()).unwrap_or(u16::MAX));
        }
        Ok(Ok(()))
    }

    fn runs(&self, write: &TagWrite) -> Result<Vec<Run>, (Tag, u32)> {
        let mut runs: Vec<Run> = Vec::new();
        for (tag, value) in &write.values {
            let Some((binding, order)) = self.targets.get(&(write.station, *tag)) else {
                continue;
            };
            if tag.access() == Access::Read {
                return Err((*tag, NOT_WRITABLE));
            }
            let Address::Register(start) = binding.address else {
                return Err((*tag, NO_REGISTER));
            };
            let words =
                encode_registers(binding.value, binding.scale, *order, value).map_err(|unfit| (*tag, unfit.0))?;
            match runs.last_mut() {
                Some(run) if follows(run, start, words.len()) => {
                    run.words.extend(words);
                    run.tags.push(*tag);
                }
                Some(_) | None => runs.push(Run { start, words, tags: vec![*tag] }),
            }
        }
        Ok(runs)
    }
}

fn follows(run: &Run, start: u16, len: usize) -> bool {
    let end = usize::from(run.start) + run.words.len();
    end == usize::from(start) && run.words.len() + len <= WRITE_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        device::{
            settings::{Number, StationTags, ValueType},
            testing,
        },
        domain::tag::{StationKind, TagValue},
    };

    fn targets() -> Targets {
        let register = |tag, at| Binding::new(tag, Address::Register(at), ValueType::Number(Number::U16));
        let link = testing::modbus_link(0);
        let settings = testing::settings(
            crate::device::settings::Link::Modbus(link.clone()),
            vec![StationTags {
                station: StationId(2),
                kind: StationKind::Packer,
                bindings: vec![
                    register(Tag::Reply, 102),
                    register(Tag::ReplySeq, 103),
                    Binding::new(Tag::Token, Address::Register(100), ValueType::Number(Number::U32)),
                    register(Tag::Ack, 110),
                    register(Tag::Seq, 0),
                ],
            }],
        );
        Targets::new(&link, &settings)
    }

    fn runs(values: &[(Tag, i64)]) -> Result<Vec<Run>, (Tag, u32)> {
        let values = values.iter().map(|(tag, value)| (*tag, TagValue::Int(*value))).collect();
        targets().runs(&TagWrite { station: StationId(2), values })
    }

    #[test]
    fn neighbours_in_order_share_a_request_and_order_is_never_changed() {
        use Tag::{Ack, Reply, ReplySeq, Token};
        let found = runs(&[(Token, 65_537), (Reply, 3), (ReplySeq, 9), (Ack, 9)]).unwrap();
        assert_eq!(
            found,
            [
                Run { start: 100, words: vec![1, 1, 3, 9], tags: vec![Token, Reply, ReplySeq] },
                Run { start: 110, words: vec![9], tags: vec![Ack] },
            ]
        );
        let found = runs(&[(ReplySeq, 9), (Reply, 3)]).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].start, 103);
    }

    #[test]
    fn one_value_that_does_not_fit_refuses_the_whole_write() {
        assert!(runs(&[(Tag::Token, 1), (Tag::Reply, 65_536)]).is_err());
        assert_eq!(runs(&[(Tag::Seq, 1)]), Err((Tag::Seq, NOT_WRITABLE)));
        assert_eq!(runs(&[(Tag::Label, 1)]), Ok(vec![]));
    }
}
